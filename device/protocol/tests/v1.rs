//! Frozen bytes of protocol version 1: every message as hexadecimal before framing, one whole frame, one gallery record.
//!
//! Never edit a case, only add. Version 1 is not spoken any more, but version 2 says all of this with the same bytes, under
//! seal; bundles of format 1 are told by their first four bytes and refused.

mod frozen;

use facelatch_protocol::{
    BundleFault, BundleId, BundleProgress, Chunk, Digest, DisplayName, DoorState, Encoder, Event,
    EventKind, Fault, GalleryRecord, Packet, PeoplePage, Person, PersonId, Reason, Refusal,
    Request, Response, SpaceName, Staging, Status, Template, TemplateKey, Text, UpdateStep,
    bundle::{self, MAX_RECORD},
};

use frozen::{check, hex};

fn ada() -> PersonId {
    PersonId::parse("ada").unwrap()
}

fn name() -> DisplayName {
    DisplayName::parse("Ada É").unwrap()
}

fn space() -> SpaceName {
    SpaceName::parse("s-2").unwrap()
}

fn template() -> Template {
    Template {
        space: space(),
        values: [0.6, -0.8].into_iter().collect(),
    }
}

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn key() -> TemplateKey {
    TemplateKey {
        person: ada(),
        index: 300,
    }
}

fn record() -> GalleryRecord {
    GalleryRecord {
        key: key(),
        name: name(),
        created_unix_ms: 1_700_000_000_000,
        template: template(),
    }
}

fn bundle_id(byte: u8) -> BundleId {
    BundleId {
        digest: digest(byte),
        counter: 9,
    }
}

#[test]
fn requests() {
    check(&[
        (
            Request::Hello {
                lowest: 1,
                highest: 300,
            },
            "0001ac02",
        ),
        (Request::Goodbye, "01"),
        (Request::Status, "02"),
        (Request::People { after: None }, "0300"),
        (Request::People { after: Some(ada()) }, "030103616461"),
        (
            Request::PersonAdd {
                person: ada(),
                name: name(),
            },
            "04036164610641646120c389",
        ),
        (Request::PersonRemove { person: ada() }, "0503616461"),
        (
            Request::TemplateAdd {
                person: ada(),
                template: template(),
            },
            "060361646103732d32029a99193fcdcc4cbf",
        ),
        (Request::GalleryPull { after: None }, "0700"),
        (
            Request::GalleryPull { after: Some(key()) },
            "070103616461ac02",
        ),
        (
            Request::BundleBegin {
                size: 24_000_000,
                sha256: digest(0xd1),
            },
            "0880ecb80bd1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1",
        ),
        (
            Request::BundleChunk(Chunk {
                offset: 4096,
                bytes: [1, 0, 255].into_iter().collect(),
            }),
            "098020030100ff",
        ),
        (
            Request::BundleCommit {
                sha256: digest(0xd1),
            },
            "0ad1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1",
        ),
        (Request::BundleAbort, "0b"),
        (Request::BundleStatus, "0c"),
        (Request::EventsSubscribe { from_seq: 128 }, "0d8001"),
        (Request::DoorState, "0e"),
        (
            Request::TimeSync {
                unix_ms: 1_700_000_000_000,
            },
            "0f80d095ffbc31",
        ),
    ]);
}

#[test]
fn responses() {
    let event = Event {
        seq: 7,
        unix_ms: 1_700_000_000_000,
        kind: EventKind::Missed { count: 3 },
    };
    let person = Person {
        person: ada(),
        name: name(),
        created_unix_ms: 1_700_000_000_000,
        templates: 5,
    };
    let staging = Staging {
        size: 24_000_000,
        sha256: digest(0xd1),
        received: 2048,
    };
    let progress = BundleProgress {
        staging: Some(staging),
        active: Some(bundle_id(0xa1)),
        previous: None,
    };
    check(&[
        (Response::Refused(Refusal::Busy), "0003"),
        (
            Response::Hello {
                version: 1,
                device: Text::cut("door"),
            },
            "010104646f6f72",
        ),
        (Response::Done, "02"),
        (
            Response::Status(status()),
            "0304646f6f720373696d05302e312e30010103732d32020a01a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a10901b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b109c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1e0d40380d095ffbc31f403030180d095ffbc310663616d6572618080808020",
        ),
        (
            Response::People(PeoplePage {
                people: [person].into_iter().collect(),
            }),
            "0401036164610641646120c38980d095ffbc3105",
        ),
        (Response::Gallery(None), "0500"),
        (
            Response::Gallery(Some(record())),
            "050103616461ac020641646120c38980d095ffbc3103732d32029a99193fcdcc4cbf",
        ),
        (
            Response::Bundle(progress),
            "060180ecb80bd1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1801001a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a10900",
        ),
        (Response::Event(event), "070780d095ffbc310403"),
        (Response::Door(DoorState::Locked), "0801"),
        (
            Response::Time {
                unix_ms: 1_700_000_000_000,
                moved_ms: -2,
            },
            "0980d095ffbc3103",
        ),
    ]);
}

