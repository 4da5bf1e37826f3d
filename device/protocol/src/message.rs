//! Envelopes, requests, responses and what they carry.
//!
//! Wire order of every enum and struct here is frozen: add variants at the end, never fields (see the README's
//! versioning rule). `tests/v1.rs` and `tests/v2.rs` hold the bytes. What an envelope seals is in `session`.

use heapless::{Vec, Vec as Bytes};
use serde::{Deserialize, Serialize};

use crate::{
    HOSTS_PER_PAGE, MAX_CHUNK, MAX_TEMPLATE, PEOPLE_PER_PAGE,
    audit::AuditPage,
    bundle::{MAX_HEAD, MAX_PARTS, MAX_SIGNATURE},
    event::{DoorState, Event, RollbackReason},
    keys::{PublicKey, Role, TrustedKeys},
    names::{Digest, DisplayName, PersonId, SpaceName, Text},
    refusal::Refusal,
    session::{HandshakeBytes, Purpose, Sealed},
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

/// What a host puts on the line: the only things said in clear are versions and handshake messages.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Envelope {
    /// First on every connection, and whenever a host starts over: the versions it speaks.
    Hello {
        /// Lowest version.
        lowest: u16,
        /// Highest version.
        highest: u16,
    },
    /// A handshake message, after the door's `Hello`.
    Handshake {
        /// What for.
        purpose: Purpose,
        /// The message.
        message: HandshakeBytes,
    },
    /// A sealed `Packet<Request>`; the number of the frame's own packet is 0.
    Sealed(Sealed),
}

/// What a door puts on the line.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum EnvelopeReply {
    /// No, and why: before a session stands, or when a frame is not of it. Nobody vouches for it.
    Refused(Refusal),
    /// The version spoken from here on. The name is told under seal, here it is empty.
    Hello {
        /// Version.
        version: u16,
        /// Empty.
        device: Text<64>,
    },
    /// The door's handshake message.
    Handshake(HandshakeBytes),
    /// A sealed [`Reply`]; the number of the frame's own packet is 0.
    Sealed(Sealed),
}

/// What a host asks.
// A no_std crate cannot box the two large variants; a request lives on one stack at a time.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Not used under seal: see [`Envelope::Hello`], whose bytes are the same.
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
    /// Version 1's way to send a bundle, which no signature covers: refused as unsigned. See [`Request::BundleOffer`].
    BundleBegin {
        /// Size of the file, in bytes.
        size: u64,
        /// SHA-256 of the file.
        sha256: Digest,
    },
    /// Version 1's way, as [`Request::BundleBegin`].
    BundleChunk(Chunk),
    /// Checks the received parts, tests the networks and puts the bundle on trial. Answered with [`Response::Bundle`].
    BundleCommit {
        /// The bundle's name.
        sha256: Digest,
    },
    /// Forgets what was received. Answered with [`Response::Bundle`].
    BundleAbort,
    /// Answered with [`Response::Bundle`].
    BundleStatus,
    /// From now on, events; first those kept from `from_seq` on. Answered with [`Response::Done`], then with
    /// [`Response::Event`] again and again until the host closes or sends another request; with another
    /// [`Response::Done`] now and then when nothing happens, so that both know that the other is there.
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
    /// Offers a bundle: its head is judged, and the answer says what is missing. Also how an interrupted push goes on.
    /// Answered with [`Response::Parts`].
    BundleOffer(Bytes<u8, MAX_HEAD>),
    /// Bytes of a part of the offered bundle, at the offset where the device stands. Answered with [`Response::Bundle`].
    PartChunk {
        /// The part's place in the manifest.
        part: u8,
        /// Where in the part, and what.
        chunk: Chunk,
    },
    /// How the last update went. Answered with [`Response::Update`].
    UpdateStatus,
    /// A page of paired hosts, by key. Answered with [`Response::Hosts`].
    Hosts {
        /// Last key of the page before; `None` for the first.
        after: Option<PublicKey>,
    },
    /// Forgets a host; its sessions end. Answered with [`Response::Done`].
    HostRevoke {
        /// Its key.
        host: PublicKey,
    },
    /// Opens the pairing window. Answered with [`Response::Pairing`].
    PairingOpen {
        /// The highest role it gives.
        role: Role,
    },
    /// Closes the pairing window. Answered with [`Response::Done`].
    PairingClose,
    /// Replaces the two keys bundles are signed with. Answered with [`Response::Done`].
    KeysReplace {
        /// The new keys.
        keys: TrustedKeys,
        /// [`TrustedKeys::statement`] signed with one of the old ones: the text of a minisign signature.
        signature: Bytes<u8, MAX_SIGNATURE>,
    },
    /// A page of the audit record. Answered with [`Response::Audit`].
    AuditRead {
        /// First number wanted; below the first one kept: from that one on.
        from_seq: u64,
    },
    /// Lets somebody in, for as long as a grant does. Answered with [`Response::Door`].
    Unlock,
    /// Begins or ends a lockdown: nobody gets in, and who is inside gets out. Answered with [`Response::Door`].
    Lockdown {
        /// Whether it begins.
        on: bool,
    },
    /// Gives a person another id and name; templates go with it. Not allowed while the policy has rules for the old id: they
    /// are changed with a bundle. Answered with [`Response::Done`].
    PersonRename {
        /// Id until now.
        person: PersonId,
        /// Id from now on; may be the same.
        to: PersonId,
        /// Name to show.
        name: DisplayName,
    },
    /// Lets the next face at the door be enrolled, with no admin's face before. Answered with [`Response::Done`].
    EnrollmentOpen {
        /// The id to give; `None`: the door makes one up.
        person: Option<PersonId>,
        /// The name to show; `None`: the door makes one up.
        name: Option<DisplayName>,
    },
    /// Ends an enrollment at the door. Answered with [`Response::Done`].
    EnrollmentClose,
    /// Ends every lockout. Answered with [`Response::Done`].
    LockoutClear,
    /// Somebody left, for anti-passback. Answered with [`Response::Done`].
    PassedOut {
        /// Who.
        person: PersonId,
    },
    /// Answered with [`Response::Policy`].
    PolicyStatus,
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
    /// Bytes the device holds of each part of the offered bundle, in the manifest's order. All of them if it is active or on
    /// trial already.
    Parts(Bytes<u64, MAX_PARTS>),
    /// How the last update went.
    Update(UpdateStatus),
    /// A page of paired hosts.
    Hosts(HostsPage),
    /// The pairing window is open.
    Pairing {
        /// The code to type at the other host.
        code: Text<32>,
        /// When it closes, milliseconds since 1970.
        closes_unix_ms: u64,
    },
    /// The host is paired: first sealed answer after a pairing.
    Paired {
        /// The role given.
        role: Role,
    },
    /// A page of the audit record.
    Audit(AuditPage),
    /// The policy in force, and where things stand under it.
    Policy(PolicyStatus),
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

