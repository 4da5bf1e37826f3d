//! Requests, responses and what they carry, version 1.
//!
//! Wire order of every enum and struct here is frozen: add variants at the end, never fields (see the README's
//! versioning rule). `tests/v1.rs` holds the bytes.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::{
    MAX_CHUNK, MAX_TEMPLATE, PEOPLE_PER_PAGE,
    event::{DoorState, Event},
    names::{Digest, DisplayName, PersonId, SpaceName, Text},
    refusal::Refusal,
};

/// What one frame carries: a message under the number of the request it belongs to.
///
/// The asker picks the number; every answer repeats it, so that answers meant for an earlier session on the same serial
/// line are known and skipped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Packet<M> {
    /// Number of the request, from 1; 0 answers a frame whose number could not be read.
    pub id: u32,
    /// The message.
    pub body: M,
}

/// An answer with its number.
pub type Reply = Packet<Response>;

/// What a host asks.
// A no_std crate cannot box the two large variants; a request lives on one stack at a time.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Starts a session, or starts over: first on every connection, with the versions the host speaks.
    Hello {
        /// Lowest version.
        lowest: u16,
        /// Highest version.
        highest: u16,
    },
    /// Ends the session; on a serial line the next session starts with another `Hello`.
    Goodbye,
    /// Answered with [`Response::Status`].
    Status,
    /// A page of people, by id. Answered with [`Response::People`].
    People {
        /// Last id of the page before; `None` for the first.
        after: Option<PersonId>,
    },
    /// Adds a person without templates, or renames one. Answered with [`Response::Done`].
    PersonAdd {
        /// Id.
        person: PersonId,
        /// Name to show.
        name: DisplayName,
    },
    /// Removes a person and all templates. Answered with [`Response::Done`].
    PersonRemove {
        /// Id.
        person: PersonId,
    },
    /// Adds a template to a person. Answered with [`Response::Done`].
    TemplateAdd {
        /// Whose.
        person: PersonId,
        /// The template.
        template: Template,
    },
    /// One template of the gallery, in key order. Answered with [`Response::Gallery`].
    GalleryPull {
        /// Key of the record before; `None` for the first.
        after: Option<TemplateKey>,
    },
    /// Starts receiving a bundle, or goes on with the same one. Answered with [`Response::Bundle`].
    BundleBegin {
        /// Size of the file, in bytes.
        size: u64,
        /// SHA-256 of the file.
        sha256: Digest,
    },
    /// The bytes at an offset, which must be where the device stands. Answered with [`Response::Bundle`].
    BundleChunk(Chunk),
    /// Checks the received file and makes it the active one. Answered with [`Response::Bundle`].
    BundleCommit {
        /// SHA-256 of the file.
        sha256: Digest,
    },
    /// Forgets what was received. Answered with [`Response::Bundle`].
    BundleAbort,
    /// Answered with [`Response::Bundle`].
    BundleStatus,
    /// From now on, events; first those kept from `from_seq` on. Answered with [`Response::Done`], then with
    /// [`Response::Event`] again and again until the host closes or sends another request. An empty frame comes now and then when
    /// nothing happens.
    EventsSubscribe {
        /// First sequence number wanted; 0 for only new ones.
        from_seq: u64,
    },
    /// Answered with [`Response::Door`].
    DoorState,
    /// Sets the device's wall time. Answered with [`Response::Time`].
    TimeSync {
        /// Milliseconds since 1970.
        unix_ms: u64,
    },
}

/// What a device answers.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// No, and why.
    Refused(Refusal),
    /// The session stands.
    Hello {
        /// Version spoken from here on.
        version: u16,
        /// The device's name.
        device: Text<64>,
    },
    /// Done.
    Done,
    /// How the device is.
    Status(Status),
    /// A page of people.
    People(PeoplePage),
    /// One template; `None` after the last.
    Gallery(Option<GalleryRecord>),
    /// Where the bundles stand, after the request.
    Bundle(BundleProgress),
    /// One event.
    Event(Event),
    /// What the door is doing.
    Door(DoorState),
    /// The wall time now, after setting it.
    Time {
        /// Milliseconds since 1970.
        unix_ms: u64,
        /// How far the clock was moved, in milliseconds; positive = forward.
        moved_ms: i64,
    },
}

/// How a device is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The device's name.
    pub device: Text<64>,
    /// Board, such as `pi4` or `sim`.
    pub board: Text<32>,
    /// Software version.
    pub software: Text<32>,
    /// Protocol version of this session.
    pub protocol: u16,
    /// Embedding space in use; `None` before the first bundle.
    pub space: Option<SpaceName>,
    /// People enrolled.
    pub people: u32,
    /// Their templates.
    pub templates: u32,
    /// Bundle in use.
    pub active: Option<BundleId>,
    /// Bundle to go back to.
    pub previous: Option<BundleId>,
    /// SHA-256 over gallery and bundle in their canonical form: equal on two devices that would decide alike.
    pub state: Digest,
    /// Since the daemon started, in milliseconds.
    pub uptime_ms: u64,
    /// Wall time, milliseconds since 1970.
    pub unix_ms: u64,
    /// Frames judged since the daemon started.
    pub frames: u64,
    /// What the door is doing.
    pub door: DoorState,
    /// The last fault since the daemon started.
    pub last_fault: Option<Fault>,
    /// Free space where the device keeps its data, in bytes.
    pub free_bytes: u64,
}

/// A fault and when it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Wall time, milliseconds since 1970.
    pub unix_ms: u64,
    /// What failed.
    pub text: Text<160>,
}

/// Names a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleId {
    /// SHA-256 of the file.
    pub digest: Digest,
    /// The counter in its header; grows with every bundle packed.
    pub counter: u64,
}

/// A page of people, sorted by id; empty after the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeoplePage {
    /// The people.
    pub people: Vec<Person, PEOPLE_PER_PAGE>,
}

/// A person as listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Person {
    /// Id.
    pub person: PersonId,
    /// Name to show.
    pub name: DisplayName,
    /// When added, milliseconds since 1970.
    pub created_unix_ms: u64,
    /// How many templates.
    pub templates: u32,
}

/// An embedding to enroll: unit length, in a named space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// The space.
    pub space: SpaceName,
    /// The unit vector.
    pub values: Vec<f32, MAX_TEMPLATE>,
}

/// Where a template stands in the gallery; ordered by person, then index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TemplateKey {
    /// Whose.
    pub person: PersonId,
    /// Which, counted from 0; gaps are possible.
    pub index: u32,
}

/// One template with all that belongs to it: the unit of the gallery on the wire and in a bundle's gallery part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GalleryRecord {
    /// Whose, and which.
    pub key: TemplateKey,
    /// The person's name to show.
    pub name: DisplayName,
    /// When added, milliseconds since 1970.
    pub created_unix_ms: u64,
    /// The template.
    pub template: Template,
}

/// Bytes of a bundle at an offset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// Where, from the file's start.
    pub offset: u64,
    /// At least one byte.
    pub bytes: Vec<u8, MAX_CHUNK>,
}

/// Where the bundles stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleProgress {
    /// The one being received.
    pub staging: Option<Staging>,
    /// The one in use.
    pub active: Option<BundleId>,
    /// The one to go back to.
    pub previous: Option<BundleId>,
}

/// A bundle being received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staging {
    /// Size of the whole file, in bytes.
    pub size: u64,
    /// SHA-256 of the whole file.
    pub sha256: Digest,
    /// Bytes received: the offset of the next chunk.
    pub received: u64,
}
