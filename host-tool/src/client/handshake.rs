//! How a session comes to be: versions in clear, then a handshake with a door this host knows, or with one that shows a
//! pairing code. The rules are `facelatch_protocol::session`'s.
//!
//! On a serial line, which may hold anything and loses frames, everything starts over with another hello until the time
//! is up. Nothing said in clear is believed beyond that.

use std::time::{Duration, Instant};

use facelatch_protocol::{
    Envelope, EnvelopeReply, FrameError, PairingCode, PublicKey, Request, Response, Role,
    VERSION_HIGHEST, VERSION_LOWEST,
    session::{HandshakeBytes, Initiator, PairRequest, Purpose, SessionError, Versions},
};

use super::{ATTEMPTS, Client, Error, PATIENCE, Wire};
use crate::{connect::Line, keys::HostSecret};

/// When to repeat an unanswered hello on a serial line.
const HELLO_AGAIN: Duration = Duration::from_secs(2);

/// What a session with a door takes: who this host is, and who the door has to be.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// This host's secret key.
    pub secret: HostSecret,
    /// The door's key.
    pub door: PublicKey,
}

/// What a pairing gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paired {
    /// The door's key, to be remembered.
    pub door: PublicKey,
    /// The name it gave itself.
    pub device: String,
    /// What this host may ask for.
    pub role: Role,
}

impl Client {
    /// A session with a paired door at the end of an open line; `target` is its name in messages.
    ///
    /// # Errors
    /// [`Error::Stranger`] if another door answers, [`Error::Version`], [`Error::Refused`] as far as what is said in clear
    /// can be believed, else as any request.
    pub fn over(
        line: Box<dyn Line>,
        target: &str,
        credentials: &Credentials,
        patience: Duration,
    ) -> Result<Client, Error> {
        let mut wire = Wire::new(line, target);
        let (device, role) = until(&mut wire, patience, |wire, wait| {
            let versions = hello(wire, wait)?;
            let begun = Initiator::session(credentials.secret.bytes(), &credentials.door, versions);
            let (initiator, first) = begun.or_else(|error| wire.broken(error))?;
            let answer = exchange(wire, Purpose::Session, first, wait)?;
            match initiator.finish(&answer, wire.order()) {
                Ok((session, welcome)) => {
                    wire.begin(session);
                    Ok((welcome.device.to_string(), welcome.role))
                }
                Err(error) => Err(stranger(wire, error)),
            }
        })?;
        Ok(Client::new(wire, device, role))
    }

    /// Pairs with the door at the end of an open line, which shows a code; `target` is its name in messages.
    ///
    /// # Errors
    /// [`Error::Refused`] with what the door says, [`Error::NotTheCode`], else as [`Client::over`].
    pub fn pair(
        line: Box<dyn Line>,
        target: &str,
        secret: &HostSecret,
        code: &PairingCode,
        request: &PairRequest,
        patience: Duration,
    ) -> Result<(Client, Paired), Error> {
        let mut wire = Wire::new(line, target);
        let paired = until(&mut wire, patience, |wire, wait| {
            let versions = hello(wire, wait)?;
            let begun = Initiator::pairing(secret.bytes(), code, versions);
            let (initiator, first) = begun.or_else(|error| wire.broken(error))?;
            let answer = exchange(wire, Purpose::Pairing, first, wait)?;
            let introduced = initiator
                .introduce(&answer)
                .map_err(|_| Error::NotTheCode {
                    target: wire.target().to_owned(),
                })?;
            let (door, welcome) = (introduced.door, introduced.welcome.clone());
            let finished = introduced.finish(request, wire.order());
            let (message, session) = finished.or_else(|error| wire.broken(error))?;
            let purpose = Purpose::Pairing;
            wire.say(&Envelope::Handshake { purpose, message })?;
            wire.begin(session);
            Ok(Paired {
                door,
                device: welcome.device.to_string(),
                role: verdict(wire, request.role.min(welcome.role), wait)?,
            })
        })?;
        let client = Client::new(wire, paired.device.clone(), paired.role);
        Ok((client, paired))
    }

