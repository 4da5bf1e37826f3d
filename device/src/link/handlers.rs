//! What each request does: one short handler a request, and the one place that decides what a peer is told.
//!
//! Requests about bundles and for the audit record are served on `swap`'s thread, all others by the loop between two
//! frames. Whether the host's role allows them was decided in `session`.

use std::time::Instant;

use facelatch_protocol::{
    BundleFault, Digest, DisplayName, NotEnrolled, PEOPLE_PER_PAGE, PeoplePage, PersonId,
    PublicKey, Refusal, Request, Response, Role, SpaceName, Status, Template, Text, TrustedKeys,
    VERSION_HIGHEST,
};
use sha2::{Digest as _, Sha256};

use super::{Ask, Call, EventSink};
use crate::{
    audit::{self, What},
    door::{self, Asker, Shut},
    enroll::Wanted,
    error::Error,
    hosts::{self, Pairing},
    run::Running,
    store::{
        self,
        disk::{Disk, Folder},
    },
    swap::Swap,
};

/// Wall times taken by a time synchronisation: from 2025 to 2100, milliseconds since 1970.
pub(crate) const PLAUSIBLE_UNIX_MS: std::ops::Range<u64> = 1_735_689_600_000..4_102_444_800_000;

/// Answers a request about bundles, or one for the audit record: what takes reading and writing of many bytes.
pub(crate) fn bundle(swap: &mut Swap, ask: Ask) -> Response {
    let Ask::Request(request) = ask else {
        return Response::Refused(Refusal::Internal);
    };
    let refused = |error: store::Error| {
        log::warn!("bundle: {error}");
        error.refusal()
    };
    let done = match request {
        Request::BundleOffer(head) => {
            let trusted = swap.hosts.trusted();
            let held = swap.store.offer(&head, trusted.as_ref());
            // A manifest names at most MAX_PARTS parts.
            return held.map_or_else(
                |error| Response::Refused(refused(error)),
                |held| Response::Parts(held.into_iter().collect()),
            );
        }
        Request::PartChunk { part, chunk } => swap
            .store
            .part_chunk(usize::from(part), chunk.offset, &chunk.bytes)
            .map_err(refused),
        Request::BundleCommit { sha256 } => swap.commit(sha256),
        Request::BundleAbort => {
            swap.store.abort();
            Ok(())
        }
        Request::BundleStatus => Ok(()),
        Request::UpdateStatus => return Response::Update(swap.update_status()),
        Request::AuditRead { from_seq } => {
            return match audit::page(swap.audit_folder(), from_seq) {
                Ok(page) => Response::Audit(page),
                Err(error) => {
                    log::warn!("audit: {error}");
                    Response::Refused(Refusal::Storage)
                }
            };
        }
        Request::BundleBegin { .. } | Request::BundleChunk(_) => {
            Err(Refusal::Bundle(BundleFault::Unsigned))
        }
        Request::Hello { .. }
        | Request::Goodbye
        | Request::Status
        | Request::People { .. }
        | Request::PersonAdd { .. }
        | Request::PersonRemove { .. }
        | Request::TemplateAdd { .. }
        | Request::GalleryPull { .. }
        | Request::EventsSubscribe { .. }
        | Request::DoorState
        | Request::TimeSync { .. }
        | Request::Hosts { .. }
        | Request::HostRevoke { .. }
        | Request::PairingOpen { .. }
        | Request::PairingClose
        | Request::KeysReplace { .. }
        | Request::Unlock
        | Request::Lockdown { .. }
        | Request::PersonRename { .. }
        | Request::EnrollmentOpen { .. }
        | Request::EnrollmentClose
        | Request::LockoutClear
        | Request::PassedOut { .. }
        | Request::PolicyStatus => Err(Refusal::Internal),
    };
    match done {
        Ok(()) => swap.progress(),
        Err(refusal) => Response::Refused(refusal),
    }
}

