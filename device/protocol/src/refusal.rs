//! Why a device says no, in words a peer may know.
//!
//! The device maps its own errors to these in one `match`; the host turns them into messages and exit code 3.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{keys::Role, names::SpaceName};

/// Why a request was refused. Wire order is frozen: add at the end only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Refusal {
    /// The session has to start with a hello.
    HelloFirst,
    /// No version both sides speak; the device speaks these.
    Version {
        /// Lowest.
        lowest: u16,
        /// Highest.
        highest: u16,
    },
    /// The frame was whole, but its message could not be read.
    Malformed,
    /// The device is busy, or all its sessions are taken: try again.
    Busy,
    /// The device is stopping.
    Stopping,
    /// No such person.
    UnknownPerson,
    /// No more people fit.
    TooManyPeople {
        /// The limit.
        limit: u32,
    },
    /// No more templates fit for this person.
    TooManyTemplates {
        /// The limit.
        limit: u32,
    },
    /// Another embedding space than the device's.
    Space {
        /// The device's, `None` before the first bundle.
        expected: Option<SpaceName>,
    },
    /// A template that is not a unit vector of the space's dimension.
    Template,
    /// The bundle is larger than the device takes.
    BundleTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// Not enough free space.
    NoSpace {
        /// Needed, in bytes.
        needed: u64,
        /// Free, in bytes.
        free: u64,
    },
    /// No bundle is being received.
    NotStaging,
    /// Another bundle is being received, or other bytes were announced.
    OtherBundle,
    /// The chunk starts elsewhere than where the device stands.
    Offset {
        /// Where it stands.
        expected: u64,
    },
    /// Bytes are missing.
    Incomplete {
        /// Received so far.
        received: u64,
        /// The announced size.
        size: u64,
    },
    /// The received file has another digest than announced; it was forgotten.
    Digest,
    /// The received file is not a bundle this device can use; it was forgotten.
    Bundle(BundleFault),
    /// The device could not read or write its storage; its log says more.
    Storage,
    /// The time asked for is not plausible.
    Time,
    /// This device does not allow it, by its configuration.
    NotAllowed,
    /// A fault in the device; its log says more.
    Internal,
    /// The handshake is not one for this device, or was changed on its way.
    Handshake,
    /// The host is not paired, or not any more.
    NotPaired,
    /// No pairing window is open.
    PairingClosed,
    /// The pairing code is wrong.
    WrongCode {
        /// Tries left before the window closes.
        tries_left: u8,
    },
    /// The host's role does not allow it.
    Role {
        /// The role it takes.
        needed: Role,
    },
    /// A message that is not the next one of this session: replayed, out of order, or changed on its way.
    Sealed,
    /// The frame is longer than any message.
    TooLong,
    /// Something took too long: a handshake, half a frame.
    TimedOut,
    /// No more hosts can be paired.
    TooManyHosts {
        /// The limit.
        limit: u32,
    },
    /// No such host.
    UnknownHost,
    /// The last admin cannot be revoked: pair another one first.
    LastAdmin,
    /// The keys' serial is not larger, or no trusted key signed them.
    Keys,
    /// There is a lockdown.
    LockedDown,
    /// The door is starting or stopping, or something is broken.
    OutOfService,
    /// There is another person of that id.
    PersonExists,
    /// An enrollment goes on at the door.
    Enrolling,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::HelloFirst => f.write_str("the session has to start with a hello"),
            Refusal::Version { lowest, highest } => write!(
                f,
                "it speaks protocol versions {lowest} to {highest} only: use a matching facelatch"
            ),
            Refusal::Malformed => f.write_str("it could not read the request"),
            Refusal::Busy => f.write_str("it is busy: try again"),
            Refusal::Stopping => f.write_str("it is stopping"),
            Refusal::UnknownPerson => f.write_str("it knows no such person"),
            Refusal::TooManyPeople { limit } => write!(f, "it holds at most {limit} people"),
            Refusal::TooManyTemplates { limit } => {
                write!(f, "it holds at most {limit} templates a person")
            }
            Refusal::Space {
                expected: Some(space),
            } => write!(
                f,
                "its embedding space is {space}: embed and train again with its networks"
            ),
            Refusal::Space { expected: None } => {
                f.write_str("it has no networks yet: push a bundle first")
            }
            Refusal::Template => f.write_str("the template is not a unit vector of its space"),
            Refusal::BundleTooLarge { limit } => {
                write!(f, "it takes bundles of at most {limit} bytes")
            }
            Refusal::NoSpace { needed, free } => write!(
                f,
                "its disk has {free} bytes free and needs {needed}: free some space on the device"
            ),
            Refusal::NotStaging => f.write_str("it is not receiving a bundle"),
            Refusal::OtherBundle => f.write_str("it is receiving another bundle"),
            Refusal::Offset { expected } => write!(f, "it expects the bytes at offset {expected}"),
            Refusal::Incomplete { received, size } => {
                write!(f, "it received only {received} of {size} bytes")
            }
            Refusal::Digest => f.write_str("the bytes it received have another digest: push again"),
            Refusal::Bundle(fault) => write!(f, "the bundle cannot be used: {fault}"),
            Refusal::Storage => f.write_str("its storage failed: see its log"),
            Refusal::Time => f.write_str("the time is not plausible"),
            Refusal::NotAllowed => f.write_str("its configuration does not allow this"),
            Refusal::Internal => f.write_str("it has an internal fault: see its log"),
            Refusal::Handshake => f.write_str("the handshake is not one for this door"),
            Refusal::NotPaired => f.write_str(
                "this host is not paired with it: run `facelatch pair` while its pairing window is open",
            ),
            Refusal::PairingClosed => f.write_str(
                "its pairing window is closed: hold its button, or let an admin open it with `facelatch hosts invite`",
            ),
            Refusal::WrongCode { tries_left: 0 } => {
                f.write_str("the pairing code is wrong, and the pairing window is closed now")
            }
            Refusal::WrongCode { tries_left } => {
                write!(f, "the pairing code is wrong: {tries_left} more tries")
            }
            Refusal::Role { needed } => write!(f, "that takes the role {needed}"),
            Refusal::Sealed => f.write_str("a message was replayed, lost or changed on its way"),
            Refusal::TooLong => f.write_str("the frame is too long"),
            Refusal::TimedOut => f.write_str("it waited too long"),
            Refusal::TooManyHosts { limit } => {
                write!(f, "it pairs with at most {limit} hosts: revoke one")
            }
            Refusal::UnknownHost => f.write_str("it knows no such host"),
            Refusal::LastAdmin => {
                f.write_str("this is its last admin: pair another one before revoking it")
            }
            Refusal::Keys => f.write_str("no key it trusts signed the new keys, or they are not newer"),
            Refusal::LockedDown => f.write_str(
                "there is a lockdown: let an admin end it with `facelatch door release`",
            ),
            Refusal::OutOfService => {
                f.write_str("it is out of service: `facelatch status` says what is broken")
            }
            Refusal::PersonExists => f.write_str("it knows another person of that id"),
            Refusal::Enrolling => f.write_str("somebody is being enrolled at the door: try again"),
        }
    }
}

