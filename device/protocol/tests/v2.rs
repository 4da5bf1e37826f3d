//! Frozen bytes of protocol version 2, beside those of `v1.rs` that are still said: every envelope, message and audit
//! record that version 2 added, as hexadecimal, the frame around an envelope, a bundle's head, and what both sides have to
//! agree on in a handshake.
//!
//! Never edit a case, only add: doors in the field speak these bytes. A change that breaks one needs a new version.

mod frozen;

use facelatch_protocol::{
    Alarm, BundleFault, BundleId, Chunk, Coverage, Digest, DisplayName, DoorState, Encoder,
    Enrollment, Envelope, EnvelopeReply, EventKind, Factor, Host, HostsPage, Lockout, NotEnrolled,
    Opener, Packet, PairingCode, PersonId, PolicyStatus, Prompt, PublicKey, Reason, Refusal,
    Request, Response, Role, RollbackReason, RolledBack, SigningKey, SpaceName, Text, Trial,
    TrustedKeys, UpdateStatus, UpdateStep,
    audit::{AuditHead, AuditPage, Chain, Entry, What},
    bundle::{FORMAT, Head, MAX_HEAD, Manifest, Part, PartKind, PartName, take_vector},
    session::{
        Order, PairRequest, PairingResponder, Purpose, Responder, Sealed, SessionError, Versions,
        Welcome, public_key,
    },
};

use frozen::{check, hex, unhex};

fn ada() -> PersonId {
    PersonId::parse("ada").unwrap()
}

fn name() -> DisplayName {
    DisplayName::parse("Ada É").unwrap()
}

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn key(byte: u8) -> PublicKey {
    PublicKey([byte; 32])
}

fn bundle_id() -> BundleId {
    BundleId {
        digest: digest(0xa1),
        counter: 300,
    }
}

fn keys() -> TrustedKeys {
    let signing = |byte| SigningKey {
        number: [byte; 8],
        key: [byte + 1; 32],
    };
    TrustedKeys {
        serial: 300,
        keys: [signing(0x11), signing(0x21)],
    }
}

const NOW: u64 = 1_700_000_000_000;

#[test]
fn envelopes() {
    check(&[
        (
            Envelope::Hello {
                lowest: 2,
                highest: 300,
            },
            "0002ac02",
        ),
        (
            Envelope::Handshake {
                purpose: Purpose::Session,
                message: [1, 0, 255].into_iter().collect(),
            },
            "0100030100ff",
        ),
        (
            Envelope::Handshake {
                purpose: Purpose::Pairing,
                message: [2].into_iter().collect(),
            },
            "01010102",
        ),
        (Envelope::Sealed(sealed()), "02ac0203090008"),
    ]);
    check(&[
        (EnvelopeReply::Refused(Refusal::Busy), "0003"),
        (
            EnvelopeReply::Hello {
                version: 2,
                device: Text::cut(""),
            },
            "010200",
        ),
        (
            EnvelopeReply::Handshake([1, 0, 255].into_iter().collect()),
            "02030100ff",
        ),
        (EnvelopeReply::Sealed(sealed()), "03ac0203090008"),
    ]);
    check(&[
        (
            Welcome {
                device: Text::cut("door"),
                role: Role::Admin,
            },
            "04646f6f7201",
        ),
        (
            Welcome {
                device: Text::cut("door"),
                role: Role::Operator,
            },
            "04646f6f7200",
        ),
    ]);
    check(&[
        (
            PairRequest {
                name: name(),
                role: Role::Operator,
                keys: None,
            },
            "0641646120c3890000",
        ),
        (
            PairRequest {
                name: name(),
                role: Role::Admin,
                keys: Some(keys()),
            },
            "0641646120c3890101ac021111111111111111121212121212121212121212121212121212121212121212121212121212121221212121212121212222222222222222222222222222222222222222222222222222222222222222",
        ),
    ]);
}

fn sealed() -> Sealed {
    Sealed {
        nonce: 300,
        bytes: [9, 0, 8].into_iter().collect(),
    }
}