fn status() -> Status {
    Status {
        device: Text::cut("door"),
        board: Text::cut("sim"),
        software: Text::cut("0.1.0"),
        protocol: 1,
        space: Some(space()),
        people: 2,
        templates: 10,
        active: Some(bundle_id(0xa1)),
        previous: Some(bundle_id(0xb1)),
        state: digest(0xc1),
        uptime_ms: 60_000,
        unix_ms: 1_700_000_000_000,
        frames: 500,
        door: DoorState::Fault,
        last_fault: Some(Fault {
            unix_ms: 1_700_000_000_000,
            text: Text::cut("camera"),
        }),
        free_bytes: 1 << 33,
    }
}

#[test]
fn events() {
    check(&[
        (
            EventKind::Decision {
                granted: true,
                reason: Reason::Granted,
                person: Some(ada()),
                distance: Some(0.25),
                probability: Some(0.5),
                latency_ms: 300,
            },
            "0001000103616461010000803e010000003fac02",
        ),
        (
            EventKind::Decision {
                granted: false,
                reason: Reason::Dark,
                person: None,
                distance: None,
                probability: None,
                latency_ms: 0,
            },
            "00000600000000",
        ),
        (
            EventKind::Door(DoorState::Unlocked {
                until_unix_ms: 1_700_000_005_000,
            }),
            "010288f795ffbc31",
        ),
        (
            EventKind::Update {
                digest: digest(0xd1),
                step: UpdateStep::Running,
            },
            "02d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d101",
        ),
        (EventKind::Fault(Text::cut("relay")), "030572656c6179"),
        (EventKind::Missed { count: 200 }, "04c801"),
    ]);
    check(&[
        (DoorState::Starting, "00"),
        (DoorState::Locked, "01"),
        (DoorState::Unlocked { until_unix_ms: 1 }, "0201"),
        (DoorState::Fault, "03"),
        (DoorState::Stopped, "04"),
    ]);
    check(&[
        (UpdateStep::Committed, "00"),
        (UpdateStep::Running, "01"),
        (UpdateStep::RolledBack, "02"),
    ]);
}

#[test]
fn reasons() {
    check(&[
        (Reason::Granted, "00"),
        (Reason::Unknown, "01"),
        (Reason::Ambiguous, "02"),
        (Reason::NotConfirmed, "03"),
        (Reason::TooFar, "04"),
        (Reason::Blurred, "05"),
        (Reason::Dark, "06"),
        (Reason::Bright, "07"),
        (Reason::HalfVisible, "08"),
        (Reason::TurnedAway, "09"),
        (Reason::SeveralFaces, "0a"),
        (Reason::NoFace, "0b"),
        (Reason::NotLive, "0c"),
        (Reason::NotNow, "0d"),
        (Reason::LockedOut, "0e"),
        (Reason::EmptyGallery, "0f"),
        (Reason::Fault, "10"),
    ]);
}

#[test]
fn refusals() {
    check(&[
        (Refusal::HelloFirst, "00"),
        (
            Refusal::Version {
                lowest: 1,
                highest: 2,
            },
            "010102",
        ),
        (Refusal::Malformed, "02"),
        (Refusal::Busy, "03"),
        (Refusal::Stopping, "04"),
        (Refusal::UnknownPerson, "05"),
        (Refusal::TooManyPeople { limit: 1000 }, "06e807"),
        (Refusal::TooManyTemplates { limit: 20 }, "0714"),
        (Refusal::Space { expected: None }, "0800"),
        (
            Refusal::Space {
                expected: Some(space()),
            },
            "080103732d32",
        ),
        (Refusal::Template, "09"),
        (Refusal::BundleTooLarge { limit: 64 << 20 }, "0a80808020"),
        (
            Refusal::NoSpace {
                needed: 300,
                free: 2,
            },
            "0bac0202",
        ),
        (Refusal::NotStaging, "0c"),
        (Refusal::OtherBundle, "0d"),
        (Refusal::Offset { expected: 2048 }, "0e8010"),
        (
            Refusal::Incomplete {
                received: 1,
                size: 2,
            },
            "0f0102",
        ),
        (Refusal::Digest, "10"),
        (Refusal::Bundle(BundleFault::Magic), "1100"),
        (Refusal::Storage, "12"),
        (Refusal::Time, "13"),
        (Refusal::NotAllowed, "14"),
        (Refusal::Internal, "15"),
    ]);
    check(&[
        (BundleFault::Magic, "00"),
        (BundleFault::Format { found: 2 }, "0102"),
        (BundleFault::Header, "02"),
        (BundleFault::Length, "03"),
        (BundleFault::PartDigest { part: 3 }, "0403"),
        (BundleFault::PartMissing, "05"),
        (BundleFault::PartUnreadable { part: 3 }, "0603"),
        (BundleFault::Space, "07"),
        (BundleFault::SelfTest, "08"),
    ]);
}

#[test]
fn a_frame() {
    // COBS code 07: six bytes without a zero follow (07 02, then the CRC-32 of these two), then the end.
    let packet = Packet {
        id: 7,
        body: Request::Status,
    };
    let mut encoder = Encoder::new();
    assert_eq!(hex(encoder.encode(&packet).unwrap()), "07070214e596e000");
}

#[test]
fn a_gallery_record() {
    let mut buffer = [0; 4 + MAX_RECORD];
    let bytes = bundle::encode_record(&record(), &mut buffer).unwrap();
    assert_eq!(
        hex(bytes),
        "2000000003616461ac020641646120c38980d095ffbc3103732d32029a99193fcdcc4cbf"
    );
    let mut part = bytes;
    assert_eq!(bundle::take_record(&mut part), Some(record()));
    assert!(part.is_empty());
}
