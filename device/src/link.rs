//! The device's ear: accepts TCP connections and serves one serial port, a thread a session.
//!
//! Sessions hold nothing of the device. Each request becomes a [`Call`] on a bounded channel and is answered by whoever
//! owns the thing it is about; a slow, dead or hostile peer costs its own thread and nothing else. Nobody is heard before
//! a handshake has shown who it is (`session`); what a role may ask for is said here, in [`needed`]; what a request does
//! is in `handlers`.

mod event_sink;
mod greeting;
pub(crate) mod handlers;
mod serial;
mod session;
mod tcp;
mod throttle;

use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc::SyncSender},
    thread::JoinHandle,
    time::Duration,
};

use facelatch_protocol::{PublicKey, Request, Response, Role};
use serde::Deserialize;

pub use self::event_sink::EventSink;
use self::throttle::Throttle;
use crate::hosts::{Hosts, Pairing};

/// How the device is reached.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on; empty = no TCP. Default `0.0.0.0:7117`.
    pub tcp_listen: String,
    /// Serial port to serve; default none.
    pub serial_port: Option<PathBuf>,
    /// Its speed. Default 115200.
    pub serial_baud: u32,
    /// Most TCP sessions at once. Default 8.
    pub max_sessions: usize,
    /// A frame must be complete this long after its first byte, and a handshake this long after a connection began.
    /// Default 5000.
    pub frame_timeout_ms: u64,
    /// A TCP session ends after this long without a request, unless it listens to events: then it is sent a sign of life
    /// after every sixth part of this without an event. Default 60000.
    pub idle_timeout_ms: u64,
    /// A peer that takes no bytes for this long is given up. Default 5000.
    pub write_timeout_ms: u64,
    /// A request must be answered by the device's loop within this. Default 60000: a bundle is checked and tried in it.
    pub reply_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            tcp_listen: "0.0.0.0:7117".to_owned(),
            serial_port: None,
            serial_baud: 115_200,
            max_sessions: 8,
            frame_timeout_ms: 5_000,
            idle_timeout_ms: 60_000,
            write_timeout_ms: 5_000,
            reply_timeout_ms: 60_000,
        }
    }
}

/// Why the link could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not an address.
    #[error("tcp_listen = {text:?} is not an address and port, such as 127.0.0.1:7117: {source}")]
    Address {
        /// As configured.
        text: String,
        /// What the system reported.
        source: io::Error,
    },
    /// Somebody else listens there.
    #[error("{address} is in use: stop the other program or choose another port in tcp_listen")]
    InUse {
        /// As configured.
        address: SocketAddr,
    },
    /// The system refused.
    #[error("could not listen on {address}: {source}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system reported.
        source: io::Error,
    },
    /// No thread could be started.
    #[error("could not start a thread: {0}")]
    Thread(io::Error),
}

/// Where a session comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A TCP connection.
    Tcp(SocketAddr),
    /// The serial port.
    Serial(PathBuf),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => write!(f, "{address}"),
            Peer::Serial(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What a session wants of the device.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone)]
pub enum Ask {
    /// A paired host's request, allowed by its role; never `Hello` or `Goodbye`, which the session answers itself.
    Request(Request),
    /// Remember this host: it knew the code. Answered with [`Response::Paired`].
    Pair(Pairing),
    /// Put on record that a wrong code was tried. Answered with [`Response::Done`].
    WrongCode {
        /// Tries left before the window closes.
        tries_left: u8,
    },
}

/// Something asked, on its way to whoever answers it. Dropping it unanswered refuses it.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub ask: Ask,
    /// From where.
    pub peer: Peer,
    /// Which paired host; `None` for one that is only pairing.
    pub host: Option<PublicKey>,
    /// Where the one answer goes; sending never blocks.
    pub reply: SyncSender<Response>,
    /// With [`Request::EventsSubscribe`]: where events go from then on, after the answer [`Response::Done`].
    pub events: Option<EventSink>,
}

/// Where calls go: what the frame loop owns, and what can take long without disturbing it.
///
/// Both may lead to one receiver.
#[derive(Debug, Clone)]
pub struct Routes {
    /// Everything but bundles.
    pub device: SyncSender<Call>,
    /// The bundle requests: writing and checking tens of megabytes. Also the audit record, and removing people.
    pub bundles: SyncSender<Call>,
}

impl Routes {
    fn of(&self, ask: &Ask) -> &SyncSender<Call> {
        let Ask::Request(request) = ask else {
            return &self.device;
        };
        match request {
            Request::BundleBegin { .. }
            | Request::BundleChunk(_)
            | Request::BundleCommit { .. }
            | Request::BundleAbort
            | Request::BundleStatus
            | Request::BundleOffer(_)
            | Request::PartChunk { .. }
            | Request::UpdateStatus
            | Request::AuditRead { .. }
            // Removed there too, where a bundle with the person may be half received.
            | Request::PersonRemove { .. } => &self.bundles,
            Request::Hello { .. }
            | Request::Goodbye
            | Request::Status
            | Request::People { .. }
            | Request::PersonAdd { .. }
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
            | Request::PolicyStatus => &self.device,
        }
    }
}

