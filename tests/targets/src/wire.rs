//! What comes over a line: frames, messages, and the texts typed at a prompt.

use facelatch_protocol::{
    Deframer, Digest, DisplayName, Encoder, Envelope, EnvelopeReply, Event, FrameError,
    GalleryRecord, Packet, PairingCode, PersonId, PublicKey, Refusal, Reply, Request, Role,
    SigningKey, SpaceName, Status, Text, TrustedKeys, UpdateStatus,
    audit::{AuditPage, Entry},
    bundle::{Manifest, PartName},
    session::{PairRequest, Sealed, Welcome},
};
use serde::{Serialize, de::DeserializeOwned};

/// Frames in a stream, which is cut into pieces of a length the first byte says.
pub fn frame(data: &[u8]) {
    frames::<Packet<Envelope>>(data);
    frames::<Packet<EnvelopeReply>>(data);
}

fn frames<M: Serialize + DeserializeOwned>(data: &[u8]) {
    let found = read::<M>(data, data.len().max(1));
    let piece = usize::from(data.first().copied().unwrap_or(0)) + 1;
    let in_pieces = read::<M>(data, piece);
    let same = |(a, b): (&Result<M, _>, &Result<M, _>)| match (a, b) {
        (Ok(a), Ok(b)) => encoded(a) == encoded(b),
        (Err(a), Err(b)) => a == b,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    };
    assert!(
        found.len() == in_pieces.len() && found.iter().zip(&in_pieces).all(same),
        "pieces of {piece} bytes are read otherwise"
    );
    for message in found.into_iter().flatten() {
        let mut encoder = Encoder::new();
        let frame = encoder.encode(&message).expect("it came in a frame");
        let again = read::<M>(frame, frame.len());
        let [Ok(again)] = &again[..] else {
            panic!("a frame that was written is not read: {frame:02x?}");
        };
        assert_eq!(encoded(again), encoded(&message));
    }
}

fn read<M: DeserializeOwned>(data: &[u8], piece: usize) -> Vec<Result<M, FrameError>> {
    let mut deframer = Deframer::new();
    let mut found = vec![];
    for mut bytes in data.chunks(piece) {
        while let Some(message) = deframer.next(&mut bytes) {
            found.push(message);
        }
    }
    found
}

fn encoded<M: Serialize>(message: &M) -> Vec<u8> {
    postcard::to_allocvec(message).expect("memory is the only limit")
}

/// One message of the kind that the first byte says.
pub fn message(data: &[u8]) {
    const KINDS: &[fn(&[u8])] = &[
        stays::<Packet<Envelope>>,
        stays::<Packet<EnvelopeReply>>,
        stays::<Packet<Request>>,
        stays::<Reply>,
        stays::<Event>,
        stays::<Refusal>,
        stays::<Status>,
        stays::<UpdateStatus>,
        stays::<GalleryRecord>,
        stays::<TrustedKeys>,
        stays::<Sealed>,
        stays::<Welcome>,
        stays::<PairRequest>,
        stays::<Manifest>,
        stays::<AuditPage>,
        stays::<Entry>,
    ];
    if let [kind, rest @ ..] = data {
        KINDS[usize::from(*kind) % KINDS.len()](rest);
    }
}

/// What is read from bytes is written and read as itself. The bytes may be others: a number has longer forms.
pub(crate) fn stays<M: Serialize + DeserializeOwned>(data: &[u8]) {
    let Ok((value, _)) = postcard::take_from_bytes::<M>(data) else {
        return;
    };
    let written = encoded(&value);
    match postcard::take_from_bytes::<M>(&written) {
        Ok((again, [])) => assert_eq!(encoded(&again), written),
        Ok((_, rest)) => panic!("{} bytes are left over", rest.len()),
        Err(error) => panic!("what was written is not read: {error}"),
    }
}

/// Names, keys and codes as text.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let text = &*text;
    if let Some(code) = PairingCode::parse(text) {
        assert_eq!(PairingCode::parse(&code.to_string()), Some(code));
    }
    if let Some(key) = SigningKey::parse(text) {
        assert_eq!(key.to_string(), text);
    }
    if let Some(key) = PublicKey::parse(text) {
        assert_eq!(key.to_string(), text.to_ascii_lowercase());
    }
    if let Some(digest) = Digest::parse(text) {
        assert_eq!(digest.to_string(), text.to_ascii_lowercase());
    }
    if let Some(role) = Role::parse(text) {
        assert_eq!(role.to_string(), text);
    }
    let parsed = [
        PersonId::parse(text).ok().map(|name| name.to_string()),
        DisplayName::parse(text).ok().map(|name| name.to_string()),
        SpaceName::parse(text).ok().map(|name| name.to_string()),
        PartName::parse(text)
            .ok()
            .map(|name| name.as_str().to_owned()),
    ];
    for name in parsed.into_iter().flatten() {
        assert_eq!(name, text);
    }
    let cut = Text::<16>::cut(text);
    assert!(cut.len() <= 16 && !cut.chars().any(char::is_control));
}
