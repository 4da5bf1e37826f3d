//! The serial port: opened, served, and opened again with growing pauses when it vanishes.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serialport::{SerialPort, TTYPort};

use super::{
    Error, Peer, Shared,
    session::{self, End, Line},
};

/// First pause before the port is opened again; doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// Longest pause.
const RETRY_LONGEST: Duration = Duration::from_secs(10);

/// Starts serving a port, whether it is there yet or not.
pub(super) fn start(
    path: PathBuf,
    baud: u32,
    shared: Arc<Shared>,
) -> Result<JoinHandle<()>, Error> {
    thread::Builder::new()
        .name("serial".to_owned())
        .spawn(move || keep_serving(&path, baud, &shared))
        .map_err(Error::Thread)
}

fn keep_serving(path: &Path, baud: u32, shared: &Shared) {
    let peer = Peer::Serial(path.to_owned());
    let mut pause = RETRY_FIRST;
    let mut reported = false;
    loop {
        match Port::open(path, baud, shared.limits.write) {
            Ok(mut port) => {
                log::info!("{peer}: open at {baud} baud");
                reported = false;
                let opened = Instant::now();
                match session::serve(&mut port, &peer, shared) {
                    End::Stopping => return,
                    end => log::warn!("{peer}: lost the port: {end}"),
                }
                // A port that opens and fails at once, again and again, must not fill the log.
                if opened.elapsed() > RETRY_LONGEST {
                    pause = RETRY_FIRST;
                }
            }
            Err(error) if !reported => {
                log::warn!("{peer}: could not open the port, trying again: {error}");
                reported = true;
            }
            Err(_) => {}
        }
        if shared.stop.wait(pause) {
            return;
        }
        pause = (pause * 2).min(RETRY_LONGEST);
    }
}

/// A serial port as a session's line.
struct Port {
    tty: TTYPort,
    read_timeout: Duration,
    write_timeout: Duration,
}

impl Port {
    fn open(path: &Path, baud: u32, write_timeout: Duration) -> io::Result<Port> {
        let path = path
            .to_str()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "path is not UTF-8"))?;
        let tty = serialport::new(path, baud).open_native()?;
        Ok(Port {
            tty,
            read_timeout: write_timeout,
            write_timeout,
        })
    }
}

impl Read for Port {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tty.set_timeout(self.read_timeout)?;
        self.tty.read(buffer)
    }
}

impl Write for Port {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The port reports room from one byte on and would then block for the rest: so, small pieces.
        let piece = &bytes[..bytes.len().min(64)];
        self.tty.set_timeout(self.write_timeout)?;
        self.tty.write(piece)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tty.flush()
    }
}

impl Line for Port {
    fn set_read_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.read_timeout = timeout;
        Ok(())
    }

    fn is_connection(&self) -> bool {
        false
    }
}
