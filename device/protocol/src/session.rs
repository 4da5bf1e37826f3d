//! Sessions: a Noise handshake, then sealed messages. Pure of I/O: `link` on the device and `client` on the host move the
//! bytes. The only part of this crate that allocates (Noise states, one buffer a session).
//!
//! ```text
//!            host                                     door
//! in clear   Hello { versions }              ->
//!                                            <-       Hello { version }
//! paired     Handshake  e, es, s, ss         ->       looks the host's key up
//!            knows the door's key            <-       Handshake  e, ee, se | Welcome
//! pairing    Handshake  psk, e               ->       a wrong code fails here
//!                                            <-       Handshake  e, ee, s, es | Welcome
//!            Handshake  s, se | PairRequest  ->       remembers the host's key
//! sealed     Sealed { nonce, packet }       <->       Sealed { nonce, packet }
//! ```
//!
//! Patterns: `Noise_IK_25519_ChaChaPoly_BLAKE2s` and `Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s` (noiseprotocol.org, revision
//! 34). The prologue binds the versions both sides believe to have exchanged, so that nobody in between can lower them.

extern crate alloc;

use alloc::{vec, vec::Vec};
use core::fmt;

use heapless::Vec as Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use snow::{
    Builder, HandshakeState, StatelessTransportState,
    params::DHChoice,
    resolvers::{CryptoResolver, DefaultResolver},
};

use crate::{
    MAX_MESSAGE,
    keys::{PairingCode, PublicKey, Role, TrustedKeys},
    message::Packet,
    names::{DisplayName, Text},
};

/// Longest handshake message, in bytes.
pub const MAX_HANDSHAKE: usize = 320;
/// Bytes a seal adds.
const TAG_LEN: usize = 16;
/// Longest sealed message, in bytes.
pub const MAX_SEALED: usize = MAX_MESSAGE + TAG_LEN;

const PAIRED: &str = "Noise_IK_25519_ChaChaPoly_BLAKE2s";
const PAIRING: &str = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s";

/// A handshake message.
pub type HandshakeBytes = Bytes<u8, MAX_HANDSHAKE>;

/// What a handshake is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// A session of a host the door knows.
    Session,
    /// To become one.
    Pairing,
}

/// A message under seal, with its number in its direction, from 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The number.
    pub nonce: u64,
    /// The sealed packet.
    pub bytes: Bytes<u8, MAX_SEALED>,
}

/// What a door tells within its handshake message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The door's name.
    pub device: Text<64>,
    /// The host's role; when pairing, the highest one this window gives.
    pub role: Role,
}

/// What a host tells within its last pairing message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairRequest {
    /// The host's name.
    pub name: DisplayName,
    /// The role it wants.
    pub role: Role,
    /// An admin's: the keys the door is to trust, if it trusts none yet.
    pub keys: Option<TrustedKeys>,
}

/// The versions both sides exchanged in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// Lowest the host speaks.
    pub lowest: u16,
    /// Highest the host speaks.
    pub highest: u16,
    /// The one the door chose.
    pub chosen: u16,
}

/// How numbers of arriving messages have to follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One after the other: on a connection, which loses nothing.
    Next,
    /// Growing: on a serial line, where noise may swallow a message.
    Growing,
}

/// Why a handshake or a message was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionError {
    /// Not a handshake message for this door, or one changed on its way.
    Handshake,
    /// The handshake was keyed with another code.
    WrongCode,
    /// A message whose number is not the one due: replayed, reordered, or one before it is missing.
    Order {
        /// The number due.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// The seal does not open: changed on its way, or of another session.
    Seal,
    /// The seal opened, but what was in it is no message of this version.
    Message,
    /// The message is too long.
    TooLong,
    /// A session's 2^64 - 1 numbers are used up, or the system gives no randomness.
    Exhausted,
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionError::Handshake => f.write_str("the handshake does not hold"),
            SessionError::WrongCode => f.write_str("the pairing code is wrong"),
            SessionError::Order { expected, found } => {
                write!(f, "message {found} came where {expected} was due")
            }
            SessionError::Seal => f.write_str("a message's seal does not open"),
            SessionError::Message => f.write_str("a sealed message cannot be read"),
            SessionError::TooLong => f.write_str("a message is too long"),
            SessionError::Exhausted => f.write_str("no numbers or no randomness are left"),
        }
    }
}

