//! What each request does: one short handler a request, and the one place that decides what a peer is told.
//!
//! Requests about bundles are served on `swap`'s thread, all others by the loop between two frames.

use facelatch_protocol::{
    BundleFault, Digest, PEOPLE_PER_PAGE, PeoplePage, PersonId, Refusal, Request, Response,
    SpaceName, Status, Template, Text, VERSION_HIGHEST,
};
use sha2::{Digest as _, Sha256};

use super::EventSink;
use crate::{
    audit::What,
    error::Error,
    run::Running,
    store::{
        self,
        disk::{Disk, Folder},
    },
    swap::Swap,
};

/// Wall times taken by a time synchronisation: from 2025 to 2100, milliseconds since 1970.
const PLAUSIBLE_UNIX_MS: std::ops::Range<u64> = 1_735_689_600_000..4_102_444_800_000;

/// Answers a request about bundles.
pub(crate) fn bundle(swap: &mut Swap, request: Request) -> Response {
    let refused = |error: store::Error| {
        log::warn!("bundle: {error}");
        error.refusal()
    };
    let done = match request {
        Request::BundleBegin { size, sha256 } => swap.store.begin(size, sha256).map_err(refused),
        Request::BundleChunk(chunk) => swap
            .store
            .chunk(chunk.offset, &chunk.bytes)
            .map_err(refused),
        Request::BundleCommit { sha256 } => swap.commit(sha256),
        Request::BundleAbort => {
            swap.store.abort();
            Ok(())
        }
        Request::BundleStatus => Ok(()),
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
        | Request::BundleOffer(_)
        | Request::PartChunk { .. }
        | Request::UpdateStatus
        | Request::AuditRead { .. }
        | Request::Hosts { .. }
        | Request::HostRevoke { .. }
        | Request::PairingOpen { .. }
        | Request::PairingClose
        | Request::KeysReplace { .. } => Err(Refusal::Internal),
    };
    match done {
        Ok(()) => swap.progress(),
        Err(refusal) => Response::Refused(refusal),
    }
}

/// Answers a request about anything else.
pub(crate) fn device(
    running: &mut Running,
    request: Request,
    events: Option<EventSink>,
) -> Response {
    let answered = match request {
        Request::Status => return Response::Status(status(running)),
        Request::DoorState => return Response::Door(running.door_state()),
        Request::People { after } => return people(running, after.as_ref()),
        Request::GalleryPull { after } => {
            return Response::Gallery(running.gallery.next_record(after.as_ref()));
        }
        Request::EventsSubscribe { from_seq } => subscribe(running, events, from_seq),
        Request::TimeSync { unix_ms } => return time_sync(running, unix_ms),
        Request::PersonAdd { person, name } => {
            let now = running.unix_ms();
            running
                .gallery
                .add_person(&person, &name, now)
                .and_then(|()| running.people_changed(What::PersonAdded { person }))
        }
        Request::PersonRemove { person } => running
            .gallery
            .remove_person(&person)
            .and_then(|()| running.people_changed(What::PersonRemoved { person })),
        Request::TemplateAdd { person, template } => template_add(running, person, &template),
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
        | Request::AuditRead { .. }
        | Request::Hosts { .. }
        | Request::HostRevoke { .. }
        | Request::PairingOpen { .. }
        | Request::PairingClose
        | Request::KeysReplace { .. } => Err(Error::Bug("a request took the wrong way".to_owned())),
    };
    match answered {
        Ok(()) => Response::Done,
        Err(error) => {
            log::warn!("request refused: {error}");
            let told = refusal(running, &error);
            running.storage_failed(&error);
            Response::Refused(told)
        }
    }
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
    let moved_ms = running.set_clock(unix_ms);
    Response::Time {
        unix_ms: running.unix_ms(),
        moved_ms,
    }
}

/// What a peer is told about our own errors.
pub(crate) fn refusal(running: &Running, error: &Error) -> Refusal {
    match error {
        Error::UnknownPerson(_) => Refusal::UnknownPerson,
        Error::Full {
            what: "people",
            limit,
        } => Refusal::TooManyPeople { limit: *limit },
        Error::Full { limit, .. } => Refusal::TooManyTemplates { limit: *limit },
        Error::Template { .. } => Refusal::Template,
        Error::Space { .. } => Refusal::Space {
            expected: space(running),
        },
        Error::Models(facelatch_models::Error::Space { .. }) => Refusal::Bundle(BundleFault::Space),
        Error::Store(error) => error.refusal(),
        Error::Storage { .. }
        | Error::Gallery(_)
        | Error::GalleryDamaged { .. }
        | Error::KeysDamaged { .. }
        | Error::AuditDamaged { .. } => Refusal::Storage,
        Error::Call(_)
        | Error::Config { .. }
        | Error::Link(_)
        | Error::DataInUse { .. }
        | Error::Board(_)
        | Error::Models(_)
        | Error::Bug(_) => Refusal::Internal,
    }
}
