//! What a Facelatch host and door say to each other: messages, limits, framing, sessions and the bundle file's head.
//!
//! No I/O and no clock: the device's `link` and the host's `client` bring those. Only `session` allocates. Versions and
//! frozen bytes are explained in this crate's README.

#![no_std]
#![forbid(unsafe_code)]

pub mod audit;
pub mod bundle;
pub mod event;
pub mod frame;
pub mod keys;
pub mod message;
pub mod names;
pub mod refusal;
pub mod session;
pub mod visit;

pub use event::{Alarm, DoorState, Event, EventKind, Opener, Reason, RollbackReason, UpdateStep};
pub use frame::{Deframer, Encoder, FrameError};
pub use keys::{PairingCode, PublicKey, Role, SigningKey, TrustedKeys};
pub use message::{
    BundleId, BundleProgress, Chunk, Envelope, EnvelopeReply, Fault, GalleryRecord, Host,
    HostsPage, Packet, PeoplePage, Person, PolicyStatus, Reply, Request, Response, RolledBack,
    Staging, Status, Template, TemplateKey, Trial, UpdateStatus,
};
pub use names::{Digest, DisplayName, NameError, PersonId, SpaceName, Text};
pub use refusal::{BundleFault, Refusal};
pub use visit::{Coverage, Enrollment, Factor, Lockout, NotEnrolled, Prompt};

/// The oldest protocol version this code speaks.
pub const VERSION_LOWEST: u16 = 2;
/// The newest protocol version this code speaks.
pub const VERSION_HIGHEST: u16 = 2;

/// Longest encoded message, in bytes, before sealing, checksum and framing.
pub const MAX_MESSAGE: usize = 3072;
/// Longest envelope, in bytes: a sealed message with its tag (16), number (at most 10), length (2) and packet (6).
pub const MAX_ENVELOPE: usize = MAX_MESSAGE + 40;
/// Most bytes of a bundle in one [`message::Request::PartChunk`].
pub const MAX_CHUNK: usize = 2048;
/// Most numbers in a template.
pub const MAX_TEMPLATE: usize = 704;
/// Most hosts on one page of [`message::Response::Hosts`].
pub const HOSTS_PER_PAGE: usize = 16;
/// Most people on one page of [`message::Response::People`].
pub const PEOPLE_PER_PAGE: usize = 16;
