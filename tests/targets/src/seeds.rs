//! Valid inputs of every target: small, the same every time, so that a mutation starts where parsing goes deep.

use facelatch_protocol::{
    BundleId, Chunk, Digest, DisplayName, DoorState, Encoder, Envelope, EnvelopeReply, Event,
    EventKind, GalleryRecord, Host, HostsPage, Packet, PeoplePage, Person, PersonId, PublicKey,
    Reason, Refusal, Request, Response, Role, RollbackReason, RolledBack, SigningKey, SpaceName,
    Status, Template, TemplateKey, Text, Trial, TrustedKeys, UpdateStatus,
    audit::{AuditHead, AuditPage, Chain, Entry, What},
    bundle::{
        FORMAT, Head, MAX_HEAD, MAX_RECORD, Manifest, Part, PartKind, PartName, encode_record,
        encode_vector,
    },
    session::{PairRequest, Purpose, Sealed, Welcome},
};
use serde::Serialize;

use crate::Seed;

const NOW: u64 = 1_700_000_000_000;

fn person() -> PersonId {
    PersonId::parse("ada").expect("a good id")
}

fn name() -> DisplayName {
    DisplayName::parse("Ada É").expect("a good name")
}

fn space() -> SpaceName {
    SpaceName::parse("s-2").expect("a good name")
}

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn bundle_id() -> BundleId {
    BundleId {
        digest: digest(0xa1),
        counter: 9,
    }
}

fn keys() -> TrustedKeys {
    let key = SigningKey {
        number: [1; 8],
        key: [2; 32],
    };
    TrustedKeys {
        serial: 3,
        keys: [key, key],
    }
}

fn sealed() -> Sealed {
    Sealed {
        nonce: 300,
        bytes: [9; 40].into_iter().collect(),
    }
}

fn template() -> Template {
    Template {
        space: space(),
        values: [0.6, -0.8].into_iter().collect(),
    }
}

fn gallery_record(index: u32) -> GalleryRecord {
    GalleryRecord {
        key: TemplateKey {
            person: person(),
            index,
        },
        name: name(),
        created_unix_ms: NOW,
        template: template(),
    }
}

fn postcard<M: Serialize>(message: &M) -> Vec<u8> {
    postcard::to_allocvec(message).expect("memory is the only limit")
}

fn framed<M: Serialize>(body: M) -> Vec<u8> {
    let mut encoder = Encoder::new();
    let packet = Packet { id: 7, body };
    encoder.encode(&packet).expect("it fits").to_vec()
}

pub(crate) fn frame() -> Vec<Seed> {
    let hello = framed(Envelope::Hello {
        lowest: 2,
        highest: 2,
    });
    let handshake = framed(Envelope::Handshake {
        purpose: Purpose::Session,
        message: [1; 96].into_iter().collect(),
    });
    let said = framed(Envelope::Sealed(sealed()));
    let refused = framed(EnvelopeReply::Refused(Refusal::Busy));
    let answer = framed(EnvelopeReply::Sealed(sealed()));
    let whole = [&[0], &hello[..], &handshake, &said].concat();
    let noisy = [b"boot\x00\x00", &answer[..9], &[0], &answer[..]].concat();
    let overlong = [vec![1; 4000], vec![0], hello.clone()].concat();
    vec![
        ("hello", hello),
        ("handshake", handshake),
        ("sealed", said),
        ("refused", refused),
        ("answer", answer),
        ("conversation", whole),
        ("noisy", noisy),
        ("overlong", overlong),
    ]
}