#[test]
fn requests() {
    check(&[
        (
            Request::BundleOffer([1, 0, 255].into_iter().collect()),
            "10030100ff",
        ),
        (
            Request::PartChunk {
                part: 3,
                chunk: Chunk {
                    offset: 4096,
                    bytes: [1, 0, 255].into_iter().collect(),
                },
            },
            "11038020030100ff",
        ),
        (Request::UpdateStatus, "12"),
        (Request::Hosts { after: None }, "1300"),
        (
            Request::Hosts {
                after: Some(key(0xb1)),
            },
            "1301b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1",
        ),
        (
            Request::HostRevoke { host: key(0xb1) },
            "14b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1",
        ),
        (Request::PairingOpen { role: Role::Admin }, "1501"),
        (Request::PairingClose, "16"),
        (
            Request::KeysReplace {
                keys: keys(),
                signature: [1, 0, 255].into_iter().collect(),
            },
            "17ac021111111111111111121212121212121212121212121212121212121212121212121212121212121221212121212121212222222222222222222222222222222222222222222222222222222222222222030100ff",
        ),
        (Request::AuditRead { from_seq: 300 }, "18ac02"),
        (Request::Unlock, "19"),
        (Request::Lockdown { on: true }, "1a01"),
        (Request::Lockdown { on: false }, "1a00"),
        (
            Request::PersonRename {
                person: ada(),
                to: PersonId::parse("bob").unwrap(),
                name: name(),
            },
            "1b0361646103626f620641646120c389",
        ),
        (
            Request::EnrollmentOpen {
                person: Some(ada()),
                name: None,
            },
            "1c010361646100",
        ),
        (Request::EnrollmentClose, "1d"),
        (Request::LockoutClear, "1e"),
        (Request::PassedOut { person: ada() }, "1f03616461"),
        (Request::PolicyStatus, "20"),
    ]);
}

#[test]
fn responses() {
    let host = Host {
        key: key(0xb1),
        name: name(),
        role: Role::Admin,
        paired_unix_ms: NOW,
    };
    let rolled_back = RolledBack {
        id: bundle_id(),
        unix_ms: NOW,
        reason: RollbackReason::Networks,
        text: Text::cut("inference"),
    };
    check(&[
        (
            Response::Parts([0, 300].into_iter().collect()),
            "0a0200ac02",
        ),
        (
            Response::Update(UpdateStatus {
                trial: None,
                rolled_back: None,
                highest_counter: 0,
                keys_serial: None,
            }),
            "0b00000000",
        ),
        (
            Response::Update(UpdateStatus {
                trial: Some(Trial {
                    id: bundle_id(),
                    frames_left: 200,
                }),
                rolled_back: Some(rolled_back),
                highest_counter: 300,
                keys_serial: Some(1),
            }),
            "0b01a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1ac02c80101a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1ac0280d095ffbc310109696e666572656e6365ac020101",
        ),
        (
            Response::Hosts(HostsPage {
                hosts: [host].into_iter().collect(),
            }),
            "0c01b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b10641646120c3890180d095ffbc31",
        ),
        (
            Response::Pairing {
                code: Text::cut("7KQM-29FX"),
                closes_unix_ms: NOW,
            },
            "0d09374b514d2d3239465880d095ffbc31",
        ),
        (
            Response::Paired {
                role: Role::Operator,
            },
            "0e00",
        ),
        (
            Response::Audit(AuditPage {
                head: AuditHead {
                    first_seq: 1,
                    next_seq: 300,
                    last: digest(0xc1),
                },
                first_seq: 298,
                before: digest(0xd1),
                records: [5, 0, 6].into_iter().collect(),
            }),
            "0f01ac02c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1aa02d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d103050006",
        ),
        (
            Response::Policy(PolicyStatus {
                policy: Some(digest(0xc1)),
                people: 300,
                clock: true,
                open: false,
                denials: 5,
                locked_until_unix_ms: Some(NOW),
                inside: 1,
            }),
            "1001c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1ac020100050180d095ffbc3101",
        ),
    ]);
}