/// Answers anything else.
pub(crate) fn device(running: &mut Running, call: Call) -> Response {
    let answered = match call.ask {
        Ask::Request(request) => request_of(running, request, call.host, call.events),
        Ask::Pair(pairing) => pair(running, &pairing),
        Ask::WrongCode { tries_left } => running
            .noted(What::WrongCode { tries_left })
            .map(|()| Response::Done),
    };
    answered.unwrap_or_else(|error| {
        log::warn!("{}: request refused: {error}", call.peer);
        let told = refusal(running, &error);
        running.storage_failed(&error);
        Response::Refused(told)
    })
}

fn request_of(
    running: &mut Running,
    request: Request,
    host: Option<PublicKey>,
    events: Option<EventSink>,
) -> Result<Response, Error> {
    let done = match request {
        Request::Status => return Ok(Response::Status(status(running))),
        Request::DoorState => return Ok(Response::Door(running.door_state())),
        Request::People { after } => return Ok(people(running, after.as_ref())),
        Request::GalleryPull { after } => {
            return Ok(Response::Gallery(
                running.gallery.next_record(after.as_ref()),
            ));
        }
        Request::EventsSubscribe { from_seq } => subscribe(running, events, from_seq),
        Request::TimeSync { unix_ms } => return Ok(time_sync(running, unix_ms)),
        Request::Unlock => return unlock(running, host),
        Request::Lockdown { on } => {
            let by = asker(running, host)?;
            return running.lockdown(on, by).map(Response::Door);
        }
        Request::PersonAdd { person, name } => {
            let now = running.unix_ms();
            let what = match running.gallery.contains(&person) {
                true => What::PersonRenamed {
                    person: person.clone(),
                },
                false => What::PersonAdded {
                    person: person.clone(),
                },
            };
            running
                .gallery
                .add_person(&person, &name, now)
                .and_then(|()| running.people_changed(what))
        }
        Request::PersonRemove { person } => running
            .gallery
            .remove_person(&person)
            .and_then(|()| {
                let what = What::PersonRemoved {
                    person: person.clone(),
                };
                running.people_changed(what)
            })
            .and_then(|()| running.forget_visits_of(&person)),
        Request::TemplateAdd { person, template } => template_add(running, person, &template),
        Request::Hosts { after } => {
            return Ok(Response::Hosts(running.hosts.page(after.as_ref())));
        }
        Request::HostRevoke { host } => running
            .hosts
            .revoke(&host)
            .and_then(|()| running.noted(What::HostRevoked { host })),
        Request::PairingOpen { role } => return pairing_open(running, role),
        Request::PairingClose => match running.hosts.close_window() {
            true => running.noted(What::PairingClosed),
            false => Ok(()),
        },
        Request::KeysReplace { keys, signature } => {
            running.hosts.replace_keys(keys, &signature).and_then(|()| {
                running.noted(What::KeysReplaced {
                    serial: keys.serial,
                })
            })
        }
        Request::PersonRename { person, to, name } => {
            return person_rename(running, &person, &to, &name);
        }
        Request::EnrollmentOpen { person, name } => {
            let by = asker(running, host)?;
            return enrollment_open(running, Wanted { person, name }, by);
        }
        Request::EnrollmentClose => {
            running.end_enrollment(NotEnrolled::GivenUp);
            Ok(())
        }
        Request::LockoutClear => {
            let by = asker(running, host)?;
            running.clear_lockout(by)
        }
        Request::PassedOut { person } => running.passed_out(person),
        Request::PolicyStatus => return Ok(Response::Policy(running.policy_status())),
        Request::Hello { .. }
        | Request::Goodbye
        | Request::BundleBegin { .. }
        | Request::BundleChunk(_)
        | Request::BundleCommit { .. }
        | Request::BundleAbort
        | Request::BundleStatus
        | Request::BundleOffer(_)
        | Request::PartChunk { .. }
        | Request::UpdateStatus
        | Request::AuditRead { .. } => Err(Error::Bug("a request took the wrong way".to_owned())),
    };
    done.map(|()| Response::Done)
}

/// Lets somebody in. That it happened is seen by the relay's state, which a failed record or relay leaves safe.
fn unlock(running: &mut Running, host: Option<PublicKey>) -> Result<Response, Error> {
    let by = asker(running, host)?;
    let done = running.door.lets_in().and_then(|()| {
        running.step(door::Event::Unlock { by });
        running.door.lets_in()
    });
    Ok(match done {
        Ok(()) => Response::Door(running.door_state()),
        Err(shut) => refused(shut),
    })
}

