//! The watchdogs that the guard feeds: the supervisor's, by systemd's notification protocol, and the board's own timer.
//!
//! The protocol is one datagram a message to the socket that `NOTIFY_SOCKET` names: `READY=1` with the first frame,
//! `STATUS=` whenever the door changes, `WATCHDOG=1` at half of `WATCHDOG_USEC`, `STOPPING=1` at an orderly stop; before the
//! first frame, while the camera is being tried, `EXTEND_TIMEOUT_USEC=` asks for patience. The environment is read once, by
//! `cli`. Nothing here decides whether the door is well: see `guard`.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::{
        ffi::OsStrExt,
        net::{SocketAddr, UnixDatagram},
    },
    path::Path,
    time::{Duration, Instant},
};

use facelatch_boards::{Watchdog, WatchdogFacts};

use crate::{error::Error, guard::Turn};

/// The board's timer is fed this often: no driver's time-out is as short.
const DEVICE_EVERY: Duration = Duration::from_secs(1);
/// Patience is asked for this often, and for so long.
const EXTEND_EVERY: Duration = Duration::from_secs(10);
const EXTEND: &str = "EXTEND_TIMEOUT_USEC=30000000";

/// Who started the daemon and wants to hear from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Supervisor {
    /// Its socket: a path, or `@` and an abstract name.
    pub socket: Option<OsString>,
    /// It ends the daemon if it hears nothing for this long.
    pub patience: Option<Duration>,
}

impl Supervisor {
    /// As systemd says it in the environment.
    #[must_use]
    pub fn from_env() -> Supervisor {
        Supervisor::read(|name| std::env::var_os(name), std::process::id())
    }

    /// From variables that systemd sets. A `WATCHDOG_PID` of another process means that the watchdog is not ours to feed.
    fn read(var: impl Fn(&str) -> Option<OsString>, pid: u32) -> Supervisor {
        let number = |name: &str| var(name).and_then(|text| text.to_str()?.parse::<u64>().ok());
        let ours = number("WATCHDOG_PID").is_none_or(|of| of == u64::from(pid));
        let usec = number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0);
        Supervisor {
            socket: var("NOTIFY_SOCKET").filter(|name| !name.is_empty()),
            patience: usec.map(Duration::from_micros),
        }
    }
}

/// What the guard saw.
pub(crate) struct Seen {
    /// Why no watchdog may be fed.
    pub(crate) trouble: Option<&'static str>,
    /// The loop's latest turn; `None` before the first.
    pub(crate) turn: Option<Turn>,
}

/// Everything that has to hear that the door is well.
pub(crate) struct Feeds {
    socket: Option<UnixDatagram>,
    supervisor: Feed,
    patience: Feed,
    device: Option<Watchdog>,
    device_feed: Feed,
    ready: bool,
    status: &'static str,
}

/// Something to be done every so often.
struct Feed {
    every: Option<Duration>,
    due: Option<Instant>,
}

impl Feed {
    fn every(every: Option<Duration>) -> Feed {
        Feed { every, due: None }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let Some(every) = self.every.filter(|_| self.due.is_none_or(|due| now >= due)) else {
            return false;
        };
        self.due = Some(now + every);
        true
    }
}

impl Feeds {
    /// Starts the board's timer and opens the way to the supervisor.
    ///
    /// # Errors
    /// [`Error::Board`] if the board file names a watchdog and it cannot be opened. A supervisor that cannot be reached is
    /// logged: it will say so itself.
    pub(crate) fn open(
        supervisor: &Supervisor,
        device: Option<&WatchdogFacts>,
    ) -> Result<Feeds, Error> {
        let device = device.map(Watchdog::open).transpose()?;
        let socket = supervisor.socket.as_deref().and_then(|name| {
            let socket = connect(name);
            socket
                .inspect_err(|e| log::error!("supervisor {}: {e}", name.display()))
                .ok()
        });
        Ok(Feeds {
            socket,
            supervisor: Feed::every(supervisor.patience.map(|patience| patience / 2)),
            patience: Feed::every(Some(EXTEND_EVERY)),
            device,
            device_feed: Feed::every(Some(DEVICE_EVERY)),
            ready: false,
            status: "",
        })
    }

    /// Says what there is to say, and feeds what is due, unless there is trouble.
    pub(crate) fn look(&mut self, seen: Seen, now: Instant) {
        let Some(turn) = seen.turn else {
            return;
        };
        if turn.started && !self.ready {
            self.ready = true;
            self.tell("READY=1");
        }
        let status = seen.trouble.unwrap_or(turn.door);
        if status != self.status {
            self.status = status;
            self.tell(&format!("STATUS={status}"));
        }
        if seen.trouble.is_some() {
            return;
        }
        if !self.ready && self.patience.is_due(now) {
            self.tell(EXTEND);
        }
        if self.supervisor.is_due(now) {
            self.tell("WATCHDOG=1");
        }
        if let Some(device) = &mut self.device
            && self.device_feed.is_due(now)
            && let Err(error) = device.feed()
        {
            log::error!("{error}");
        }
    }

