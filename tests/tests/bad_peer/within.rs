//! Peers with a session: replays, reordering, roles that do not suffice, bundles that must not be taken, requests that
//! cannot be meant.

use std::io::Write;

use facelatch_models::{classifier::Classifier, embedding::SpaceId};
use facelatch_protocol::{
    BundleFault, Chunk, Digest, DisplayName, Envelope, GalleryRecord, MAX_ENVELOPE, Packet,
    PersonId, PublicKey, Refusal, Request, Response, Role, SpaceName, Template, TemplateKey,
    bundle::{MAX_RECORD, PartKind, encode_record},
    session::{Order, Sealed, public_key},
};

use crate::{
    Case,
    before::framed,
    far_end::bundles::{
        Bundle, PartFile, bundle, chunk, head, offer, push, sign, signed_by, trusted,
    },
    stage::{ADMIN, COUNTER, End, MAX_BUNDLE, STRANGER, Stage},
};

/// What a request of an admin is told.
fn asked(stage: &Stage, request: Request) -> Refusal {
    refusal(stage.admin().ask(request))
}

/// What a request of an operator is told.
fn asked_by_operator(stage: &Stage, request: Request) -> Refusal {
    refusal(stage.operator().ask(request))
}

fn refusal(response: Response) -> Refusal {
    match response {
        Response::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

/// Two sealed requests of one session, in order, not sent.
fn two(end: &mut End) -> [Envelope; 2] {
    [1, 2].map(|id| end.seal(id, Request::Status))
}

fn sealed(envelope: &Envelope) -> Sealed {
    match envelope {
        Envelope::Sealed(sealed) => sealed.clone(),
        other => panic!("{other:?}"),
    }
}

/// What a changed sealed request is told.
fn changed(stage: &Stage, change: impl FnOnce(&mut Sealed)) -> Refusal {
    let mut end = stage.operator();
    let [envelope, _] = two(&mut end);
    let mut sealed = sealed(&envelope);
    change(&mut sealed);
    end.send_clear(Envelope::Sealed(sealed));
    end.refusal()
}

/// What bytes under a good seal are told.
fn sealed_bytes(stage: &Stage, bytes: &[u8]) -> Refusal {
    let mut end = stage.operator();
    let session = end.session.as_mut().unwrap();
    // A number, then the bytes as they are: an array has no length in front.
    let sealed = match bytes.len() {
        3 => session.seal(&Packet {
            id: 1,
            body: [bytes[0], bytes[1], bytes[2]],
        }),
        1 => session.seal(&Packet {
            id: 1,
            body: [bytes[0]],
        }),
        len => panic!("{len} bytes"),
    };
    end.send_clear(Envelope::Sealed(sealed.unwrap()));
    end.refusal()
}

const NEEDS_ADMIN: Refusal = Refusal::Role {
    needed: Role::Admin,
};

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, want, run| Case { name, want, run };
    let mut cases = vec![
        case("a request played again", Refusal::Sealed, |stage| {
            let mut end = stage.operator();
            let [first, _] = two(&mut end);
            end.send_clear(first.clone());
            assert!(matches!(end.reply().body, Response::Status(_)));
            end.send_clear(first);
            end.refusal()
        }),
        case("a request before its turn", Refusal::Sealed, |stage| {
            let mut end = stage.operator();
            let [_, second] = two(&mut end);
            end.send_clear(second);
            end.refusal()
        }),
        case("a request of another session", Refusal::Sealed, |stage| {
            let [foreign, _] = two(&mut stage.operator());
            let mut end = stage.operator();
            end.send_clear(foreign);
            end.refusal()
        }),
        case("a changed request", Refusal::Sealed, |stage| {
            changed(stage, |sealed| sealed.bytes[0] ^= 1)
        }),
        case("a changed seal", Refusal::Sealed, |stage| {
            changed(stage, |sealed| *sealed.bytes.last_mut().unwrap() ^= 1)
        }),
        case("a request cut short", Refusal::Sealed, |stage| {
            changed(stage, |sealed| sealed.bytes.truncate(5))
        }),
        case("an empty request", Refusal::Sealed, |stage| {
            changed(stage, |sealed| sealed.bytes.clear())
        }),
        case("a request renumbered", Refusal::Sealed, |stage| {
            changed(stage, |sealed| sealed.nonce = 1)
        }),
        case("the last number there is", Refusal::Sealed, |stage| {
            changed(stage, |sealed| sealed.nonce = u64::MAX)
        }),
        case(
            "no request under a good seal",
            Refusal::Malformed,
            |stage| sealed_bytes(stage, &[200]),
        ),
        case(
            "a request and more under a good seal",
            Refusal::Malformed,
            |stage| sealed_bytes(stage, &[2, 7, 7]),
        ),
        case("a hello under seal", Refusal::Malformed, |stage| {
            let (lowest, highest) = (2, 2);
            asked_by_operator(stage, Request::Hello { lowest, highest })
        }),
        case("noise within a session", Refusal::Malformed, |stage| {
            let mut end = stage.operator();
            end.stream.write_all(b"\x02noise\0").unwrap();
            end.refusal()
        }),
        case(
            "a frame too long within a session",
            Refusal::TooLong,
            |stage| {
                let mut end = stage.operator();
                let frame = framed(&vec![7; 3 * MAX_ENVELOPE]);
                end.stream.write_all(&frame).unwrap();
                end.refusal()
            },
        ),
        case(
            "half a frame within a session",
            Refusal::TimedOut,
            |stage| {
                let mut end = stage.operator();
                end.stream.write_all(&[9, 1, 2]).unwrap();
                end.refusal()
            },
        ),
        case(
            "a second handshake within a session",
            Refusal::HelloFirst,
            |stage| {
                let mut end = stage.operator();
                end.send_clear(Envelope::Handshake {
                    purpose: facelatch_protocol::session::Purpose::Session,
                    message: [7; 96].into_iter().collect(),
                });
                end.refusal()
            },
        ),
        case("revoked within a session", Refusal::NotPaired, |stage| {
            let mut end = newcomer(stage);
            revoke(stage);
            refusal(end.reply().body)
        }),
        case("revoked, and back", Refusal::NotPaired, |stage| {
            drop(newcomer(stage));
            revoke(stage);
            let mut end = stage.raw();
            end.open(&STRANGER, &stage.key, Order::Next).unwrap_err()
        }),
    ];
    cases.extend([
        case("an operator sets the clock", NEEDS_ADMIN, |stage| {
            asked_by_operator(stage, Request::TimeSync { unix_ms: 1 })
        }),
        case("an operator offers a bundle", NEEDS_ADMIN, |stage| {
            asked_by_operator(stage, offer(&stage.empty_bundle(99).head))
        }),
        case("an operator commits", NEEDS_ADMIN, |stage| {
            let sha256 = Digest([0; 32]);
            asked_by_operator(stage, Request::BundleCommit { sha256 })
        }),
        case("an operator revokes the admin", NEEDS_ADMIN, |stage| {
            let host = public_key(&ADMIN);
            asked_by_operator(stage, Request::HostRevoke { host })
        }),
        case("an operator invites an admin", NEEDS_ADMIN, |stage| {
            asked_by_operator(stage, Request::PairingOpen { role: Role::Admin })
        }),
        case("an operator replaces the keys", NEEDS_ADMIN, |stage| {
            asked_by_operator(stage, replace(2, 0))
        }),
        case("keys that are not newer", Refusal::Keys, |stage| {
            asked(stage, replace(0, 0))
        }),
        case("keys a stranger signed", Refusal::Keys, |stage| {
            asked(stage, replace(2, 2))
        }),
        case("the last admin revoked", Refusal::LastAdmin, |stage| {
            let host = public_key(&ADMIN);
            asked(stage, Request::HostRevoke { host })
        }),
        case("nobody revoked", Refusal::UnknownHost, |stage| {
            let host = PublicKey([9; 32]);
            asked(stage, Request::HostRevoke { host })
        }),
        case("the time of 1970", Refusal::Time, |stage| {
            asked(stage, Request::TimeSync { unix_ms: 5 })
        }),
        case("nobody removed", Refusal::UnknownPerson, |stage| {
            asked_by_operator(
                stage,
                Request::PersonRemove {
                    person: id("nobody"),
                },
            )
        }),
        case("a template for nobody", Refusal::UnknownPerson, |stage| {
            let template = template(&stage.space(), 1.0);
            asked_by_operator(stage, template_add(template))
        }),
    ]);
    cases
}

fn id(text: &str) -> PersonId {
    PersonId::parse(text).unwrap()
}

/// A vector of this length, of as many numbers as the shipped networks give.
fn template(space: &str, length: f32) -> Template {
    let mut values = heapless::Vec::new();
    values.resize(704, 0.0).unwrap();
    values[7] = length;
    Template {
        space: SpaceName::parse(space).unwrap(),
        values,
    }
}

fn template_add(template: Template) -> Request {
    Request::TemplateAdd {
        person: id("nobody"),
        template,
    }
}

/// A change of keys to the same ones under another serial, signed by one of the test's keys.
fn replace(serial: u64, signer: usize) -> Request {
    let keys = facelatch_protocol::TrustedKeys {
        serial,
        ..trusted()
    };
    Request::KeysReplace {
        keys,
        signature: sign(signer, keys.statement().as_bytes()).bytes().collect(),
    }
}

/// A session of a host that was not paired before.
fn newcomer(stage: &Stage) -> End {
    let code = stage.open_window(Role::Operator);
    let mut end = stage.raw();
    let wants = crate::stage::wants(Role::Operator);
    end.pair(&STRANGER, &code, &wants, Order::Next).unwrap();
    end
}

fn revoke(stage: &Stage) {
    let host = public_key(&STRANGER);
    let revoked = stage.admin().ask(Request::HostRevoke { host });
    assert_eq!(revoked, Response::Done);
}

fn pushed(stage: &Stage, bundle: &Bundle) -> Refusal {
    refusal(push(&mut stage.admin(), bundle))
}

/// What a head is told.
fn offered(stage: &Stage, head: &[u8]) -> Refusal {
    asked(stage, offer(head))
}

fn with_part(stage: &Stage, part: PartFile) -> Refusal {
    pushed(stage, &stage.bundle(COUNTER + 1, &[part]))
}

/// The manifest's bytes of a head.
fn manifest(head: &[u8]) -> &[u8] {
    let len = u32::from_le_bytes(*head[4..].first_chunk().unwrap()) as usize;
    &head[12..12 + len]
}

/// An admin that has offered a bundle of one part of 5,000 bytes.
fn offering(stage: &Stage) -> (End, Bundle) {
    let noise: Vec<u8> = (0..5_000u32).map(|i| (i * i % 251) as u8).collect();
    let part = (PartKind::Networks, "net.onnx", noise);
    let bundle = stage.bundle(COUNTER + 1, &[part]);
    let mut end = stage.admin();
    end.ask(Request::BundleAbort);
    let held = end.ask(offer(&bundle.head));
    assert!(matches!(held, Response::Parts(_)), "{held:?}");
    (end, bundle)
}

pub(crate) fn bundles() -> Vec<Case> {
    let case = |name, want, run| Case { name, want, run };
    let fault = |name, fault, run| Case {
        name,
        want: Refusal::Bundle(fault),
        run,
    };
    vec![
        fault("an unsigned bundle", BundleFault::Unsigned, |stage| {
            let signed = stage.empty_bundle(COUNTER + 1).head;
            offered(stage, &head(manifest(&signed), ""))
        }),
        fault(
            "a bundle a stranger signed",
            BundleFault::UnknownSigner,
            |stage| pushed(stage, &signed_by(2, COUNTER + 1, &stage.space(), &[])),
        ),
        fault(
            "another bundle's signature",
            BundleFault::Signature,
            |stage| {
                let bundle = stage.empty_bundle(COUNTER + 1).head;
                let signature = sign(0, b"another manifest");
                offered(stage, &head(manifest(&bundle), &signature))
            },
        ),
        fault("a changed manifest", BundleFault::Signature, |stage| {
            let mut head = stage.empty_bundle(COUNTER + 1).head;
            let last = 12 + manifest(&head).len() - 1;
            head[last] ^= 1;
            offered(stage, &head)
        }),
        fault(
            "a signature that is none",
            BundleFault::Signature,
            |stage| {
                let bundle = stage.empty_bundle(COUNTER + 1).head;
                offered(stage, &head(manifest(&bundle), "trust me"))
            },
        ),
        fault("a head cut short", BundleFault::Length, |stage| {
            let head = stage.empty_bundle(COUNTER + 1).head;
            offered(stage, &head[..head.len() - 1])
        }),
        fault("an empty head", BundleFault::Magic, |stage| {
            offered(stage, &[])
        }),
        fault("another file", BundleFault::Magic, |stage| {
            offered(stage, b"PK\x03\x04 and so on and so on")
        }),
        fault("a bundle of format 1", BundleFault::Unsigned, |stage| {
            offered(stage, b"FLB1\x20\0\0\0 and so on")
        }),
        fault("lengths that are lies", BundleFault::Header, |stage| {
            offered(stage, b"FLB2\xff\xff\xff\xff\xff\xff\xff\xff and so on")
        }),
        fault(
            "no manifest, rightly signed",
            BundleFault::Header,
            |stage| {
                let noise = [2, 0xff, 0xff, 0xff];
                offered(stage, &head(&noise, &sign(0, &noise)))
            },
        ),
        fault(
            "a manifest of a format to come",
            BundleFault::Format { found: 9 },
            |stage| offered(stage, &head(&[9, 1, 2], &sign(0, &[9, 1, 2]))),
        ),
        fault(
            "an older bundle",
            BundleFault::Downgrade { highest: COUNTER },
            |stage| pushed(stage, &stage.empty_bundle(COUNTER - 1)),
        ),
        fault(
            "another bundle as old",
            BundleFault::Replayed { highest: COUNTER },
            |stage| {
                let parts = [(PartKind::Gallery, "other", vec![])];
                pushed(stage, &stage.bundle(COUNTER, &parts))
            },
        ),
        case(
            "a bundle too large",
            Refusal::BundleTooLarge { limit: MAX_BUNDLE },
            |stage| {
                let large = vec![0; MAX_BUNDLE as usize + 1];
                let part = (PartKind::Networks, "net.onnx", large);
                offered(stage, &stage.bundle(COUNTER + 1, &[part]).head)
            },
        ),
        fault("a foreign space", BundleFault::Space, |stage| {
            let part = (PartKind::Gallery, "gallery", vec![]);
            pushed(stage, &bundle(COUNTER + 1, "other-4", &[part]))
        }),
        fault("people of a foreign space", BundleFault::Space, |stage| {
            let record = GalleryRecord {
                key: TemplateKey {
                    person: id("eve"),
                    index: 0,
                },
                name: DisplayName::parse("Eve").unwrap(),
                created_unix_ms: 1,
                template: template("other-4", 1.0),
            };
            let mut buffer = [0; 4 + MAX_RECORD];
            let part = encode_record(&record, &mut buffer).unwrap().to_vec();
            with_part(stage, (PartKind::Gallery, "gallery", part))
        }),
        fault(
            "a classifier of a foreign space",
            BundleFault::Space,
            |stage| {
                let space = SpaceId::parse("other-4").unwrap();
                let (weights, biases) = (vec![0.0; 8], vec![0.0; 2]);
                let eve = Classifier::softmax(space, vec!["eve".into()], weights, biases);
                let part = eve.to_bytes().unwrap();
                with_part(stage, (PartKind::Classifier, "classifier", part))
            },
        ),
        fault(
            "half a gallery",
            BundleFault::PartUnreadable { part: 0 },
            |stage| {
                with_part(
                    stage,
                    (PartKind::Gallery, "gallery", vec![200, 0, 0, 0, 1, 2]),
                )
            },
        ),
        fault(
            "noise for a classifier",
            BundleFault::PartUnreadable { part: 0 },
            |stage| with_part(stage, (PartKind::Classifier, "classifier", vec![0xff; 64])),
        ),
        fault(
            "noise for a self-test",
            BundleFault::PartUnreadable { part: 0 },
            |stage| with_part(stage, (PartKind::SelfTest, "self-test", vec![0xff; 64])),
        ),
        fault(
            "a policy nobody would obey",
            BundleFault::PartUnreadable { part: 0 },
            |stage| {
                with_part(
                    stage,
                    (PartKind::Policy, "policy.toml", b"all = true".to_vec()),
                )
            },
        ),
        fault("networks that are none", BundleFault::SelfTest, |stage| {
            with_part(
                stage,
                (PartKind::Networks, "manifest.toml", b"nonsense".to_vec()),
            )
        }),
        fault(
            "a part with a bit turned",
            BundleFault::PartDigest { part: 0 },
            |stage| {
                let (mut end, bundle) = offering(stage);
                let mut damaged = bundle.clone();
                damaged.parts[0][4_000] ^= 1;
                refusal(push(&mut end, &damaged))
            },
        ),
        case(
            "bytes of a part before any offer",
            Refusal::NotStaging,
            |stage| {
                let mut end = stage.admin();
                end.ask(Request::BundleAbort);
                refusal(end.ask(chunk(0, 0, &[1, 2, 3])))
            },
        ),
        case(
            "bytes with a gap",
            Refusal::Offset { expected: 0 },
            |stage| {
                let (mut end, _) = offering(stage);
                refusal(end.ask(chunk(0, 100, &[1, 2, 3])))
            },
        ),
        case("bytes twice", Refusal::Offset { expected: 3 }, |stage| {
            let (mut end, _) = offering(stage);
            end.ask(chunk(0, 0, &[1, 2, 3]));
            refusal(end.ask(chunk(0, 0, &[1, 2, 3])))
        }),
        case(
            "bytes past a part's end",
            Refusal::Offset { expected: 4_096 },
            |stage| {
                let (mut end, bundle) = offering(stage);
                for offset in [0, 2_048] {
                    let piece = &bundle.parts[0][offset..offset + 2_048];
                    end.ask(chunk(0, offset as u64, piece));
                }
                refusal(end.ask(chunk(0, 4_096, &[7; 2_000])))
            },
        ),
        fault(
            "bytes of a part there is not",
            BundleFault::PartMissing,
            |stage| {
                let (mut end, _) = offering(stage);
                refusal(end.ask(chunk(77, 0, &[1])))
            },
        ),
        case(
            "a commit before the end",
            Refusal::Incomplete {
                received: 2_048,
                size: 5_000,
            },
            |stage| {
                let (mut end, bundle) = offering(stage);
                end.ask(chunk(0, 0, &bundle.parts[0][..2_048]));
                let sha256 = bundle.id.digest;
                refusal(end.ask(Request::BundleCommit { sha256 }))
            },
        ),
        case(
            "a commit of another bundle",
            Refusal::OtherBundle,
            |stage| {
                let (mut end, _) = offering(stage);
                let sha256 = Digest([7; 32]);
                refusal(end.ask(Request::BundleCommit { sha256 }))
            },
        ),
        case("a commit of nothing", Refusal::NotStaging, |stage| {
            let mut end = stage.admin();
            end.ask(Request::BundleAbort);
            let sha256 = Digest([7; 32]);
            refusal(end.ask(Request::BundleCommit { sha256 }))
        }),
        fault("version 1's way to begin", BundleFault::Unsigned, |stage| {
            let sha256 = Digest([7; 32]);
            asked(stage, Request::BundleBegin { size: 100, sha256 })
        }),
        fault("version 1's way to go on", BundleFault::Unsigned, |stage| {
            let chunk = Chunk {
                offset: 0,
                bytes: [1].into_iter().collect(),
            };
            asked(stage, Request::BundleChunk(chunk))
        }),
    ]
}