fn refused(shut: Shut) -> Response {
    Response::Refused(match shut {
        Shut::LockedDown => Refusal::LockedDown,
        Shut::OutOfService => Refusal::OutOfService,
    })
}

/// Another id, another name, or both.
fn person_rename(
    running: &mut Running,
    person: &PersonId,
    to: &PersonId,
    name: &DisplayName,
) -> Result<Response, Error> {
    // It knows its admin by id, and may be about to give the new one away.
    if running.enrollment.is_open() {
        return Ok(Response::Refused(Refusal::Enrolling));
    }
    // Rules are the bundle's, by id: under another one, whoever may not pass could.
    let rules = running.policy.as_ref().map(|policy| &policy.rules);
    let has_rules = rules.is_some_and(|rules| rules.people().any(|listed| listed == person));
    if has_rules && person != to {
        return Ok(Response::Refused(Refusal::NotAllowed));
    }
    running.gallery.rename_person(person, to, name)?;
    let now = running.clock.now();
    let visits = running.visits.ledger.rename(person, to, now);
    let person = person.clone();
    // They are at the door under the new id, whatever became of their visits.
    running.people_changed(match person == *to {
        true => What::PersonRenamed { person },
        false => What::PersonMoved {
            person,
            to: to.clone(),
        },
    })?;
    visits?;
    Ok(Response::Done)
}

fn enrollment_open(running: &mut Running, wanted: Wanted, by: Asker) -> Result<Response, Error> {
    if running.enrollment.is_open() {
        return Ok(Response::Refused(Refusal::Enrolling));
    }
    if let Err(shut) = running.door.lets_in() {
        return Ok(refused(shut));
    }
    if running.is_shut() {
        return Ok(Response::Refused(Refusal::OutOfService));
    }
    running.open_enrollment(wanted, by)?;
    Ok(Response::Done)
}

/// Who asks, by the name it paired with.
fn asker(running: &Running, host: Option<PublicKey>) -> Result<Asker, Error> {
    let host = host.ok_or_else(|| Error::Bug("a request of no host".to_owned()))?;
    // Revoked since it asked.
    let name = running.hosts.name(&host).ok_or(hosts::Refused::Unknown);
    let name = name.map_err(Error::Hosts)?;
    Ok(Asker { host, name })
}

fn pair(running: &mut Running, pairing: &Pairing) -> Result<Response, Error> {
    let unix_ms = running.unix_ms();
    let before = running.hosts.trusted();
    let role = running.hosts.pair(pairing, unix_ms, Instant::now())?;
    running.noted(What::HostPaired {
        host: pairing.host,
        name: pairing.name.clone(),
        role,
    })?;
    if let (None, Some(TrustedKeys { serial, .. })) = (before, running.hosts.trusted()) {
        running.noted(What::KeysReplaced { serial })?;
    }
    Ok(Response::Paired { role })
}

fn pairing_open(running: &mut Running, role: Role) -> Result<Response, Error> {
    let window = running.open_pairing(role)?;
    let lasts = window.closes.saturating_duration_since(Instant::now());
    let lasts_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
    Ok(Response::Pairing {
        code: Text::cut(&window.code.to_string()),
        closes_unix_ms: running.unix_ms().saturating_add(lasts_ms),
    })
}

fn status(running: &Running) -> Status {
    let free = Folder::open(&running.data).and_then(|folder| folder.free_bytes());
    let uptime = running.clock.now().as_millis();
    Status {
        device: Text::cut(&running.config.link.name),
        board: Text::cut(&running.board),
        software: Text::cut(env!("CARGO_PKG_VERSION")),
        protocol: VERSION_HIGHEST,
        space: space(running),
        // Both are bounded by the gallery's limits, u32 each.
        people: running.gallery.people_count() as u32,
        templates: running.gallery.template_count() as u32,
        active: running.progress.active,
        previous: running.progress.previous,
        state: state(running),
        uptime_ms: u64::try_from(uptime).unwrap_or(u64::MAX),
        unix_ms: running.unix_ms(),
        frames: running.frames,
        door: running.door_state(),
        last_fault: running.last_fault.clone(),
        free_bytes: free.unwrap_or(0),
    }
}

