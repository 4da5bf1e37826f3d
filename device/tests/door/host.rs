//! A paired admin's host: one request, one answer, over real TCP and a sealed session.

use std::net::TcpStream;

use facelatch_device::Device;
use facelatch_protocol::{
    Event, PublicKey, Refusal, Request, Response, Status, UpdateStatus, session::Order,
};

use crate::far_end::{
    FarEnd,
    bundles::{Bundle, push},
    connect,
};

/// Secret of the admin every stage is paired with.
pub(crate) const ADMIN: [u8; 32] = [1; 32];

pub(crate) struct Host {
    pub(crate) end: FarEnd<TcpStream>,
}

impl Host {
    pub(crate) fn connect(device: &Device) -> Host {
        let mut end = connect(device.tcp_address().unwrap());
        end.open(&ADMIN, &device.public_key(), Order::Next).unwrap();
        Host { end }
    }

    pub(crate) fn ask(&mut self, body: Request) -> Response {
        self.end.ask(body)
    }

    pub(crate) fn status(&mut self) -> Status {
        match self.ask(Request::Status) {
            Response::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn update(&mut self) -> UpdateStatus {
        match self.ask(Request::UpdateStatus) {
            Response::Update(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// The next event of a subscription.
    pub(crate) fn event(&mut self) -> Event {
        loop {
            match self.end.reply().body {
                Response::Event(event) => return event,
                // A sign of life.
                Response::Done => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Pushes a bundle; the answer to the commit, or the first refusal.
    pub(crate) fn push(&mut self, bundle: &Bundle) -> Response {
        push(&mut self.end, bundle)
    }

    /// What a push is refused with.
    pub(crate) fn refused(&mut self, bundle: &Bundle) -> Refusal {
        match self.push(bundle) {
            Response::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }
}

/// The key of the admin every stage is paired with.
pub(crate) fn admin_key() -> PublicKey {
    facelatch_protocol::session::public_key(&ADMIN)
}
