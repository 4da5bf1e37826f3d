//! Where a door is and how to reach it: `HOST:PORT` or `/dev/ttyX[@baud]`, and the byte line to either.
//!
//! What is said over the line is in `client`.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    str::FromStr,
    time::Duration,
};

use serialport::SerialPort;

/// The port doors listen on unless configured otherwise.
pub const DEFAULT_PORT: u16 = 7117;
/// The speed of a serial line unless configured otherwise.
pub const DEFAULT_BAUD: u32 = 115_200;

/// A line on which nothing can be written for this long is dead.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Where a door is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// On the network.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// At the other end of a serial line.
    Serial {
        /// The device file.
        path: String,
        /// Speed.
        baud: u32,
    },
}

/// Why a text names no door.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no door: {why}; give HOST:PORT, such as 192.0.2.7:7117, or /dev/ttyUSB0@115200"
)]
pub struct TargetError {
    text: String,
    why: &'static str,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Target, TargetError> {
        let parsed = if text.starts_with('/') {
            parse_serial(text)
        } else {
            parse_tcp(text)
        };
        parsed.map_err(|why| TargetError {
            text: text.to_owned(),
            why,
        })
    }
}

fn parse_serial(text: &str) -> Result<Target, &'static str> {
    let (path, baud) = match text.rsplit_once('@') {
        Some((path, baud)) => {
            let baud = baud.parse().ok().filter(|&baud| baud > 0);
            (path, baud.ok_or("the speed is not a number")?)
        }
        None => (text, DEFAULT_BAUD),
    };
    let path = path.to_owned();
    Ok(Target::Serial { path, baud })
}

fn parse_tcp(text: &str) -> Result<Target, &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("the bracket is not closed")?;
            match port.strip_prefix(':') {
                None if !port.is_empty() => {
                    return Err("nothing but a port may follow the bracket");
                }
                port => (host, port),
            }
        }
        None => match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("an IPv6 address goes in brackets");
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|&port| port > 0),
        None => Some(DEFAULT_PORT),
    };
    let strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@');
    if host.is_empty() || host.contains(strange) {
        return Err("there is no host");
    }
    Ok(Target::Tcp {
        host: host.to_owned(),
        port: port.ok_or("the port is not a number from 1 to 65535")?,
    })
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Target::Tcp { host, port } => write!(f, "{host}:{port}"),
            Target::Serial { path, .. } => f.write_str(path),
        }
    }
}

/// A byte line to a door.
pub trait Line: Read + Write + Send {
    /// How long one read may wait before it fails with `TimedOut` or `WouldBlock`; never zero.
    ///
    /// # Errors
    /// Whatever the system reports.
    fn set_patience(&mut self, patience: Duration) -> io::Result<()>;

    /// True for a serial line: it can garble bytes, and has room for one request at a time.
    fn is_serial(&self) -> bool;
}

impl Target {
    /// Opens the line; on the network, waiting at most `patience` for each address the name has.
    ///
    /// # Errors
    /// Whatever the system reports.
    pub fn open(&self, patience: Duration) -> io::Result<Box<dyn Line>> {
        match self {
            Target::Tcp { host, port } => {
                let stream = connect(host, *port, patience)?;
                // Requests are small and waited for.
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(WRITE_PATIENCE))?;
                Ok(Box::new(Network(stream)))
            }
            Target::Serial { path, baud } => {
                let port = serialport::new(path, *baud)
                    .timeout(WRITE_PATIENCE)
                    .open()?;
                Ok(Box::new(Serial {
                    port,
                    patience: WRITE_PATIENCE,
                }))
            }
        }
    }
}

fn connect(host: &str, port: u16, patience: Duration) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

struct Network(TcpStream);

impl Read for Network {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Network {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Line for Network {
    fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(patience))
    }

    fn is_serial(&self) -> bool {
        false
    }
}

struct Serial {
    port: Box<dyn SerialPort>,
    patience: Duration,
}

impl Read for Serial {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.port.set_timeout(self.patience)?;
        self.port.read(buffer)
    }
}

impl Write for Serial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The port reports room from one byte on and would then block for the rest: so, small pieces.
        let piece = &bytes[..bytes.len().min(64)];
        self.port.set_timeout(WRITE_PATIENCE)?;
        self.port.write(piece)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.port.flush()
    }
}

impl Line for Serial {
    fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        self.patience = patience;
        Ok(())
    }

    fn is_serial(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Option<Target> {
        let host = host.to_owned();
        Some(Target::Tcp { host, port })
    }

    fn serial(path: &str, baud: u32) -> Option<Target> {
        let path = path.to_owned();
        Some(Target::Serial { path, baud })
    }

    #[test]
    fn targets_parse_and_print() {
        let cases = [
            ("door.local:9000", tcp("door.local", 9000)),
            ("192.0.2.7", tcp("192.0.2.7", DEFAULT_PORT)),
            ("[::1]:80", tcp("::1", 80)),
            ("[::1]", tcp("::1", DEFAULT_PORT)),
            ("/dev/ttyUSB0", serial("/dev/ttyUSB0", DEFAULT_BAUD)),
            ("/dev/ttyAMA0@1000000", serial("/dev/ttyAMA0", 1_000_000)),
            ("/dev/by-id/a@b@9600", serial("/dev/by-id/a@b", 9600)),
            ("", None),
            (":80", None),
            ("door:", None),
            ("door:0", None),
            ("door:65536", None),
            ("door:http", None),
            ("::1", None),
            ("[::1", None),
            ("[::1]80", None),
            ("a b:1", None),
            ("dev/ttyUSB0:1", None),
            ("/dev/ttyUSB0@fast", None),
            ("/dev/ttyUSB0@0", None),
        ];
        for (text, want) in cases {
            assert_eq!(text.parse::<Target>().ok(), want, "{text:?}");
        }
        for text in ["door:1", "[::1]:80", "/dev/ttyUSB0"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        let error = "door:0".parse::<Target>().unwrap_err().to_string();
        assert!(
            error.contains("\"door:0\"") && error.contains("HOST:PORT"),
            "{error}"
        );
    }
}
