//! Who is there: versions, then a handshake that shows which paired host this is, or that it knows the pairing code.
//!
//! Pure but for the shared [`Hosts`]; `session` moves the messages and keeps the [`Stage`]. The handshakes themselves are
//! `facelatch_protocol::session`'s.
//!
//! ```text
//! Silent --hello--> Greeted --handshake of a paired host------------------------> Open
//!                      '-----handshake with the code--> Pairing --last message--> Open
//! ```

use std::time::Instant;

use facelatch_protocol::{
    PublicKey, Refusal, Text, VERSION_HIGHEST, VERSION_LOWEST,
    session::{
        HandshakeBytes, Order, PairingResponder, Responder, Session, SessionError, Versions,
        Welcome,
    },
};

use crate::hosts::{Hosts, Pairing, Window};

/// How far a session has come.
pub(super) enum Stage {
    /// Nobody has said hello.
    Silent,
    /// Versions are agreed on; nobody knows who it is.
    Greeted(Versions),
    /// The host knows the code, and has to say who it is.
    Pairing(Box<PairingResponder>, Window),
    /// Everything is sealed from here on.
    Open(Box<Open>),
}

/// A session of a paired host.
pub(super) struct Open {
    /// Whose.
    pub(super) host: PublicKey,
    /// Seals and opens its messages.
    pub(super) seals: Session,
}

/// The highest version both sides speak.
pub(super) fn hello(lowest: u16, highest: u16) -> Result<Versions, Refusal> {
    let chosen = highest.min(VERSION_HIGHEST);
    if chosen >= lowest.max(VERSION_LOWEST) {
        Ok(Versions {
            lowest,
            highest,
            chosen,
        })
    } else {
        Err(Refusal::Version {
            lowest: VERSION_LOWEST,
            highest: VERSION_HIGHEST,
        })
    }
}

/// A paired host's one message, and the answer to it.
pub(super) fn paired(
    hosts: &Hosts,
    device: &str,
    versions: Versions,
    order: Order,
    message: &[u8],
) -> Result<(Open, HandshakeBytes), Refusal> {
    let responder = Responder::session(hosts.own_secret(), versions, message).map_err(refusal)?;
    let host = responder.host;
    let role = hosts.role(&host).ok_or(Refusal::NotPaired)?;
    let welcome = Welcome {
        device: Text::cut(device),
        role,
    };
    let (answer, seals) = responder.accept(&welcome, order).map_err(refusal)?;
    Ok((Open { host, seals }, answer))
}

/// A pairing host's first message, and the answer to it. A wrong code is counted.
pub(super) fn pairing(
    hosts: &Hosts,
    device: &str,
    versions: Versions,
    message: &[u8],
) -> Result<(PairingResponder, Window, HandshakeBytes), Refusal> {
    let window = hosts.window(Instant::now()).ok_or(Refusal::PairingClosed)?;
    let welcome = Welcome {
        device: Text::cut(device),
        role: window.role,
    };
    let begun = PairingResponder::begin(
        hosts.own_secret(),
        &window.code,
        versions,
        message,
        &welcome,
    );
    match begun {
        Ok((responder, answer)) => Ok((responder, window, answer)),
        Err(SessionError::WrongCode) => Err(Refusal::WrongCode {
            tries_left: hosts.wrong_code(),
        }),
        Err(error) => Err(refusal(error)),
    }
}

/// A pairing host's last message: who it is, to be remembered by whoever answers for the device.
pub(super) fn introduced(
    responder: PairingResponder,
    window: Window,
    order: Order,
    message: &[u8],
) -> Result<(Open, Pairing), Refusal> {
    let (host, request, seals) = responder.finish(message, order).map_err(refusal)?;
    let pairing = Pairing {
        host,
        name: request.name,
        role: request.role,
        keys: request.keys,
        code: window.code,
    };
    Ok((Open { host, seals }, pairing))
}

/// What a peer is told about its handshake or message.
pub(super) fn refusal(error: SessionError) -> Refusal {
    match error {
        SessionError::Handshake | SessionError::WrongCode => Refusal::Handshake,
        SessionError::Order { .. } | SessionError::Seal => Refusal::Sealed,
        SessionError::Message => Refusal::Malformed,
        SessionError::TooLong => Refusal::TooLong,
        SessionError::Exhausted => Refusal::Internal,
    }
}