#[test]
fn events() {
    check(&[(
        EventKind::RolledBack {
            digest: digest(0xd1),
            reason: RollbackReason::SelfTest,
            text: Text::cut("crop 3"),
        },
        "05d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1000663726f702033",
    )]);
    check(&[(UpdateStep::Confirmed, "03")]);
    check(&[
        (EventKind::Opened(Opener::Exit), "0600"),
        (
            EventKind::Opened(Opener::Host {
                host: key(0xb1),
                name: name(),
            }),
            "0601b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b10641646120c389",
        ),
        (EventKind::Opened(Opener::Schedule), "0602"),
        (
            EventKind::Lockdown {
                on: true,
                host: key(0xb1),
                name: name(),
            },
            "0701b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b10641646120c389",
        ),
        (
            EventKind::Alarm {
                alarm: Alarm::ForcedOpen,
                on: true,
            },
            "080001",
        ),
        (
            EventKind::Alarm {
                alarm: Alarm::HeldOpen,
                on: false,
            },
            "080100",
        ),
        (
            EventKind::Alarm {
                alarm: Alarm::Tamper,
                on: true,
            },
            "080201",
        ),
        (
            EventKind::Alarm {
                alarm: Alarm::Fire,
                on: true,
            },
            "080301",
        ),
    ]);
    check(&[
        (DoorState::OpenBySchedule, "05"),
        (DoorState::HeldOpen, "06"),
        (DoorState::ForcedOpen, "07"),
        (DoorState::LockedDown, "08"),
        (DoorState::Fire, "09"),
    ]);
    check(&[
        (Reason::LockedDown, "11"),
        (Reason::DenyListed, "12"),
        (Reason::NotHere, "13"),
        (Reason::NotValid, "14"),
        (Reason::Disabled, "15"),
        (Reason::WrongPin, "16"),
        (Reason::AlreadyInside, "17"),
        (Reason::NoClock, "18"),
        (Reason::FaceDisabled, "19"),
    ]);
    check(&[
        (Prompt::LookStraight, "00"),
        (Prompt::TurnLeft, "01"),
        (Prompt::TurnRight, "02"),
        (Prompt::LookUp, "03"),
        (Prompt::LookDown, "04"),
        (Prompt::ComeNearer, "05"),
        (Prompt::HoldStill, "06"),
        (Prompt::ShowAdmin, "07"),
        (Prompt::EnterPin, "08"),
    ]);
    let coverage = Coverage {
        straight: true,
        left: true,
        right: false,
        up: false,
        down: false,
        luma_min: 90,
        luma_max: 200,
    };
    check(&[
        (EventKind::Prompt(Prompt::EnterPin), "0908"),
        (EventKind::Enrollment(Enrollment::Asked), "0a00"),
        (
            EventKind::Enrollment(Enrollment::Vouched { admin: ada() }),
            "0a0103616461",
        ),
        (
            EventKind::Enrollment(Enrollment::Opened {
                host: key(0xb1),
                name: name(),
            }),
            "0a02b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b10641646120c389",
        ),
        (
            EventKind::Enrollment(Enrollment::Taken {
                taken: 3,
                wanted: 5,
            }),
            "0a030305",
        ),
        (
            EventKind::Enrollment(Enrollment::Done {
                person: ada(),
                templates: 5,
                coverage,
            }),
            "0a04036164610501010000005ac8",
        ),
        (EventKind::Duress { person: ada() }, "0c03616461"),
        (EventKind::PassedOut { person: ada() }, "0d03616461"),
    ]);
    check(&[
        (Enrollment::Refused(NotEnrolled::NoAdmin), "0500"),
        (Enrollment::Refused(NotEnrolled::NotAdmin), "0501"),
        (
            Enrollment::Refused(NotEnrolled::AlreadyEnrolled { person: ada() }),
            "050203616461",
        ),
        (Enrollment::Refused(NotEnrolled::OtherFace), "0503"),
        (
            Enrollment::Refused(NotEnrolled::TimedOut { last: None }),
            "050400",
        ),
        (
            Enrollment::Refused(NotEnrolled::TimedOut {
                last: Some(Reason::Blurred),
            }),
            "05040105",
        ),
        (Enrollment::Refused(NotEnrolled::GivenUp), "0505"),
        (Enrollment::Refused(NotEnrolled::Full), "0506"),
        (Enrollment::Refused(NotEnrolled::Fault), "0507"),
    ]);
    check(&[
        (
            EventKind::Lockout(Lockout::Waiting {
                factor: Factor::Face,
                person: None,
                denials: 5,
                until_unix_ms: NOW,
            }),
            "0b0000000580d095ffbc31",
        ),
        (
            EventKind::Lockout(Lockout::Disabled {
                factor: Factor::Pin,
                person: Some(ada()),
                denials: 50,
            }),
            "0b0101010361646132",
        ),
        (
            EventKind::Lockout(Lockout::Cleared {
                host: key(0xb1),
                name: name(),
            }),
            "0b02b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b10641646120c389",
        ),
    ]);
    check(&[
        (RollbackReason::SelfTest, "00"),
        (RollbackReason::Networks, "01"),
        (RollbackReason::Gallery, "02"),
        (RollbackReason::Unproven, "03"),
    ]);
    check(&[(Role::Operator, "00"), (Role::Admin, "01")]);
    check(&[(Purpose::Session, "00"), (Purpose::Pairing, "01")]);
}