impl core::error::Error for SessionError {}

/// The public key of a secret one. Any 32 bytes are a secret key.
#[must_use]
pub fn public_key(secret: &[u8; 32]) -> PublicKey {
    // The resolver has this curve: the crate is built with it.
    let Some(mut dh) = DefaultResolver.resolve_dh(&DHChoice::Curve25519) else {
        return PublicKey([0; 32]);
    };
    dh.set(secret);
    let mut key = [0; 32];
    key.copy_from_slice(&dh.pubkey()[..32]);
    PublicKey(key)
}

/// The host's side of a handshake.
pub struct Initiator {
    noise: HandshakeState,
}

impl Initiator {
    /// To a door this host is paired with, and the first message.
    ///
    /// # Errors
    /// [`SessionError::Exhausted`] without randomness, [`SessionError::Handshake`] if the door's key is none.
    pub fn session(
        own: &[u8; 32],
        door: &PublicKey,
        versions: Versions,
    ) -> Result<(Initiator, HandshakeBytes), SessionError> {
        let prologue = prologue(Purpose::Session, versions);
        let noise = builder(PAIRED, own, &prologue)?
            .remote_public_key(&door.0)
            .and_then(Builder::build_initiator)
            .map_err(failed)?;
        Initiator { noise }.begin()
    }

    /// To a door that shows a code, and the first message.
    ///
    /// # Errors
    /// [`SessionError::Exhausted`] without randomness.
    pub fn pairing(
        own: &[u8; 32],
        code: &PairingCode,
        versions: Versions,
    ) -> Result<(Initiator, HandshakeBytes), SessionError> {
        let prologue = prologue(Purpose::Pairing, versions);
        let psk = code.psk();
        let noise = builder(PAIRING, own, &prologue)?
            .psk(0, &psk)
            .and_then(Builder::build_initiator)
            .map_err(failed)?;
        Initiator { noise }.begin()
    }

    fn begin(mut self) -> Result<(Initiator, HandshakeBytes), SessionError> {
        let first = write(&mut self.noise, &[])?;
        Ok((self, first))
    }

    /// The session, from the door's answer.
    ///
    /// # Errors
    /// [`SessionError::Handshake`], [`SessionError::Message`].
    pub fn finish(
        mut self,
        answer: &[u8],
        order: Order,
    ) -> Result<(Session, Welcome), SessionError> {
        let welcome = read(&mut self.noise, answer)?;
        Ok((Session::new(self.noise, order)?, welcome))
    }

    /// The door's key and welcome, from its answer; then [`Introduced::finish`].
    ///
    /// # Errors
    /// [`SessionError::Handshake`], [`SessionError::Message`].
    pub fn introduce(mut self, answer: &[u8]) -> Result<Introduced, SessionError> {
        let welcome = read(&mut self.noise, answer)?;
        let door = remote(&self.noise)?;
        Ok(Introduced {
            door,
            welcome,
            noise: self.noise,
        })
    }
}

/// A pairing host that knows the door now.
pub struct Introduced {
    /// The door's key, to be remembered.
    pub door: PublicKey,
    /// What the door says.
    pub welcome: Welcome,
    noise: HandshakeState,
}

impl Introduced {
    /// The last message and the session; the door's verdict is its first sealed answer.
    ///
    /// # Errors
    /// [`SessionError::Exhausted`].
    pub fn finish(
        mut self,
        request: &PairRequest,
        order: Order,
    ) -> Result<(HandshakeBytes, Session), SessionError> {
        let last = write_value(&mut self.noise, request)?;
        Ok((last, Session::new(self.noise, order)?))
    }
}

