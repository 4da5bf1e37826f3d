//! Any message through any line: what is sent is what is read, however the bytes are cut up and whatever is between them,
//! and no bytes at all make the reader fail.

use facelatch_protocol::{
    Chunk, Deframer, Digest, DisplayName, DoorState, Encoder, Envelope, Event, EventKind,
    FrameError, GalleryRecord, HOSTS_PER_PAGE, Host, HostsPage, MAX_CHUNK, MAX_ENVELOPE,
    MAX_MESSAGE, MAX_TEMPLATE, PEOPLE_PER_PAGE, Packet, PeoplePage, Person, PersonId, PublicKey,
    Reason, Reply, Request, Response, Role, SigningKey, SpaceName, Template, TemplateKey, Text,
    TrustedKeys,
    audit::{AuditHead, AuditPage, MAX_PAGE},
    bundle::{self, MAX_HEAD, MAX_PARTS, MAX_RECORD},
    frame::MAX_FRAME,
    session::{MAX_SEALED, Sealed},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

fn person_id() -> impl Strategy<Value = PersonId> {
    "[A-Za-z0-9_][A-Za-z0-9._-]{0,31}"
        .prop_filter("reserved", |id| id != "none")
        .prop_map(|id| PersonId::parse(&id).unwrap())
}

fn display_name() -> impl Strategy<Value = DisplayName> {
    "[ -~é]{1,32}".prop_map(|name| DisplayName::parse(&name).unwrap())
}

fn template() -> impl Strategy<Value = Template> {
    let values = vec(-1.0f32..=1.0, 0..=MAX_TEMPLATE);
    ("[a-z0-9.-]{1,48}", values).prop_map(|(space, values)| Template {
        space: SpaceName::parse(&space).unwrap(),
        values: values.into_iter().collect(),
    })
}

fn request() -> impl Strategy<Value = Request> {
    let chunk = (any::<u64>(), vec(any::<u8>(), 0..=MAX_CHUNK));
    prop_oneof![
        any::<(u16, u16)>().prop_map(|(lowest, highest)| Request::Hello { lowest, highest }),
        Just(Request::Status),
        option::of(person_id()).prop_map(|after| Request::People { after }),
        (person_id(), display_name())
            .prop_map(|(person, name)| Request::PersonAdd { person, name }),
        (person_id(), template())
            .prop_map(|(person, template)| Request::TemplateAdd { person, template }),
        chunk.prop_map(|(offset, bytes)| Request::BundleChunk(Chunk {
            offset,
            bytes: bytes.into_iter().collect(),
        })),
    ]
}

fn response() -> impl Strategy<Value = Response> {
    let person = (person_id(), display_name(), any::<u64>(), any::<u32>()).prop_map(
        |(person, name, created_unix_ms, templates)| Person {
            person,
            name,
            created_unix_ms,
            templates,
        },
    );
    let record = (
        person_id(),
        any::<u32>(),
        display_name(),
        any::<u64>(),
        template(),
    )
        .prop_map(
            |(person, index, name, created_unix_ms, template)| GalleryRecord {
                key: TemplateKey { person, index },
                name,
                created_unix_ms,
                template,
            },
        );
    let decision = (
        any::<bool>(),
        select(&Reason::ALL[..]),
        option::of(person_id()),
        any::<u32>(),
    )
        .prop_map(
            |(granted, reason, person, latency_ms)| EventKind::Decision {
                granted,
                reason,
                person,
                distance: Some(0.5),
                probability: None,
                latency_ms,
            },
        );
    let kind = prop_oneof![
        decision,
        any::<u64>()
            .prop_map(|until_unix_ms| EventKind::Door(DoorState::Unlocked { until_unix_ms })),
        "\\PC{0,200}".prop_map(|text| EventKind::Fault(Text::cut(&text))),
    ];
    let event = (any::<u64>(), any::<u64>(), kind);
    prop_oneof![
        vec(person, 0..=PEOPLE_PER_PAGE).prop_map(|people| Response::People(PeoplePage {
            people: people.into_iter().collect(),
        })),
        option::of(record).prop_map(Response::Gallery),
        event.prop_map(|(seq, unix_ms, kind)| Response::Event(Event { seq, unix_ms, kind })),
    ]
}

/// All that a deframer finds in bytes that arrive in pieces of these sizes, over and over.
fn read<M: serde::de::DeserializeOwned>(
    bytes: &[u8],
    pieces: &[usize],
) -> Vec<Result<M, FrameError>> {
    let mut deframer = Deframer::new();
    let mut found = Vec::new();
    let mut rest = bytes;
    for len in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (mut piece, after) = rest.split_at(rest.len().min(*len));
        while let Some(message) = deframer.next(&mut piece) {
            found.push(message);
        }
        rest = after;
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_survive_any_cutting_up(
        sent in vec((any::<u32>(), request()), 1..4),
        pieces in vec(1usize..5_000, 1..5),
    ) {
        let sent: Vec<_> = sent.into_iter().map(|(id, body)| Packet { id, body }).collect();
        let mut encoder = Encoder::new();
        let mut bytes = Vec::new();
        for packet in &sent {
            let frame = encoder.encode(packet).unwrap();
            prop_assert!(frame.len() <= MAX_FRAME);
            prop_assert_eq!(frame.iter().position(|&byte| byte == 0), Some(frame.len() - 1));
            bytes.extend_from_slice(frame);
        }
        let found: Result<Vec<_>, _> = read::<Packet<Request>>(&bytes, &pieces).into_iter().collect();
        prop_assert_eq!(found.unwrap(), sent);
    }

    #[test]
    fn responses_are_found_again_after_any_garbage(
        first in response(),
        second in response(),
        garbage in vec(any::<u8>(), 0..9_000),
    ) {
        let mut encoder = Encoder::new();
        let reply = |body: &Response| Reply { id: 1, body: body.clone() };
        let mut bytes = encoder.encode(&reply(&first)).unwrap().to_vec();
        bytes.extend_from_slice(&garbage);
        bytes.push(0);
        bytes.extend_from_slice(encoder.encode(&reply(&second)).unwrap());
        let found = read(&bytes, &[4096]);
        prop_assert_eq!(found.first().unwrap(), &Ok(reply(&first)));
        prop_assert_eq!(found.last().unwrap(), &Ok(reply(&second)));
        prop_assert!(found[1..found.len() - 1].iter().all(Result::is_err));
    }

    #[test]
    fn one_flipped_bit_never_makes_another_message(body in request(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let packet = Packet { id: 5, body };
        let mut frame = Encoder::new().encode(&packet).unwrap().to_vec();
        let at = at.index(frame.len());
        frame[at] ^= 1u8 << bit;
        // The flip may have made or taken away a zero: end whatever is open.
        frame.push(0);
        for found in read::<Packet<Request>>(&frame, &[4096]) {
            prop_assert!(found.is_err(), "{found:?}");
        }
    }

    #[test]
    fn no_bytes_make_a_reader_fail(bytes in vec(any::<u8>(), 0..6_000)) {
        read::<Packet<Request>>(&bytes, &[1_000]);
        read::<Reply>(&bytes, &[1_000]);
        let _ = postcard::take_from_bytes::<Request>(&bytes);
        let _ = postcard::take_from_bytes::<Response>(&bytes);
        let _ = bundle::Head::parse(&bytes).map(|head| head.manifest());
        let mut part = bytes.as_slice();
        while bundle::take_record(&mut part).is_some() {}
    }
}

#[test]
fn the_largest_messages_fit() {
    let longest = "x".repeat(64);
    let id = PersonId::parse(&longest[..32]).unwrap();
    let name = DisplayName::parse(&longest).unwrap();
    let template = Template {
        space: SpaceName::parse(&longest[..48]).unwrap(),
        values: [f32::MAX; MAX_TEMPLATE].into_iter().collect(),
    };
    let record = GalleryRecord {
        key: TemplateKey {
            person: id.clone(),
            index: u32::MAX,
        },
        name: name.clone(),
        created_unix_ms: u64::MAX,
        template,
    };
    let person = Person {
        person: id,
        name,
        created_unix_ms: u64::MAX,
        templates: u32::MAX,
    };
    let people = vec![person; PEOPLE_PER_PAGE].into_iter().collect();
    let chunk = Chunk {
        offset: u64::MAX,
        bytes: [u8::MAX; MAX_CHUNK].into_iter().collect(),
    };
    let mut encoder = Encoder::new();
    let id = u32::MAX;
    let lengths = [
        encoder
            .encode(&Packet {
                id,
                body: Request::BundleChunk(chunk),
            })
            .unwrap()
            .len(),
        encoder
            .encode(&Packet {
                id,
                body: Response::People(PeoplePage { people }),
            })
            .unwrap()
            .len(),
        encoder
            .encode(&Packet {
                id,
                body: Response::Gallery(Some(record.clone())),
            })
            .unwrap()
            .len(),
    ];
    assert!(lengths.iter().all(|&len| len <= MAX_MESSAGE), "{lengths:?}");
    assert!(bundle::encode_record(&record, &mut [0; 4 + MAX_RECORD]).is_ok());
}

#[test]
fn a_message_with_bytes_to_spare_is_not_a_message() {
    // A status request, and one byte more.
    let (id, body) = (1u32, (2u8, 0u8));
    let frame = Encoder::new()
        .encode(&Packet { id, body })
        .unwrap()
        .to_vec();
    let found = read::<Packet<Request>>(&frame, &[100]);
    assert_eq!(found, [Err(FrameError::Message)]);
}

#[test]
fn the_largest_messages_of_version_2_fit() {
    let longest = "x".repeat(200);
    let full = |byte| [byte; 512].into_iter().collect();
    let signing = SigningKey {
        number: [255; 8],
        key: [255; 32],
    };
    let host = Host {
        key: PublicKey([255; 32]),
        name: DisplayName::parse(&longest[..64]).unwrap(),
        role: Role::Admin,
        paired_unix_ms: u64::MAX,
    };
    let head = AuditHead {
        first_seq: u64::MAX,
        next_seq: u64::MAX,
        last: Digest([255; 32]),
    };
    let bytes = |len| vec![255u8; len];
    let requests = [
        Request::BundleOffer(bytes(MAX_HEAD).into_iter().collect()),
        Request::PartChunk {
            part: 255,
            chunk: Chunk {
                offset: u64::MAX,
                bytes: bytes(MAX_CHUNK).into_iter().collect(),
            },
        },
        Request::KeysReplace {
            keys: TrustedKeys {
                serial: u64::MAX,
                keys: [signing, signing],
            },
            signature: full(255),
        },
    ];
    let responses = [
        Response::Parts([u64::MAX; MAX_PARTS].into_iter().collect()),
        Response::Hosts(HostsPage {
            hosts: vec![host; HOSTS_PER_PAGE].into_iter().collect(),
        }),
        Response::Audit(AuditPage {
            head,
            first_seq: u64::MAX,
            before: head.last,
            records: bytes(MAX_PAGE).into_iter().collect(),
        }),
    ];
    fn len<M: serde::Serialize>(message: &M) -> usize {
        postcard::to_slice(message, &mut [0; 4096]).unwrap().len()
    }
    let id = u32::MAX;
    let packed = |body: &Request| len(&Packet { id, body });
    let answered = |body: &Response| len(&Packet { id, body });
    let lengths: Vec<usize> = (requests.iter().map(packed))
        .chain(responses.iter().map(answered))
        .collect();
    assert!(lengths.iter().all(|&len| len <= MAX_MESSAGE), "{lengths:?}");

    let sealed = Sealed {
        nonce: u64::MAX,
        bytes: bytes(MAX_SEALED).into_iter().collect(),
    };
    let envelope = Packet {
        id,
        body: Envelope::Sealed(sealed),
    };
    assert!(len(&envelope) <= MAX_ENVELOPE);
    assert!(Encoder::new().encode(&envelope).unwrap().len() <= MAX_FRAME);
}
