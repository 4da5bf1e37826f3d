//! The far end of the link: one request, one answer, over real TCP.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use facelatch_device::Device;
use facelatch_protocol::{
    Chunk, Deframer, Digest, Encoder, Event, MAX_CHUNK, Packet, Reply, Request, Response, Status,
};
use sha2::{Digest as _, Sha256};

use crate::stage::DEADLINE;

pub(crate) struct Host {
    stream: TcpStream,
    encoder: Box<Encoder>,
    deframer: Box<Deframer>,
    pending: Vec<u8>,
    next_id: u32,
}

impl Host {
    pub(crate) fn connect(device: &Device) -> Host {
        let stream = TcpStream::connect(device.tcp_address().unwrap()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut host = Host {
            stream,
            encoder: Box::default(),
            deframer: Box::default(),
            pending: vec![],
            next_id: 1,
        };
        let hello = host.ask(Request::Hello {
            lowest: 1,
            highest: 1,
        });
        assert!(matches!(hello, Response::Hello { .. }), "{hello:?}");
        host
    }

    pub(crate) fn ask(&mut self, body: Request) -> Response {
        let id = self.next_id;
        self.next_id += 1;
        let frame = self.encoder.encode(&Packet { id, body }).unwrap();
        self.stream.write_all(frame).unwrap();
        let reply = self.reply();
        assert_eq!(reply.id, id);
        reply.body
    }

    pub(crate) fn status(&mut self) -> Status {
        match self.ask(Request::Status) {
            Response::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// The next event of a subscription.
    pub(crate) fn event(&mut self) -> Event {
        match self.reply().body {
            Response::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    /// Pushes a bundle; the answer to the commit.
    pub(crate) fn push(&mut self, bundle: &[u8]) -> Response {
        let sha256 = Digest(Sha256::digest(bundle).into());
        let begun = self.ask(Request::BundleBegin {
            size: bundle.len() as u64,
            sha256,
        });
        assert!(matches!(begun, Response::Bundle(_)), "{begun:?}");
        for (i, bytes) in bundle.chunks(MAX_CHUNK).enumerate() {
            let offset = (i * MAX_CHUNK) as u64;
            let bytes = bytes.iter().copied().collect();
            let taken = self.ask(Request::BundleChunk(Chunk { offset, bytes }));
            assert!(matches!(taken, Response::Bundle(_)), "{taken:?}");
        }
        self.ask(Request::BundleCommit { sha256 })
    }

    fn reply(&mut self) -> Reply {
        let mut buffer = [0; 4096];
        loop {
            let mut input = self.pending.as_slice();
            let reply = self.deframer.next(&mut input);
            self.pending = input.to_vec();
            if let Some(reply) = reply {
                return reply.unwrap();
            }
            let len = self.stream.read(&mut buffer).unwrap();
            assert!(len > 0, "the door closed the connection");
            self.pending.extend_from_slice(&buffer[..len]);
        }
    }
}
