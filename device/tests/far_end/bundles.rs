//! Bundles as a host sends them: packed here, signed with keys of the test's own, pushed part by part.

use std::{
    io::{self, Read, Write},
    sync::OnceLock,
};

use facelatch_protocol::{
    BundleId, Chunk, Digest, MAX_CHUNK, Request, Response, SigningKey, SpaceName, TrustedKeys,
    bundle::{FORMAT, Head, MAX_HEAD, Manifest, Part, PartKind, PartName},
};
use minisign::KeyPair;
use sha2::{Digest as _, Sha256};

use super::FarEnd;

/// Pushes a bundle; the answer to the commit, or the first refusal.
pub(crate) fn push<S: Read + Write>(end: &mut FarEnd<S>, bundle: &Bundle) -> Response {
    try_push(end, bundle, &mut |_| {}).unwrap()
}

/// As [`push`], to a door that may be gone; `committing` is told before the commit is asked for.
pub(crate) fn try_push<S: Read + Write>(
    end: &mut FarEnd<S>,
    bundle: &Bundle,
    committing: &mut dyn FnMut(&Bundle),
) -> io::Result<Response> {
    if let Some(refused) = try_send(end, bundle)? {
        return Ok(refused);
    }
    let sha256 = bundle.id.digest;
    committing(bundle);
    end.try_ask(Request::BundleCommit { sha256 })
}

/// Offers a bundle and sends what is missing of it; the refusal, if there is one.
pub(crate) fn try_send<S: Read + Write>(
    end: &mut FarEnd<S>,
    bundle: &Bundle,
) -> io::Result<Option<Response>> {
    let held = match end.try_ask(offer(&bundle.head))? {
        Response::Parts(held) => held,
        refused => return Ok(Some(refused)),
    };
    for (part, bytes) in bundle.parts.iter().enumerate() {
        // More than there is is held of a part that is as long as announced, not as long as it is.
        let missing = bytes.get(held[part] as usize..).unwrap_or_default();
        for (i, piece) in missing.chunks(MAX_CHUNK).enumerate() {
            let offset = held[part] + (i * MAX_CHUNK) as u64;
            let taken = end.try_ask(chunk(part as u8, offset, piece))?;
            if !matches!(taken, Response::Bundle(_)) {
                return Ok(Some(taken));
            }
        }
    }
    Ok(None)
}

pub(crate) fn offer(head: &[u8]) -> Request {
    Request::BundleOffer(head.iter().copied().collect())
}

pub(crate) fn chunk(part: u8, offset: u64, bytes: &[u8]) -> Request {
    Request::PartChunk {
        part,
        chunk: Chunk {
            offset,
            bytes: bytes.iter().copied().collect(),
        },
    }
}

/// A bundle as a host has it.
#[derive(Clone)]
pub(crate) struct Bundle {
    pub(crate) id: BundleId,
    pub(crate) head: Vec<u8>,
    pub(crate) parts: Vec<Vec<u8>>,
}

/// A part to be packed.
pub(crate) type PartFile = (PartKind, &'static str, Vec<u8>);

/// The keys every stage trusts, and one it does not.
pub(crate) fn signers() -> &'static [KeyPair; 3] {
    static SIGNERS: OnceLock<[KeyPair; 3]> = OnceLock::new();
    SIGNERS.get_or_init(|| [(); 3].map(|()| KeyPair::generate_unencrypted_keypair().unwrap()))
}

pub(crate) fn trusted() -> TrustedKeys {
    let key = |i: usize| SigningKey::parse(&signers()[i].pk.to_base64()).unwrap();
    TrustedKeys {
        serial: 1,
        keys: [key(0), key(1)],
    }
}

pub(crate) fn sign(signer: usize, bytes: &[u8]) -> String {
    minisign::sign(None, &signers()[signer].sk, bytes, None, None)
        .unwrap()
        .into_string()
}

/// Packs and signs a bundle.
pub(crate) fn bundle(counter: u64, space: &str, parts: &[PartFile]) -> Bundle {
    signed_by(0, counter, space, parts)
}

pub(crate) fn signed_by(signer: usize, counter: u64, space: &str, parts: &[PartFile]) -> Bundle {
    let part = |(kind, name, bytes): &PartFile| Part {
        kind: *kind,
        name: PartName::parse(name).unwrap(),
        len: bytes.len() as u64,
        sha256: Digest(Sha256::digest(bytes).into()),
    };
    let manifest = Manifest {
        format: FORMAT,
        created_unix_ms: 1,
        counter,
        space: SpaceName::parse(space).unwrap(),
        replace: false,
        parts: parts.iter().map(part).collect(),
    };
    let mut buffer = [0; MAX_HEAD];
    let manifest = manifest.encode(&mut buffer).unwrap();
    Bundle {
        id: BundleId {
            digest: Digest(Sha256::digest(manifest).into()),
            counter,
        },
        head: head(manifest, &sign(signer, manifest)),
        parts: parts.iter().map(|(_, _, bytes)| bytes.clone()).collect(),
    }
}

/// A head of any bytes.
pub(crate) fn head(manifest: &[u8], signature: &str) -> Vec<u8> {
    let head = Head {
        manifest,
        signature,
    };
    head.encode().unwrap().to_vec()
}
