//! TCP: the listener thread, one thread a connection, no more than configured.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use facelatch_protocol::Refusal;

use super::{
    Error, Peer, Shared,
    session::{self, End, Line},
};

/// Pause after a failed accept, such as one for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);
/// How long a peer that was refused may take to read why.
const LAST_WORD: Duration = Duration::from_millis(200);

/// Listens, and returns the address with the port in use.
pub(super) fn start(
    address: SocketAddr,
    shared: Arc<Shared>,
) -> Result<(SocketAddr, JoinHandle<()>), Error> {
    let listener = TcpListener::bind(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => Error::InUse { address },
        _ => Error::Listen { address, source },
    })?;
    let address = listener
        .local_addr()
        .map_err(|source| Error::Listen { address, source })?;
    let thread = thread::Builder::new()
        .name("tcp".to_owned())
        .spawn(move || accept(&listener, &shared))
        .map_err(Error::Thread)?;
    Ok((address, thread))
}

/// Wakes the listener thread from its wait, so that it sees the stop.
pub(super) fn wake(address: SocketAddr) {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let address = SocketAddr::new(ip, address.port());
    if let Err(error) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
        log::warn!("could not wake the listener on {address}: {error}");
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let sessions = Arc::new(AtomicUsize::new(0));
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    loop {
        let accepted = listener.accept();
        if shared.stop.is_set() {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        match accepted {
            Ok((stream, address)) => {
                threads.extend(begin(stream, address, &sessions, shared));
            }
            Err(error) => {
                log::warn!("could not accept a connection: {error}");
                shared.stop.wait(ACCEPT_RETRY);
            }
        }
    }
    for thread in threads {
        if thread.join().is_err() {
            log::error!("a session had panicked");
        }
    }
}

/// Starts the session of a new connection, or turns it away.
fn begin(
    stream: TcpStream,
    address: SocketAddr,
    sessions: &Arc<AtomicUsize>,
    shared: &Arc<Shared>,
) -> Option<JoinHandle<()>> {
    let mut line = match Connection::new(stream, shared.limits.write) {
        Ok(line) => line,
        Err(error) => {
            log::warn!("{address}: {error}");
            return None;
        }
    };
    let seat = Seat::take(sessions);
    if seat.taken > shared.limits.sessions {
        log::warn!(
            "{address}: turned away, {} sessions are open",
            seat.taken - 1
        );
        let told = line
            .stream
            .set_write_timeout(Some(LAST_WORD))
            .and_then(|()| session::turn_away(&mut line, Refusal::Busy))
            .and_then(|()| line.let_read());
        if let Err(error) = told {
            log::debug!("{address}: {error}");
        }
        return None;
    }
    let shared = Arc::clone(shared);
    let run = move || {
        let _seat = seat;
        let peer = Peer::Tcp(address);
        log::info!("{peer}: connected");
        let end = session::serve(&mut line, &peer, &shared);
        log::info!("{peer}: session ended: {end}");
        if let End::Refused(_) = end
            && let Err(error) = line.let_read()
        {
            log::debug!("{peer}: {error}");
        }
    };
    thread::Builder::new()
        .name(format!("tcp {address}"))
        .spawn(run)
        .inspect_err(|error| log::error!("could not start a session thread: {error}"))
        .ok()
}

/// A place among the sessions, free again when dropped.
struct Seat {
    sessions: Arc<AtomicUsize>,
    /// How many are taken, this one included.
    taken: usize,
}

impl Seat {
    fn take(sessions: &Arc<AtomicUsize>) -> Seat {
        Seat {
            taken: sessions.fetch_add(1, Ordering::AcqRel) + 1,
            sessions: Arc::clone(sessions),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.sessions.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A TCP connection as a session's line.
struct Connection {
    stream: TcpStream,
}

impl Connection {
    fn new(stream: TcpStream, write_timeout: Duration) -> io::Result<Connection> {
        // Answers are small and waited for.
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(write_timeout))?;
        Ok(Connection { stream })
    }

    /// Ends the sending, and reads until the peer has closed or `LAST_WORD` is over.
    ///
    /// Closing with bytes unread would reset the connection, and the peer might never see what it was told.
    fn let_read(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        let until = Instant::now() + LAST_WORD;
        let mut buffer = [0; 4096];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Line for Connection {
    fn set_read_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(timeout))
    }

    fn is_connection(&self) -> bool {
        true
    }
}