/// The kinds' order is the target's.
pub(crate) fn message() -> Vec<Seed> {
    let kind = |kind: u8, bytes: Vec<u8>| [vec![kind], bytes].concat();
    let packet = |body: Request| kind(2, postcard(&Packet { id: 7, body }));
    let reply = |body: Response| kind(3, postcard(&Packet { id: 7, body }));
    let envelope = Packet {
        id: 7,
        body: Envelope::Sealed(sealed()),
    };
    let envelope_reply = Packet {
        id: 7,
        body: EnvelopeReply::Refused(Refusal::WrongCode { tries_left: 2 }),
    };
    let chunk = Chunk {
        offset: 4096,
        bytes: [1, 0, 255].into_iter().collect(),
    };
    vec![
        ("envelope", kind(0, postcard(&envelope))),
        ("envelope-reply", kind(1, postcard(&envelope_reply))),
        (
            "people",
            packet(Request::People {
                after: Some(person()),
            }),
        ),
        (
            "person-add",
            packet(Request::PersonAdd {
                person: person(),
                name: name(),
            }),
        ),
        (
            "template-add",
            packet(Request::TemplateAdd {
                person: person(),
                template: template(),
            }),
        ),
        (
            "bundle-offer",
            packet(Request::BundleOffer([1, 2, 3].into_iter().collect())),
        ),
        ("part-chunk", packet(Request::PartChunk { part: 3, chunk })),
        (
            "keys-replace",
            packet(Request::KeysReplace {
                keys: keys(),
                signature: [1, 2, 3].into_iter().collect(),
            }),
        ),
        ("people-page", reply(Response::People(people_page()))),
        (
            "gallery-record",
            reply(Response::Gallery(Some(gallery_record(300)))),
        ),
        ("hosts-page", reply(Response::Hosts(hosts_page()))),
        (
            "parts",
            reply(Response::Parts([0, 300].into_iter().collect())),
        ),
        ("audit-page", reply(Response::Audit(audit_page()))),
        ("event", kind(4, postcard(&event()))),
        (
            "refusal",
            kind(
                5,
                postcard(&Refusal::Space {
                    expected: Some(space()),
                }),
            ),
        ),
        ("status", kind(6, postcard(&status()))),
        ("update-status", kind(7, postcard(&update_status()))),
        ("record", kind(8, postcard(&gallery_record(1)))),
        ("trusted-keys", kind(9, postcard(&keys()))),
        ("sealed", kind(10, postcard(&sealed()))),
        ("welcome", kind(11, postcard(&welcome()))),
        ("pair-request", kind(12, postcard(&pair_request()))),
        ("manifest", kind(13, postcard(&a_manifest()))),
        ("page", kind(14, postcard(&audit_page()))),
        ("entry", kind(15, postcard(&entry()))),
    ]
}

fn people_page() -> PeoplePage {
    let person = Person {
        person: person(),
        name: name(),
        created_unix_ms: NOW,
        templates: 5,
    };
    PeoplePage {
        people: [person].into_iter().collect(),
    }
}

fn hosts_page() -> HostsPage {
    let host = Host {
        key: PublicKey([0xb1; 32]),
        name: name(),
        role: Role::Admin,
        paired_unix_ms: NOW,
    };
    HostsPage {
        hosts: [host].into_iter().collect(),
    }
}

fn event() -> Event {
    Event {
        seq: 7,
        unix_ms: NOW,
        kind: EventKind::Decision {
            granted: true,
            reason: Reason::Granted,
            person: Some(person()),
            distance: Some(0.25),
            probability: Some(0.5),
            latency_ms: 300,
        },
    }
}

fn status() -> Status {
    Status {
        device: Text::cut("door"),
        board: Text::cut("sim"),
        software: Text::cut("0.1.0"),
        protocol: 2,
        space: Some(space()),
        people: 2,
        templates: 10,
        active: Some(bundle_id()),
        previous: None,
        state: digest(0xc1),
        uptime_ms: 60_000,
        unix_ms: NOW,
        frames: 500,
        door: DoorState::Unlocked { until_unix_ms: NOW },
        last_fault: Some(facelatch_protocol::Fault {
            unix_ms: NOW,
            text: Text::cut("camera"),
        }),
        free_bytes: 1 << 33,
    }
}

fn update_status() -> UpdateStatus {
    UpdateStatus {
        trial: Some(Trial {
            id: bundle_id(),
            frames_left: 200,
        }),
        rolled_back: Some(RolledBack {
            id: bundle_id(),
            unix_ms: NOW,
            reason: RollbackReason::Networks,
            text: Text::cut("inference"),
        }),
        highest_counter: 300,
        keys_serial: Some(1),
    }
}

fn welcome() -> Welcome {
    Welcome {
        device: Text::cut("door"),
        role: Role::Admin,
    }
}

fn pair_request() -> PairRequest {
    PairRequest {
        name: name(),
        role: Role::Admin,
        keys: Some(keys()),
    }
}

fn entry() -> Entry {
    Entry {
        seq: 300,
        unix_ms: NOW,
        what: What::HostPaired {
            host: PublicKey([0xb1; 32]),
            name: name(),
            role: Role::Operator,
        },
    }
}

