//! Lines between host and door that can be cut anywhere, and serial lines made of pseudo-terminals.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use serialport::{SerialPort, TTYPort};

use crate::PATIENCE;

/// A TCP line to `door` that passes `bytes` bytes of the first host that connects, calls `then`, and cuts both ends.
/// Returns where to connect. With fewer bytes sent than that, it lasts as long as both ends.
///
/// # Panics
/// If the system gives no port.
pub fn cut_after(door: SocketAddr, bytes: u64, then: impl FnOnce() + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the system has a free port");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    thread::spawn(move || {
        let (host, _) = listener.accept().expect("the host connects");
        let device = TcpStream::connect(door).expect("the door listens");
        let (mut host_out, mut device_in) = (clone(&host), clone(&device));
        let back = thread::spawn(move || {
            // Ends when either end is closed, by the peer or by the cut.
            let _ = std::io::copy(&mut device_in, &mut host_out);
        });
        let mut host_in = (&host).take(bytes);
        let mut device_out = &device;
        let passed = std::io::copy(&mut host_in, &mut device_out).unwrap_or(0);
        if passed == bytes {
            then();
        }
        // Either may be gone already.
        let _ = host.shutdown(Shutdown::Both);
        let _ = device.shutdown(Shutdown::Both);
        back.join().expect("copying does not panic");
    });
    address
}

/// How much of a frame passes before a line is cut. What is sealed differs in length each time, so a place in it is named
/// by frame, and not by byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    /// Nothing of it.
    Nothing,
    /// Its first half.
    Half,
    /// All but the zero that ends it.
    Almost,
}

/// A TCP line to `door` that passes `frames` whole frames of the first host that connects, and so much of the next one; then
/// it cuts both ends. `then` is told how many frames began: with fewer than that, the line lasts as long as both ends.
///
/// # Panics
/// If the system gives no port.
pub fn cut_in_frame(
    door: SocketAddr,
    frames: usize,
    passes: Passes,
    then: impl FnOnce(usize) + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the system has a free port");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    thread::spawn(move || {
        let (host, _) = listener.accept().expect("the host connects");
        let mut device = TcpStream::connect(door).expect("the door listens");
        let (mut host_out, mut device_in) = (clone(&host), clone(&device));
        let back = thread::spawn(move || {
            // Ends when either end is closed, by the peer or by the cut.
            let _ = std::io::copy(&mut device_in, &mut host_out);
        });
        let mut host_in = BufReader::new(&host);
        let (mut frame, mut begun) = (Vec::new(), 0);
        while host_in.read_until(0, &mut frame).is_ok_and(|len| len > 0) {
            begun += 1;
            if begun > frames {
                frame.truncate(match passes {
                    Passes::Nothing => 0,
                    Passes::Half => frame.len() / 2,
                    Passes::Almost => frame.len() - 1,
                });
            }
            if device.write_all(&frame).is_err() || begun > frames {
                break;
            }
            frame.clear();
        }
        then(begun);
        // Either may be gone already.
        let _ = host.shutdown(Shutdown::Both);
        let _ = device.shutdown(Shutdown::Both);
        back.join().expect("copying does not panic");
    });
    address
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("the system has free descriptors")
}

/// A serial line: two pseudo-terminals whose far ends are wired together. Lives until the process ends.
pub struct SerialLine {
    /// Device file for the door.
    pub door: PathBuf,
    /// Device file for the host.
    pub host: PathBuf,
    /// Held open here, so that one side may come and go. As plain files: the programs lock what they open.
    _held: [File; 2],
}

impl SerialLine {
    /// Lays the line.
    ///
    /// # Panics
    /// If the system has no pseudo-terminals.
    pub fn lay() -> SerialLine {
        let (door_far, door, door_held) = terminal();
        let (host_far, host, host_held) = terminal();
        wire(&door_far, &host_far);
        wire(&host_far, &door_far);
        SerialLine {
            door,
            host,
            _held: [door_held, host_held],
        }
    }
}

/// The far end of a pseudo-terminal, the path of its near end, and that held open.
fn terminal() -> (TTYPort, PathBuf, File) {
    let (mut far, mut near) = TTYPort::pair().expect("the system has pseudo-terminals");
    near.set_exclusive(false).expect("a terminal can be shared");
    far.set_timeout(PATIENCE)
        .expect("a port takes any time-out");
    let path = PathBuf::from(near.name().expect("a pseudo-terminal has a name"));
    let held = File::options()
        .read(true)
        .write(true)
        .open(&path)
        .expect("a terminal can be opened twice");
    (far, path, held)
}

fn wire(from: &TTYPort, to: &TTYPort) {
    pass(own(from), own(to));
}

fn own(port: &TTYPort) -> TTYPort {
    port.try_clone_native()
        .expect("the system has free descriptors")
}

/// Until either end is gone, however long nothing is said.
fn pass(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) if to.write_all(&buffer[..count]).is_err() => return,
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::TimedOut => {}
                Err(_) => return,
            }
        }
    });
}

/// The host's end of a serial line whose other end is a stream: the port of an emulated machine.
pub struct SerialEnd {
    /// Device file for the host.
    pub host: PathBuf,
    /// As in [`SerialLine`].
    _held: File,
}

impl SerialEnd {
    /// Lays the line.
    ///
    /// # Panics
    /// If the system has no pseudo-terminals.
    pub fn lay(door: UnixStream) -> SerialEnd {
        let (far, host, held) = terminal();
        let back = door.try_clone().expect("the system has free descriptors");
        pass(own(&far), door);
        pass(back, far);
        SerialEnd { host, _held: held }
    }
}
