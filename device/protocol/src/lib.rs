//! The words a Facelatch host and door exchange: messages, limits, framing and the bundle file's header.
//!
//! No I/O, no clock, no allocation: the device's `link` and the host's `client` bring those. Versions and frozen bytes
//! are explained in this crate's README.

#![no_std]
#![forbid(unsafe_code)]

pub mod bundle;
pub mod event;
pub mod frame;
pub mod message;
pub mod names;
pub mod refusal;

pub use event::{DoorState, Event, EventKind, Reason, UpdateStep};
pub use frame::{Deframer, Encoder, FrameError};
pub use message::{
    BundleId, BundleProgress, Chunk, Fault, GalleryRecord, Packet, PeoplePage, Person, Reply,
    Request, Response, Staging, Status, Template, TemplateKey,
};
pub use names::{Digest, DisplayName, NameError, PersonId, SpaceName, Text};
pub use refusal::{BundleFault, Refusal};

/// The oldest protocol version this code speaks.
pub const VERSION_LOWEST: u16 = 1;
/// The newest protocol version this code speaks.
pub const VERSION_HIGHEST: u16 = 1;

/// Longest encoded message, in bytes, before checksum and framing.
pub const MAX_MESSAGE: usize = 3072;
/// Most bytes of a bundle in one [`message::Request::BundleChunk`].
pub const MAX_CHUNK: usize = 2048;
/// Most numbers in a template.
pub const MAX_TEMPLATE: usize = 512;
/// Most people on one page of [`message::Response::People`].
pub const PEOPLE_PER_PAGE: usize = 16;