pub(crate) fn names() -> Vec<Seed> {
    let key = keys().keys[0].to_string();
    vec![
        ("code", b"7KQM-29FX-ABCD-0123".to_vec()),
        ("code-typed", b"7kqm 29fx abcd oI23".to_vec()),
        ("signing-key", key.into_bytes()),
        ("digest", digest(0xa5).to_string().into_bytes()),
        ("role", b"operator".to_vec()),
        ("person", b"Ada.Lovelace_1815-b".to_vec()),
        ("name", "Ada É".as_bytes().to_vec()),
        ("space", b"facenet-512.v1".to_vec()),
    ]
}

/// The first byte is the kind of the target; what follows is a payload the kind takes.
pub(crate) fn handshake() -> Vec<Seed> {
    let kind = |kind: u8, bytes: Vec<u8>| [vec![kind], bytes].concat();
    let request = Packet {
        id: 7,
        body: Request::Status,
    };
    vec![
        ("garbage-to-door", kind(0, vec![1; 96])),
        ("garbage-to-pairing-door", kind(1, vec![1; 48])),
        ("garbage-to-host", kind(2, vec![1; 60])),
        ("garbage-to-pairing-host", kind(3, vec![1; 110])),
        ("paired-host", kind(4, postcard(&request))),
        ("pairing-host", kind(5, postcard(&pair_request()))),
        ("door", kind(6, postcard(&welcome()))),
        ("pairing-door", kind(7, postcard(&welcome()))),
        ("wrong-byte", kind(8, vec![40, 1])),
    ]
}

fn a_manifest() -> Manifest {
    let part = |kind, name: &str, bytes: &[u8]| Part {
        kind,
        name: PartName::parse(name).expect("a good name"),
        len: bytes.len() as u64,
        sha256: digest(0xe1),
    };
    Manifest {
        format: FORMAT,
        created_unix_ms: NOW,
        counter: 9,
        space: space(),
        replace: true,
        parts: [
            part(PartKind::Networks, "manifest.toml", b"format = 1\n"),
            part(PartKind::Classifier, "classifier", &[1, 2, 3]),
            part(PartKind::Gallery, "gallery", &gallery_part()),
            part(PartKind::SelfTest, "self-test", &vectors_part()),
        ]
        .into_iter()
        .collect(),
    }
}

fn gallery_part() -> Vec<u8> {
    let mut part = vec![];
    for index in [0, 300] {
        let mut buffer = [0; 4 + MAX_RECORD];
        let record = gallery_record(index);
        part.extend_from_slice(encode_record(&record, &mut buffer).expect("it fits"));
    }
    part
}

fn vectors_part() -> Vec<u8> {
    let mut part = vec![];
    for side in [1, 2] {
        let rgb = vec![9; (side * side * 3) as usize];
        encode_vector([side, side], &rgb, &[0.6, -0.8], &mut part).expect("it fits");
    }
    part
}

fn encoded_manifest() -> Vec<u8> {
    let mut buffer = [0; MAX_HEAD];
    let manifest = a_manifest();
    manifest.encode(&mut buffer).expect("it fits").to_vec()
}

pub(crate) fn bundle() -> Vec<Seed> {
    let manifest = encoded_manifest();
    let head = Head {
        manifest: &manifest,
        signature: "untrusted comment: a bundle\n",
    };
    let head = head.encode().expect("it fits").to_vec();
    let whole = [
        &head[..],
        b"format = 1\n",
        &[1, 2, 3],
        &gallery_part(),
        &vectors_part(),
    ]
    .concat();
    let mut unsigned = head.clone();
    unsigned[3] = b'1';
    vec![
        ("head", head),
        ("whole", whole),
        ("unsigned", unsigned),
        ("self-test", vectors_part()),
    ]
}

pub(crate) fn manifest() -> Vec<Seed> {
    let other = Manifest {
        format: 3,
        ..a_manifest()
    };
    vec![
        ("manifest", encoded_manifest()),
        ("other-format", postcard(&other)),
    ]
}

pub(crate) fn gallery() -> Vec<Seed> {
    vec![("records", gallery_part())]
}

fn records() -> (Vec<u8>, Chain) {
    let whats = [
        What::Started {
            software: Text::cut("0.1.0"),
        },
        What::Event(event().kind),
        entry().what,
        What::ClockSet { moved_ms: -2 },
        What::Stopped,
    ];
    let (mut chain, mut bytes) = (Chain::BEGINNING, vec![]);
    for what in whats {
        let (record, next) = chain.continued(NOW, what).expect("it fits");
        bytes.extend_from_slice(&record);
        chain = next;
    }
    (bytes, chain)
}