    fn new(wire: Wire, device: String, role: Role) -> Client {
        Client {
            wire,
            device,
            role,
            patience: PATIENCE,
        }
    }
}

/// Whether the door took this host, and its role; `asked` is the most it can be.
fn verdict(wire: &mut Wire, asked: Role, wait: Duration) -> Result<Role, Error> {
    match wire.first_answer(wait) {
        Ok(Response::Paired { role }) => return Ok(role),
        Ok(_) => return wire.confused(),
        Err(error) if wire.is_serial() && is_noise(&error) => {}
        // In a pairing, the door's last word in clear is all there is if it did not take the host.
        Err(Error::Unsealed { refusal, .. }) => return Err(wire.refused(refusal)),
        Err(error) => return Err(error),
    }
    // If noise swallowed the verdict only, the session stands, which tells the same. If it swallowed this host's last message,
    // the door does not know the session, and pairing starts over.
    for _ in 0..ATTEMPTS {
        let id = wire.ask(&Request::DoorState)?;
        match wire.answer(id, wait).map_err(|error| wire.given_up(error)) {
            Ok(Response::Door(_)) => return Ok(asked),
            Ok(_) => return wire.confused(),
            Err(Error::Restarted { .. }) => return wire.garbled(FrameError::Message),
            Err(error) if is_noise(&error) => {}
            Err(error) => return Err(error),
        }
    }
    wire.silent(wait)
}

/// Whether an answer may have ended so because of noise on a serial line.
fn is_noise(error: &Error) -> bool {
    matches!(
        error,
        Error::Garbled { .. }
            | Error::Silent { .. }
            | Error::Forged { .. }
            | Error::Unsealed { .. }
    )
}

/// Tries until the time is up; on a connection once.
fn until<T>(
    wire: &mut Wire,
    patience: Duration,
    mut attempt: impl FnMut(&mut Wire, Duration) -> Result<T, Error>,
) -> Result<T, Error> {
    let deadline = Instant::now() + patience;
    let serial = wire.is_serial();
    loop {
        wire.clear()?;
        let left = deadline.saturating_duration_since(Instant::now());
        let wait = if serial { left.min(HELLO_AGAIN) } else { left };
        match attempt(wire, wait) {
            Err(Error::Silent { .. } | Error::Garbled { .. })
                if serial && Instant::now() < deadline => {}
            Err(Error::Silent { .. }) => return wire.silent(patience),
            done => return done,
        }
    }
}

/// Agrees on a version.
fn hello(wire: &mut Wire, wait: Duration) -> Result<Versions, Error> {
    let (lowest, highest) = (VERSION_LOWEST, VERSION_HIGHEST);
    let id = wire.say(&Envelope::Hello { lowest, highest })?;
    match wire.reply(id, wait)? {
        EnvelopeReply::Hello { version, .. } if (lowest..=highest).contains(&version) => {
            Ok(Versions {
                lowest,
                highest,
                chosen: version,
            })
        }
        _ => wire.confused(),
    }
}

/// Sends a handshake message and waits for the door's.
fn exchange(
    wire: &mut Wire,
    purpose: Purpose,
    message: HandshakeBytes,
    wait: Duration,
) -> Result<HandshakeBytes, Error> {
    let id = wire.say(&Envelope::Handshake { purpose, message })?;
    match wire.reply(id, wait)? {
        EnvelopeReply::Handshake(answer) => Ok(answer),
        _ => wire.confused(),
    }
}

fn stranger(wire: &Wire, error: SessionError) -> Error {
    let target = wire.target().to_owned();
    match error {
        SessionError::Exhausted | SessionError::TooLong => Error::Session { target, error },
        SessionError::Handshake
        | SessionError::WrongCode
        | SessionError::Order { .. }
        | SessionError::Seal
        | SessionError::Message => Error::Stranger { target },
    }
}