impl core::error::Error for Refusal {}

/// What is wrong with a bundle. Wire order is frozen: add at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BundleFault {
    /// It does not start with the magic bytes.
    Magic,
    /// A format this software does not read.
    Format {
        /// The format number found.
        found: u16,
    },
    /// The head or manifest is damaged, too long, or contradicts itself.
    Header,
    /// The parts' lengths do not add up to the file's.
    Length,
    /// A part's digest is wrong; counted from 0.
    PartDigest {
        /// Which part.
        part: u8,
    },
    /// A part that is needed is missing.
    PartMissing,
    /// A part cannot be read; counted from 0.
    PartUnreadable {
        /// Which part.
        part: u8,
    },
    /// Networks, classifier and gallery are not of one embedding space.
    Space,
    /// Its networks failed the device's own test.
    SelfTest,
    /// It is not signed.
    Unsigned,
    /// Signed with a key the device does not trust.
    UnknownSigner,
    /// The signature does not fit the manifest.
    Signature,
    /// Older than a bundle that was committed before.
    Downgrade {
        /// The highest counter committed.
        highest: u64,
    },
    /// As old as a bundle that was committed before, and not the one in use.
    Replayed {
        /// The highest counter committed.
        highest: u64,
    },
}

impl fmt::Display for BundleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BundleFault::Magic => f.write_str("it is not a facelatch bundle"),
            BundleFault::Format { found } => write!(f, "its format {found} is not known here"),
            BundleFault::Header => f.write_str("its header is damaged"),
            BundleFault::Length => f.write_str("its parts do not add up to its length"),
            BundleFault::PartDigest { part } => write!(f, "part {part} is damaged"),
            BundleFault::PartMissing => f.write_str("a needed part is missing"),
            BundleFault::PartUnreadable { part } => write!(f, "part {part} cannot be read"),
            BundleFault::Space => {
                f.write_str("its networks, classifier and gallery are of different spaces")
            }
            BundleFault::SelfTest => f.write_str("its networks failed the device's own test"),
            BundleFault::Unsigned => f.write_str("it is not signed"),
            BundleFault::UnknownSigner => {
                f.write_str("it is signed with a key the device does not trust")
            }
            BundleFault::Signature => f.write_str("its signature does not fit its manifest"),
            BundleFault::Downgrade { highest } => {
                write!(
                    f,
                    "it is older than bundle {highest}, which was there before: pack a new one"
                )
            }
            BundleFault::Replayed { highest } => {
                write!(f, "bundle {highest} was there before: pack a new one")
            }
        }
    }
}

impl core::error::Error for BundleFault {}