fn audit_page() -> AuditPage {
    let (records, end) = records();
    AuditPage {
        head: AuditHead {
            first_seq: 1,
            next_seq: end.next_seq,
            last: end.last,
        },
        first_seq: 1,
        before: Chain::BEGINNING.last,
        records: records.into_iter().collect(),
    }
}

/// The template, and one with something of everything.
pub(crate) fn policy() -> Vec<Seed> {
    vec![
        (
            "template.toml",
            facelatch_policy::TEMPLATE.as_bytes().to_vec(),
        ),
        ("house.toml", HOUSE.as_bytes().to_vec()),
    ]
}

const HOUSE: &str = "\
zone = \"Europe/Berlin\"
without_clock = \"allow\"
unlisted = \"never\"
[holidays]
dates = [\"2026-12-25\", \"01-01\", 2028-02-29]
[schedules.office]
windows = [\"mon-fri 07:30-19:00\", \"sat,sun 22:00-02:30\"]
on_holidays = [\"10:00-14:00\"]
[schedules.night]
windows = [\"daily 02:15-02:45\", \"fri-mon 23:00-24:00\"]
on_holidays = \"as-usual\"
pin = true
[groups.staff]
schedules = [\"office\", \"night\"]
doors = [\"front\"]
[people.ada]
groups = [\"staff\"]
admin = true
pin = \"$argon2id$v=19$m=64,t=1,p=1$BwcHBwcHBwcHBwcHBwcHBw$BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc\"
[people.guest]
doors = [\"front\", \"lab\"]
from = \"2026-11-30T08:00\"
until = 2026-12-04
visits = 2
[people.gone]
disabled = true
[people.twin]
deny = true
[open]
schedule = \"office\"
after_first_entry = true
[passback]
mode = \"soft\"
forget_after_minutes = 90
";

pub(crate) fn audit() -> Vec<Seed> {
    vec![("page", postcard(&audit_page())), ("records", records().0)]
}

#[cfg(feature = "device")]
mod of_device {
    use std::collections::BTreeMap;

    use facelatch_device::Config;
    use facelatch_models::{
        classifier::{Classifier, ForestConfig, TrainConfig},
        embedding::{Embedding, SpaceId},
        manifest::Manifest,
    };

    use super::{NOW, Seed, digest, encoded_manifest, name, person, postcard, records, template};

    const BOARD: &str = include_str!("../../../boards/files/pi4.toml");
    const NETWORKS: &str = include_str!("../../../models/zoo/manifest.toml");

    pub(crate) fn config() -> Vec<Seed> {
        let default = Config::default().to_text();
        // The first network alone: a beginning that is short.
        let mut networks = Manifest::parse(NETWORKS).expect("our own");
        networks.network.truncate(1);
        (networks.default, networks.fusion) = (None, vec![]);
        let first_network = networks.to_text().expect("what was parsed has a text");
        vec![
            ("device.toml", default.into_bytes()),
            (
                "device-short.toml",
                b"[vote]\nneeded = 3\nwindow = 5\n".to_vec(),
            ),
            ("board.toml", BOARD.as_bytes().to_vec()),
            ("networks.toml", first_network.into_bytes()),
        ]
    }

    pub(crate) fn classifier() -> Vec<Seed> {
        let space = SpaceId::parse("s-2").expect("a good name");
        let people = vec!["ada".to_owned(), "bob".to_owned()];
        let weights = vec![0.5, -0.5, 0.25, 0.75, 1.0, -1.0];
        let biases = vec![0.0, 0.5, -0.5];
        let first_form = postcard(&(&space, &people, &weights, &biases));
        let softmax = Classifier::softmax(space.clone(), people, weights, biases);
        let faces = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]
            .map(|values| Embedding::new(space.clone(), values.to_vec()).expect("unit vectors"));
        let examples = [
            (Some("ada"), &faces[0]),
            (Some("bob"), &faces[1]),
            (None, &faces[2]),
        ];
        let small = ForestConfig {
            trees: 2,
            depth: 2,
            seed: 1,
        };
        let trained = |config: &TrainConfig| {
            let classifier = Classifier::train(&examples, config).expect("two people");
            classifier.to_bytes().expect("a small one")
        };
        vec![
            ("classifier-first-form", first_form),
            ("classifier", softmax.to_bytes().expect("a small one")),
            ("classifier-knn", trained(&TrainConfig::Knn { k: 2 })),
            ("classifier-forest", trained(&TrainConfig::Forest(small))),
        ]
    }

    /// The first byte is an eighth of the state's, or the manifest's, length.
    pub(crate) fn store() -> Vec<Seed> {
        let with_length = |mut head: Vec<u8>, pad: u8, rest: &[u8]| {
            while !head.len().is_multiple_of(8) {
                head.push(pad);
            }
            [&[(head.len() / 8) as u8], &head[..], rest].concat()
        };
        let state = |pad: &str| {
            format!(
                "facelatch bundles 2\ngeneration 17\nhighest 5\nstarts 2\ntrial {d} 5 personal\nactive {d} 4 taken\n\
                 previous -\nrolled-back {d} 3 1700000000000 self-test {pad}\n",
                d = digest(0xd1)
            )
        };
        // As many letters as make whole eighths.
        let padded = (0..8)
            .map(|n| state(&"x".repeat(n + 1)))
            .find(|text| text.len().is_multiple_of(8))
            .unwrap_or_default();
        vec![
            ("state", with_length(padded.into_bytes(), b'\n', &[])),
            ("manifest", with_length(manifest_in_eighths(), 0, &[7; 300])),
        ]
    }

    /// A manifest whose length is a multiple of eight.
    fn manifest_in_eighths() -> Vec<u8> {
        let mut manifest = super::a_manifest();
        for n in 1..=8 {
            if let Some(part) = manifest.parts.first_mut() {
                let text = "n".repeat(n);
                part.name = super::PartName::parse(&text).expect("a good name");
            }
            let bytes = postcard(&manifest);
            if bytes.len().is_multiple_of(8) {
                return bytes;
            }
        }
        encoded_manifest()
    }

    /// In the words of the gallery's index and records: tuples have no names on disk.
    pub(crate) fn people() -> Vec<Seed> {
        let blob = ([7u8; 32], digest(0xb1));
        let names = (BTreeMap::from([(person(), blob)]), Some(blob));
        let index = (
            1u32,
            17u64,
            Some(digest(0xa1)),
            &names,
            Some((None::<()>, &names)),
        );
        let rows = vec![(0u32, NOW, template()), (1 << 20, NOW, template())];
        let record = (name(), NOW, true, rows);
        vec![("index", postcard(&index)), ("record", postcard(&record))]
    }

    pub(crate) fn record() -> Vec<Seed> {
        let header = [b"FLA1".as_slice(), &[0; 32]].concat();
        let whole = [&header[..], &records().0].concat();
        let torn = whole[..whole.len() - 20].to_vec();
        let zeros = [&torn[..], &[0; 20]].concat();
        vec![
            ("begun", header),
            ("whole", whole),
            ("torn", torn),
            ("zeros", zeros),
        ]
    }
}

#[cfg(feature = "device")]
pub(crate) use of_device::{classifier, config, people, record, store};

#[cfg(all(test, feature = "device"))]
mod tests {
    use facelatch_boards::BoardFile;
    use facelatch_device::{Config, gallery::is_readable};
    use facelatch_models::{classifier::Classifier, manifest};

    use super::*;

    fn seed(seeds: Vec<Seed>, name: &str) -> Vec<u8> {
        let seed = seeds.into_iter().find(|(n, _)| *n == name);
        seed.unwrap_or_else(|| panic!("no seed {name}")).1
    }

    /// A seed that is refused at its first byte would be a poor beginning.
    #[test]
    fn the_seeds_are_what_the_readers_take() {
        assert_eq!(is_readable(&seed(people(), "index")), [true, false]);
        assert_eq!(is_readable(&seed(people(), "record")), [false, true]);
        assert!(Classifier::from_bytes(&seed(classifier(), "classifier")).is_some());
        let text = |name| String::from_utf8(seed(config(), name)).unwrap();
        let parse = |name| Config::parse(&text(name), &Config::default());
        assert!(parse("device.toml").is_ok());
        assert!(parse("device-short.toml").is_ok());
        assert!(BoardFile::parse(&text("board.toml"), "board.toml").is_ok());
        assert!(manifest::Manifest::parse(&text("networks.toml")).is_ok());
    }
}