    /// An orderly stop.
    pub(crate) fn stop(mut self) {
        self.tell("STOPPING=1");
        if let Some(Err(error)) = self.device.take().map(Watchdog::stop) {
            log::error!("{error}");
        }
    }

    fn tell(&self, text: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(text.as_bytes())
        {
            log::warn!("supervisor: {text} not said: {error}");
        }
    }
}

/// A socket that never waits: a supervisor that does not listen must not hold the guard up.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address(name)?)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => abstract_address(name),
        None => SocketAddr::from_pathname(Path::new(name)),
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;

    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(started: bool) -> Option<Turn> {
        Some(Turn {
            lease: None,
            started,
            camera_answers: true,
            door: if started { "locked" } else { "starting" },
        })
    }

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 256];
        std::iter::from_fn(|| {
            socket
                .recv(&mut buffer)
                .ok()
                .map(|len| buffer[..len].to_vec())
        })
        .map(|message| String::from_utf8(message).unwrap())
        .collect()
    }

    /// Sockets by path and by abstract name, told the same.
    #[test]
    fn a_supervisor_hears_of_start_changes_life_and_stop_and_nothing_while_there_is_trouble() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = (UnixDatagram::bind(&path).unwrap(), path.into_os_string());
        let mut sockets = vec![by_path];
        #[cfg(target_os = "linux")]
        {
            let name = OsString::from(format!("@facelatch-test-{}", std::process::id()));
            sockets.push((
                UnixDatagram::bind_addr(&address(&name).unwrap()).unwrap(),
                name,
            ));
        }
        for (socket, name) in sockets {
            let supervisor = Supervisor {
                socket: Some(name),
                patience: Some(Duration::from_secs(10)),
            };
            let mut feeds = Feeds::open(&supervisor, None).unwrap();
            let start = Instant::now();
            let mut look = |seconds, trouble, turn| {
                feeds.look(Seen { trouble, turn }, start + Duration::from_secs(seconds));
            };
            look(0, None, None);
            look(0, None, turn(false));
            look(1, None, turn(false));
            look(4, None, turn(true));
            look(5, None, turn(true));
            look(11, Some("the loop stands still"), turn(true));
            look(20, Some("the loop stands still"), turn(true));
            look(21, None, turn(true));
            feeds.stop();
            assert_eq!(
                heard(&socket),
                [
                    "STATUS=starting",
                    EXTEND,
                    "WATCHDOG=1",
                    "READY=1",
                    "STATUS=locked",
                    "WATCHDOG=1",
                    "STATUS=the loop stands still",
                    "STATUS=locked",
                    "WATCHDOG=1",
                    "STOPPING=1",
                ]
            );
        }
    }

    #[test]
    fn the_boards_timer_is_fed_while_all_is_well_and_stopped_in_order_only() {
        let dir = tempfile::tempdir().unwrap();
        let device = dir.path().join("watchdog");
        let facts = WatchdogFacts {
            device: device.clone(),
        };
        assert!(Feeds::open(&Supervisor::default(), Some(&facts)).is_err());
        std::fs::write(&device, "").unwrap();
        let open = || Feeds::open(&Supervisor::default(), Some(&facts)).unwrap();
        let mut feeds = open();
        let start = Instant::now();
        let mut look = |ms, trouble| {
            let turn = turn(true);
            feeds.look(Seen { trouble, turn }, start + Duration::from_millis(ms));
        };
        look(0, None);
        look(50, None);
        look(1_000, None);
        look(2_000, Some("the camera does not answer"));
        drop(feeds);
        assert_eq!(std::fs::read(&device).unwrap(), b"..");
        open().stop();
        assert_eq!(std::fs::read(&device).unwrap(), b"V.");
    }

    #[test]
    fn the_environment_says_who_listens() {
        let read = |vars: &[(&str, &str)]| {
            let var = |name: &str| {
                let found = vars.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let read = Supervisor::read(var, 42);
            (
                read.socket,
                read.patience.map(|patience| patience.as_millis()),
            )
        };
        let socket = ("NOTIFY_SOCKET", "/run/notify");
        let usec = ("WATCHDOG_USEC", "10000000");
        let there = Some(OsString::from("/run/notify"));
        assert_eq!(read(&[]), (None, None));
        assert_eq!(read(&[("NOTIFY_SOCKET", "")]), (None, None));
        assert_eq!(read(&[socket]), (there.clone(), None));
        assert_eq!(read(&[socket, usec]), (there.clone(), Some(10_000)));
        let of = |pid| read(&[socket, usec, ("WATCHDOG_PID", pid)]);
        assert_eq!(of("42"), (there.clone(), Some(10_000)));
        assert_eq!(of("43"), (there.clone(), None));
        assert_eq!(read(&[socket, ("WATCHDOG_USEC", "soon")]), (there, None));
    }
}