/// SHA-256 over the people and the active bundle's digest.
fn state(running: &Running) -> Digest {
    let bundle = running.progress.active.map_or([0; 32], |id| id.digest.0);
    let digest = Sha256::new()
        .chain_update(b"facelatch state 1")
        .chain_update(bundle)
        .chain_update(running.gallery.canonical());
    Digest(digest.finalize().into())
}

fn space(running: &Running) -> Option<SpaceName> {
    SpaceName::parse(running.networks.embedder.space().as_str()).ok()
}

fn people(running: &Running, after: Option<&PersonId>) -> Response {
    let page = running
        .gallery
        .people(after)
        .take(PEOPLE_PER_PAGE)
        .collect();
    Response::People(PeoplePage { people: page })
}

fn subscribe(running: &mut Running, sink: Option<EventSink>, from_seq: u64) -> Result<(), Error> {
    let sink = sink.ok_or_else(|| Error::Bug("a subscription without a sink".to_owned()))?;
    running.events.listen(sink, from_seq);
    Ok(())
}

fn template_add(running: &mut Running, person: PersonId, template: &Template) -> Result<(), Error> {
    let embedder = &running.networks.embedder;
    let space = embedder.space().as_str();
    if *template.space != *space {
        let found = template.space.to_string();
        return Err(Error::Space {
            expected: space.to_owned(),
            found,
        });
    }
    let dimension = embedder.dimension();
    if template.values.len() != dimension {
        return Err(Error::Template { dimension });
    }
    let now = running.unix_ms();
    running
        .gallery
        .add_templates(&person, std::slice::from_ref(template), now)?;
    running.people_changed(What::TemplatesAdded { person, count: 1 })
}

fn time_sync(running: &mut Running, unix_ms: u64) -> Response {
    if !PLAUSIBLE_UNIX_MS.contains(&unix_ms) {
        return Response::Refused(Refusal::Time);
    }
    let moved_ms = running.time_is_told(unix_ms);
    Response::Time {
        unix_ms: running.unix_ms(),
        moved_ms,
    }
}

/// What a peer is told about our own errors.
pub(crate) fn refusal(running: &Running, error: &Error) -> Refusal {
    match error {
        Error::UnknownPerson(_) => Refusal::UnknownPerson,
        Error::PersonExists(_) => Refusal::PersonExists,
        Error::Full {
            what: "people",
            limit,
        } => Refusal::TooManyPeople { limit: *limit },
        Error::Full { limit, .. } => Refusal::TooManyTemplates { limit: *limit },
        Error::Template { .. } => Refusal::Template,
        Error::Hosts(refused) => match refused {
            hosts::Refused::Closed => Refusal::PairingClosed,
            hosts::Refused::TooMany => Refusal::TooManyHosts {
                // A small constant.
                limit: hosts::MAX_HOSTS as u32,
            },
            hosts::Refused::Unknown => Refusal::UnknownHost,
            hosts::Refused::LastAdmin => Refusal::LastAdmin,
            hosts::Refused::Keys => Refusal::Keys,
        },
        Error::Space { .. } => Refusal::Space {
            expected: space(running),
        },
        Error::Models(facelatch_models::Error::Space { .. }) => Refusal::Bundle(BundleFault::Space),
        Error::Store(error) => error.refusal(),
        Error::Storage { .. }
        | Error::Gallery(_)
        | Error::GalleryDamaged { .. }
        | Error::KeysDamaged { .. }
        | Error::AuditDamaged { .. }
        | Error::Ledger(_) => Refusal::Storage,
        Error::Call(_)
        | Error::Config { .. }
        | Error::Link(_)
        | Error::DataInUse { .. }
        | Error::Board(_)
        | Error::Models(_)
        | Error::Bug(_) => Refusal::Internal,
    }
}