/// The door's side of a session's handshake: the host's first message was read.
pub struct Responder {
    /// The host's key: look it up before going on.
    pub host: PublicKey,
    noise: HandshakeState,
}

impl Responder {
    /// Reads the first message of a paired host.
    ///
    /// # Errors
    /// [`SessionError::Handshake`] if it is not one for this door.
    pub fn session(
        own: &[u8; 32],
        versions: Versions,
        first: &[u8],
    ) -> Result<Responder, SessionError> {
        let prologue = prologue(Purpose::Session, versions);
        let mut noise = builder(PAIRED, own, &prologue)?
            .build_responder()
            .map_err(failed)?;
        noise
            .read_message(first, &mut [0; MAX_HANDSHAKE])
            .map_err(failed)?;
        let host = remote(&noise)?;
        Ok(Responder { host, noise })
    }

    /// The answer, and the session.
    ///
    /// # Errors
    /// [`SessionError::Exhausted`].
    pub fn accept(
        mut self,
        welcome: &Welcome,
        order: Order,
    ) -> Result<(HandshakeBytes, Session), SessionError> {
        let answer = write_value(&mut self.noise, welcome)?;
        Ok((answer, Session::new(self.noise, order)?))
    }
}

/// The door's side of a pairing: the host has shown that it knows the code.
pub struct PairingResponder {
    noise: HandshakeState,
}

impl PairingResponder {
    /// Reads the first message of a host that pairs, and returns the answer to it.
    ///
    /// # Errors
    /// [`SessionError::WrongCode`] if it was made with another code, [`SessionError::Exhausted`].
    pub fn begin(
        own: &[u8; 32],
        code: &PairingCode,
        versions: Versions,
        first: &[u8],
        welcome: &Welcome,
    ) -> Result<(PairingResponder, HandshakeBytes), SessionError> {
        let prologue = prologue(Purpose::Pairing, versions);
        let psk = code.psk();
        let mut noise = builder(PAIRING, own, &prologue)?
            .psk(0, &psk)
            .and_then(Builder::build_responder)
            .map_err(failed)?;
        noise
            .read_message(first, &mut [0; MAX_HANDSHAKE])
            .map_err(|_| SessionError::WrongCode)?;
        let answer = write_value(&mut noise, welcome)?;
        Ok((PairingResponder { noise }, answer))
    }

    /// Reads the last message: who the host is, what it wants, and the session.
    ///
    /// # Errors
    /// [`SessionError::Handshake`], [`SessionError::Message`].
    pub fn finish(
        mut self,
        last: &[u8],
        order: Order,
    ) -> Result<(PublicKey, PairRequest, Session), SessionError> {
        let request = read(&mut self.noise, last)?;
        let host = remote(&self.noise)?;
        Ok((host, request, Session::new(self.noise, order)?))
    }
}

/// Seals and opens the messages of one session.
pub struct Session {
    noise: StatelessTransportState,
    order: Order,
    next_out: u64,
    next_in: u64,
    plain: Vec<u8>,
}

impl Session {
    fn new(noise: HandshakeState, order: Order) -> Result<Session, SessionError> {
        Ok(Session {
            noise: noise.into_stateless_transport_mode().map_err(failed)?,
            order,
            next_out: 0,
            next_in: 0,
            plain: vec![0; MAX_SEALED],
        })
    }