/// The role a request takes: operators look after people, let them in and look at everything that happened, admins change
/// what the door is.
#[must_use]
pub fn needed(request: &Request) -> Role {
    match request {
        Request::Hello { .. }
        | Request::Goodbye
        | Request::Status
        | Request::People { .. }
        | Request::PersonAdd { .. }
        | Request::PersonRemove { .. }
        | Request::TemplateAdd { .. }
        | Request::GalleryPull { .. }
        | Request::BundleStatus
        | Request::EventsSubscribe { .. }
        | Request::DoorState
        | Request::UpdateStatus
        | Request::AuditRead { .. }
        | Request::Unlock
        | Request::PersonRename { .. }
        | Request::EnrollmentOpen { .. }
        | Request::EnrollmentClose
        | Request::LockoutClear
        | Request::PassedOut { .. }
        | Request::PolicyStatus => Role::Operator,
        Request::BundleBegin { .. }
        | Request::BundleChunk(_)
        | Request::BundleCommit { .. }
        | Request::BundleAbort
        | Request::BundleOffer(_)
        | Request::PartChunk { .. }
        | Request::TimeSync { .. }
        | Request::Hosts { .. }
        | Request::HostRevoke { .. }
        | Request::PairingOpen { .. }
        | Request::PairingClose
        | Request::KeysReplace { .. }
        | Request::Lockdown { .. } => Role::Admin,
    }
}

/// The running link. Dropping it stops it.
pub struct Link {
    tcp_address: Option<SocketAddr>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Link {
    /// Starts listening. `device` is the name told to paired hosts.
    ///
    /// # Errors
    /// Any of [`Error`]. A serial port that is not there is no error: it is tried again and again.
    pub fn start(
        config: &Config,
        device: &str,
        hosts: Arc<Hosts>,
        routes: Routes,
    ) -> Result<Link, Error> {
        let shared = Arc::new(Shared {
            device: device.to_owned(),
            hosts,
            limits: Limits::of(config),
            routes,
            handshakes: Throttle::default(),
            stop: Stop::default(),
        });
        let mut link = Link {
            tcp_address: None,
            shared: Arc::clone(&shared),
            threads: Vec::new(),
        };
        if !config.tcp_listen.is_empty() {
            let address = tcp_address(config)?;
            let (address, thread) = tcp::start(address, Arc::clone(&shared))?;
            log::info!("listening on {address}");
            link.tcp_address = Some(address);
            link.threads.push(thread);
        }
        if let Some(path) = config.serial_port.clone() {
            let thread = serial::start(path, config.serial_baud, shared)?;
            link.threads.push(thread);
        }
        Ok(link)
    }

    /// The TCP address listened on, with the port the system chose if port 0 was configured.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp_address
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.stop.set();
        if let Some(address) = self.tcp_address {
            tcp::wake(address);
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a link thread had panicked");
            }
        }
    }
}

/// What all sessions share.
struct Shared {
    device: String,
    hosts: Arc<Hosts>,
    limits: Limits,
    routes: Routes,
    handshakes: Throttle,
    stop: Stop,
}

/// The configured limits as durations.
#[derive(Debug, Clone, Copy)]
struct Limits {
    sessions: usize,
    frame: Duration,
    idle: Duration,
    write: Duration,
    reply: Duration,
}

impl Limits {
    fn of(config: &Config) -> Limits {
        Limits {
            sessions: config.max_sessions,
            frame: Duration::from_millis(config.frame_timeout_ms),
            idle: Duration::from_millis(config.idle_timeout_ms),
            write: Duration::from_millis(config.write_timeout_ms.max(1)),
            reply: Duration::from_millis(config.reply_timeout_ms),
        }
    }
}

/// Tells the threads to stop, and wakes those that wait.
#[derive(Default)]
struct Stop {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    fn set(&self) {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    fn is_set(&self) -> bool {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the stop at most this long; true if it came.
    fn wait(&self, at_most: Duration) -> bool {
        let guard = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(guard, at_most, |set| !*set);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

fn tcp_address(config: &Config) -> Result<SocketAddr, Error> {
    let address = |source| Error::Address {
        text: config.tcp_listen.clone(),
        source,
    };
    let nothing = || io::Error::new(io::ErrorKind::NotFound, "it names no address");
    let found = config.tcp_listen.to_socket_addrs().map_err(address)?.next();
    found.ok_or_else(|| address(nothing()))
}