#[test]
fn refusals() {
    check(&[
        (Refusal::Handshake, "16"),
        (Refusal::NotPaired, "17"),
        (Refusal::PairingClosed, "18"),
        (Refusal::WrongCode { tries_left: 3 }, "1903"),
        (
            Refusal::Role {
                needed: Role::Admin,
            },
            "1a01",
        ),
        (Refusal::Sealed, "1b"),
        (Refusal::TooLong, "1c"),
        (Refusal::TimedOut, "1d"),
        (Refusal::TooManyHosts { limit: 300 }, "1eac02"),
        (Refusal::UnknownHost, "1f"),
        (Refusal::LastAdmin, "20"),
        (Refusal::Keys, "21"),
        (Refusal::LockedDown, "22"),
        (Refusal::OutOfService, "23"),
        (Refusal::PersonExists, "24"),
        (Refusal::Enrolling, "25"),
    ]);
    check(&[
        (BundleFault::Unsigned, "09"),
        (BundleFault::UnknownSigner, "0a"),
        (BundleFault::Signature, "0b"),
        (BundleFault::Downgrade { highest: 300 }, "0cac02"),
        (BundleFault::Replayed { highest: 300 }, "0dac02"),
    ]);
}

#[test]
fn audit_records() {
    check(&[
        (
            What::Started {
                software: Text::cut("0.1.0"),
            },
            "0005302e312e30",
        ),
        (What::Stopped, "01"),
        (What::Event(EventKind::Door(DoorState::Locked)), "020101"),
        (What::PersonAdded { person: ada() }, "0303616461"),
        (What::PersonRemoved { person: ada() }, "0403616461"),
        (
            What::TemplatesAdded {
                person: ada(),
                count: 300,
            },
            "0503616461ac02",
        ),
        (What::ClockSet { moved_ms: -2 }, "0603"),
        (
            What::Recovered {
                what: Text::cut("camera"),
            },
            "070663616d657261",
        ),
        (
            What::HostPaired {
                host: key(0xb1),
                name: name(),
                role: Role::Admin,
            },
            "08b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b10641646120c38901",
        ),
        (
            What::HostRevoked { host: key(0xb1) },
            "09b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1",
        ),
        (
            What::PairingOpened {
                role: Role::Operator,
            },
            "0a00",
        ),
        (What::PairingClosed, "0b"),
        (What::WrongCode { tries_left: 2 }, "0c02"),
        (What::KeysReplaced { serial: 300 }, "0dac02"),
        (What::PersonRenamed { person: ada() }, "0e03616461"),
        (
            What::GalleryRecovered {
                what: Text::cut("index"),
            },
            "0f05696e646578",
        ),
        (
            What::PersonMoved {
                person: ada(),
                to: PersonId::parse("bob").unwrap(),
            },
            "100361646103626f62",
        ),
        (
            What::RelayTested {
                line: 17,
                pulse_ms: 500,
            },
            "1111f403",
        ),
    ]);
    check(&[(
        Entry {
            seq: 300,
            unix_ms: NOW,
            what: What::Stopped,
        },
        "ac0280d095ffbc3101",
    )]);
    // Length, body, SHA-256 of 32 zeros and the body.
    let (record, next) = Chain::BEGINNING.continued(NOW, What::Stopped).unwrap();
    assert_eq!(
        hex(&record),
        "08000180d095ffbc3101162c19386ae52a18d42bca48704a40da6b6835b3a863f70c65cc96c8aa9b0dc6"
    );
    assert_eq!(next.next_seq, 2);
}

#[test]
fn a_frame() {
    let packet = Packet {
        id: 0,
        body: Envelope::Sealed(sealed()),
    };
    let mut encoder = Encoder::new();
    assert_eq!(
        hex(encoder.encode(&packet).unwrap()),
        "010602ac0203090608e6501cf500"
    );
}