/// The policy in force, and where things stand under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// SHA-256 of the policy part; `None` while there is none: whoever is enrolled may pass at any time.
    pub policy: Option<Digest>,
    /// People it has rules for.
    pub people: u32,
    /// Whether the door knows what time it is.
    pub clock: bool,
    /// Whether the schedule holds the door open now.
    pub open: bool,
    /// Faces denied in a row.
    pub denials: u32,
    /// Faces do not open until then, milliseconds since 1970; `u64::MAX`: until an operator says so.
    pub locked_until_unix_ms: Option<u64>,
    /// People inside, as far as anti-passback knows.
    pub inside: u32,
}

/// A fault and when it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Wall time, milliseconds since 1970.
    pub unix_ms: u64,
    /// What failed.
    pub text: Text<160>,
}

/// How the last update went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateStatus {
    /// The bundle on trial; it is the one in use.
    pub trial: Option<Trial>,
    /// The last bundle that did not prove itself, kept until another one does.
    pub rolled_back: Option<RolledBack>,
    /// The highest counter ever committed: a bundle needs a larger one.
    pub highest_counter: u64,
    /// Serial of the trusted signing keys; `None` while there are none.
    pub keys_serial: Option<u64>,
}

/// A bundle on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Which.
    pub id: BundleId,
    /// Healthy frames it still has to judge.
    pub frames_left: u32,
}

/// A bundle that did not prove itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolledBack {
    /// Which.
    pub id: BundleId,
    /// When, milliseconds since 1970.
    pub unix_ms: u64,
    /// Why.
    pub reason: RollbackReason,
    /// What failed, in words.
    pub text: Text<96>,
}

/// A page of paired hosts, sorted by key; empty after the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostsPage {
    /// The hosts.
    pub hosts: Vec<Host, HOSTS_PER_PAGE>,
}

/// A paired host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Its key.
    pub key: PublicKey,
    /// Its name, as it said when it paired.
    pub name: DisplayName,
    /// What it may ask for.
    pub role: Role,
    /// When it paired, milliseconds since 1970.
    pub paired_unix_ms: u64,
}

/// Names a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleId {
    /// SHA-256 of the manifest, which holds the digests of all parts.
    pub digest: Digest,
    /// The counter in its manifest; grows with every bundle packed.
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

/// Bytes of a part at an offset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// Where, from the part's start.
    pub offset: u64,
    /// At least one byte.
    pub bytes: Vec<u8, MAX_CHUNK>,
}

/// Where the bundles stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleProgress {
    /// The one being received.
    pub staging: Option<Staging>,
    /// The one that has proved itself; in use unless another is on trial.
    pub active: Option<BundleId>,
    /// The one to go back to.
    pub previous: Option<BundleId>,
}

/// A bundle being received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staging {
    /// Size of all parts, in bytes.
    pub size: u64,
    /// The bundle's name.
    pub sha256: Digest,
    /// Bytes of them that are there, received or held already.
    pub received: u64,
}