    /// Seals a packet under the next number.
    ///
    /// # Errors
    /// [`SessionError::TooLong`], [`SessionError::Exhausted`].
    pub fn seal<M: Serialize>(&mut self, packet: &Packet<M>) -> Result<Sealed, SessionError> {
        let nonce = self.next_out;
        // Noise keeps the last number for itself.
        self.next_out = nonce
            .checked_add(1)
            .filter(|&next| next != u64::MAX)
            .ok_or(SessionError::Exhausted)?;
        let plain = postcard::to_slice(packet, &mut self.plain[..MAX_MESSAGE])
            .map_err(|_| SessionError::TooLong)?;
        let mut bytes = Bytes::new();
        // MAX_SEALED = MAX_MESSAGE + TAG_LEN.
        bytes
            .resize(plain.len() + TAG_LEN, 0)
            .map_err(|_| SessionError::TooLong)?;
        self.noise
            .write_message(nonce, plain, &mut bytes)
            .map_err(|_| SessionError::TooLong)?;
        Ok(Sealed { nonce, bytes })
    }

    /// Opens a packet. One that does not open changes nothing: the number due stays due.
    ///
    /// # Errors
    /// [`SessionError::Order`], [`SessionError::Seal`], [`SessionError::Message`].
    pub fn open<M: DeserializeOwned>(
        &mut self,
        sealed: &Sealed,
    ) -> Result<Packet<M>, SessionError> {
        let expected = self.next_in;
        let due = match self.order {
            Order::Next => sealed.nonce == expected,
            Order::Growing => sealed.nonce >= expected,
        };
        if !due || sealed.nonce == u64::MAX {
            return Err(SessionError::Order {
                expected,
                found: sealed.nonce,
            });
        }
        let len = self
            .noise
            .read_message(sealed.nonce, &sealed.bytes, &mut self.plain)
            .map_err(|_| SessionError::Seal)?;
        self.next_in = sealed.nonce + 1;
        value(&self.plain[..len])
    }
}

/// What both sides have to agree on before the first handshake message.
fn prologue(purpose: Purpose, versions: Versions) -> [u8; 17] {
    let mut bytes = *b"facelatch\0\0\0\0\0\0\0\0";
    let purpose = match purpose {
        Purpose::Session => b's',
        Purpose::Pairing => b'p',
    };
    bytes[10] = purpose;
    let numbers = [versions.lowest, versions.highest, versions.chosen];
    for (place, number) in bytes[11..].chunks_exact_mut(2).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

fn builder<'a>(
    pattern: &str,
    own: &'a [u8; 32],
    prologue: &'a [u8],
) -> Result<Builder<'a>, SessionError> {
    let params = pattern.parse().map_err(failed)?;
    Builder::new(params)
        .local_private_key(own)
        .and_then(|builder| builder.prologue(prologue))
        .map_err(failed)
}

fn write(noise: &mut HandshakeState, payload: &[u8]) -> Result<HandshakeBytes, SessionError> {
    let mut message = [0; MAX_HANDSHAKE];
    let len = noise.write_message(payload, &mut message).map_err(failed)?;
    // `len` is within `message`.
    HandshakeBytes::from_slice(&message[..len]).map_err(|_| SessionError::TooLong)
}

fn write_value<T: Serialize>(
    noise: &mut HandshakeState,
    value: &T,
) -> Result<HandshakeBytes, SessionError> {
    let mut payload = [0; MAX_HANDSHAKE];
    let payload = postcard::to_slice(value, &mut payload).map_err(|_| SessionError::TooLong)?;
    write(noise, payload)
}

fn read<T: DeserializeOwned>(
    noise: &mut HandshakeState,
    message: &[u8],
) -> Result<T, SessionError> {
    let mut payload = [0; MAX_HANDSHAKE];
    let len = noise.read_message(message, &mut payload).map_err(failed)?;
    value(&payload[..len])
}

fn value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, SessionError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(SessionError::Message),
    }
}

fn remote(noise: &HandshakeState) -> Result<PublicKey, SessionError> {
    let key = noise.get_remote_static().and_then(|key| key.first_chunk());
    key.map(|key| PublicKey(*key))
        .ok_or(SessionError::Handshake)
}

fn failed(error: snow::Error) -> SessionError {
    match error {
        snow::Error::Rng => SessionError::Exhausted,
        _ => SessionError::Handshake,
    }
}