#[test]
fn a_bundle_head_and_a_self_test_crop() {
    let part = |kind, name, len| Part {
        kind,
        name: PartName::parse(name).unwrap(),
        len,
        sha256: digest(0xe1),
    };
    let manifest = Manifest {
        format: FORMAT,
        created_unix_ms: NOW,
        counter: 9,
        space: SpaceName::parse("s-2").unwrap(),
        replace: true,
        parts: [
            part(PartKind::Networks, "a.onnx", 300),
            part(PartKind::Classifier, "b", 1),
            part(PartKind::Gallery, "c", 2),
            part(PartKind::Policy, "d", 3),
            part(PartKind::SelfTest, "e", 4),
        ]
        .into_iter()
        .collect(),
    };
    let mut buffer = [0; MAX_HEAD];
    let head = Head {
        manifest: manifest.encode(&mut buffer).unwrap(),
        signature: "text of a signature\n",
    };
    let bytes = head.encode().unwrap();
    assert_eq!(
        hex(&bytes),
        "464c4232c8000000140000000280d095ffbc310903732d3201050006612e6f6e6e78ac02e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e101016201e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e102016302e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e103016403e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e104016504e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e174657874206f662061207369676e61747572650a"
    );
    let (id, read) = Head::parse(&bytes).unwrap().manifest().unwrap();
    assert_eq!(read, manifest);
    assert_eq!(
        (id.digest.to_string().as_str(), id.counter),
        (
            "583dff7326098dcffa9d8a560b8909d8439df3ca38f588465c775db31756bb2d",
            9
        )
    );

    let crop = unhex("010000000200000001000000aabbccddeeff0000003f");
    let mut rest = crop.as_slice();
    let vector = take_vector(&mut rest).unwrap();
    assert_eq!((vector.width, vector.height), (1, 2));
    assert_eq!(hex(vector.rgb), "aabbccddeeff");
    assert_eq!(vector.values().collect::<Vec<_>>(), [0.5]);
    assert!(rest.is_empty());
}

#[test]
fn a_manifest_with_a_calibration() {
    let manifest = Manifest {
        format: FORMAT,
        created_unix_ms: NOW,
        counter: 9,
        space: SpaceName::parse("s-2").unwrap(),
        replace: false,
        parts: [Part {
            kind: PartKind::Calibration,
            name: PartName::parse("f").unwrap(),
            len: 5,
            sha256: digest(0xe1),
        }]
        .into_iter()
        .collect(),
    };
    let mut buffer = [0; MAX_HEAD];
    let bytes = manifest.encode(&mut buffer).unwrap();
    assert_eq!(
        hex(bytes),
        "0280d095ffbc310903732d32000105016605e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1"
    );
    assert_eq!(Manifest::parse(bytes).unwrap(), manifest);
}

#[test]
fn a_manifest_with_a_head() {
    let manifest = Manifest {
        format: FORMAT,
        created_unix_ms: NOW,
        counter: 10,
        space: SpaceName::parse("s-2").unwrap(),
        replace: false,
        parts: [Part {
            kind: PartKind::Head,
            name: PartName::parse("g").unwrap(),
            len: 6,
            sha256: digest(0xe2),
        }]
        .into_iter()
        .collect(),
    };
    let mut buffer = [0; MAX_HEAD];
    let bytes = manifest.encode(&mut buffer).unwrap();
    assert_eq!(
        hex(bytes),
        "0280d095ffbc310a03732d32000106016706e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2"
    );
    assert_eq!(Manifest::parse(bytes).unwrap(), manifest);
}

/// The secret key 00 01 02 ... 1f.
fn secret() -> [u8; 32] {
    std::array::from_fn(|i| i as u8)
}

fn code() -> PairingCode {
    PairingCode::new([0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99])
}

/// The public key and the pre-shared key were computed with other software, from RFC 7748 and by SHA-256 of the label
/// "facelatch pairing 2", a zero byte and the code.
#[test]
fn keys_codes_and_statements() {
    assert_eq!(
        public_key(&secret()).to_string(),
        "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f"
    );
    assert_eq!(code().to_string(), "008J-4CT4-ANK7-F24S");
    assert_eq!(
        hex(&code().psk()),
        "c678752cea2fb8e202d96cc1060e6fca77ad207056e6623b239b503714abb920"
    );
    assert_eq!(
        keys().statement().as_str(),
        "facelatch signing keys 1\n300\nRWQRERERERERERISEhISEhISEhISEhISEhISEhISEhISEhISEhISEhIS\nRWQhISEhISEhISIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIi\n"
    );
}

const VERSIONS: Versions = Versions {
    lowest: 2,
    highest: 300,
    chosen: 3,
};

/// A host that is not of this crate: the patterns and the prologue as written here, everything else the library's.
fn other_host(pattern: &str, prologue: &[u8]) -> snow::HandshakeState {
    let door = public_key(&[7; 32]).0;
    let (own, psk) = (secret(), code().psk());
    let mut builder = snow::Builder::new(pattern.parse().unwrap())
        .local_private_key(&own)
        .unwrap()
        .prologue(prologue)
        .unwrap()
        .fixed_ephemeral_key_for_testing_only(&[9; 32]);
    builder = match pattern.contains("psk") {
        true => builder.psk(0, &psk).unwrap(),
        false => builder.remote_public_key(&door).unwrap(),
    };
    builder.build_initiator().unwrap()
}

const SESSION_PROLOGUE: &[u8; 17] = b"facelatch\0s\x02\0\x2c\x01\x03\0";
const PAIRING_PROLOGUE: &[u8; 17] = b"facelatch\0p\x02\0\x2c\x01\x03\0";

#[test]
fn the_handshake_of_a_paired_host() {
    let mut first = [0; 320];
    let mut host = other_host("Noise_IK_25519_ChaChaPoly_BLAKE2s", SESSION_PROLOGUE);
    let len = host.write_message(&[], &mut first).unwrap();
    assert_eq!(
        hex(&first[..len]),
        "57db4b359f23ae5e146e4e2512056704722506348c150c14753d0c933d04d4216d5f3506ecb94b58d2ca94269fbaaa466eaf1bc7f03f42596814cfd8232d9109383b415ef4650c3ca400923011a59332a6a01bdd98832091f731329fe0e117ee"
    );
    let door = Responder::session(&[7; 32], VERSIONS, &first[..len]).unwrap();
    assert_eq!(door.host, public_key(&secret()));
    let (answer, mut session) = door.accept(&welcome(), Order::Next).unwrap();
    let mut payload = [0; 320];
    let len = host.read_message(&answer, &mut payload).unwrap();
    assert_eq!(hex(&payload[..len]), "04646f6f7201");
    let host = host.into_stateless_transport_mode().unwrap();
    let sealed = session
        .seal(&Packet {
            id: 7,
            body: Response::Done,
        })
        .unwrap();
    let len = host
        .read_message(sealed.nonce, &sealed.bytes, &mut payload)
        .unwrap();
    assert_eq!((sealed.nonce, hex(&payload[..len]).as_str()), (0, "0702"));
}

#[test]
fn the_handshake_of_a_pairing_host() {
    let mut message = [0; 320];
    let mut host = other_host("Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s", PAIRING_PROLOGUE);
    let len = host.write_message(&[], &mut message).unwrap();
    assert_eq!(
        hex(&message[..len]),
        "57db4b359f23ae5e146e4e2512056704722506348c150c14753d0c933d04d421bf76e8dd60f364354257dd66924e1567"
    );
    let (door, answer) =
        PairingResponder::begin(&[7; 32], &code(), VERSIONS, &message[..len], &welcome()).unwrap();
    let mut payload = [0; 320];
    let len = host.read_message(&answer, &mut payload).unwrap();
    assert_eq!(hex(&payload[..len]), "04646f6f7201");
    let request = unhex("0641646120c3890000");
    let len = host.write_message(&request, &mut message).unwrap();
    let (key, request, _) = door.finish(&message[..len], Order::Next).unwrap();
    assert_eq!(key, public_key(&secret()));
    assert_eq!((request.name, request.role), (name(), Role::Operator));
}

fn welcome() -> Welcome {
    Welcome {
        device: Text::cut("door"),
        role: Role::Admin,
    }
}

#[test]
fn another_prologue_is_no_handshake() {
    let mut first = [0; 320];
    for at in 0..SESSION_PROLOGUE.len() {
        let mut prologue = *SESSION_PROLOGUE;
        prologue[at] ^= 1;
        let mut host = other_host("Noise_IK_25519_ChaChaPoly_BLAKE2s", &prologue);
        let len = host.write_message(&[], &mut first).unwrap();
        let answered = Responder::session(&[7; 32], VERSIONS, &first[..len]);
        assert_eq!(answered.err(), Some(SessionError::Handshake), "byte {at}");

        let mut prologue = *PAIRING_PROLOGUE;
        prologue[at] ^= 1;
        let mut host = other_host("Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s", &prologue);
        let len = host.write_message(&[], &mut first).unwrap();
        let welcome = welcome();
        let answered =
            PairingResponder::begin(&[7; 32], &code(), VERSIONS, &first[..len], &welcome);
        assert_eq!(answered.err(), Some(SessionError::WrongCode), "byte {at}");
    }
}
