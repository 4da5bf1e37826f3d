//! The emulated board as seen from outside: QEMU, a shell in it, the levels of its lines, its two ends of serial line.
//!
//! What it boots from is made by `run.sh`, which also says where it is; what runs in it first is `guest/init`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use facelatch_tests::PATIENCE;
use facelatch_tests::door::lines_of;
use facelatch_tests::line::SerialEnd;

/// A processor like the Raspberry Pi 5's, without a network or a screen.
const MACHINE: [&str; 17] = [
    "-M",
    "virt",
    "-cpu",
    "cortex-a76",
    "-smp",
    "2",
    "-m",
    "1024",
    "-display",
    "none",
    "-nic",
    "none",
    "-no-reboot",
    "-device",
    "virtio-serial-pci",
    "-append",
    "console=ttyAMA0 panic=-1 rdinit=/init",
];
const SHARE: &str = "local,mount_tag=share,security_model=none";

/// Lines of the GPIO chip, as `boards/files/linux.toml` has them.
pub(crate) const RELAY: u32 = 17;
pub(crate) const BUTTON: u32 = 23;
pub(crate) const EXIT: u32 = 25;

/// The resistor that holds a line while nobody drives it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pull {
    Up,
    Down,
}

/// A running board. Dropping it takes its power away.
pub(crate) struct Machine {
    qemu: Child,
    answers: BufReader<UnixStream>,
    /// The host's end of the door's serial line: the board's first serial port.
    pub(crate) line: SerialEnd,
    /// What the door writes on its console: the board's second serial port.
    pub(crate) console: Receiver<String>,
    /// A folder that both sides see, there as `/share`.
    pub(crate) share: PathBuf,
}

impl Machine {
    /// Boots from `vmlinuz` and `initrd.gz` in `folder`, with its `share`.
    pub(crate) fn boot(folder: &Path) -> Machine {
        let at = |name: &str| folder.join(name);
        let share = at("share");
        let port = |name, device| Port::new(name, device, at(name));
        // The shell's is no serial port: one of those has lost what was said while another was closed.
        let ports = [
            port("door", "pci-serial"),
            port("console", "pci-serial"),
            port("control", "virtserialport"),
        ];
        let mut command = Command::new("qemu-system-aarch64");
        command
            .args(MACHINE)
            .arg("-kernel")
            .arg(at("vmlinuz"))
            .arg("-initrd")
            .arg(at("initrd.gz"))
            .arg("-serial")
            .arg(format!("file:{}", at("kernel.log").display()))
            .arg("-virtfs")
            .arg(format!("{SHARE},path={}", share.display()))
            .stdin(Stdio::null());
        for port in &ports {
            command.args(port.device());
        }
        let qemu = command.spawn();
        let qemu = qemu.expect("qemu-system-aarch64 starts; run.sh installs it");
        let [door, console, control] = ports.map(Port::connected);
        let mut machine = Machine {
            qemu,
            answers: BufReader::new(control),
            line: SerialEnd::lay(door),
            console: lines_of(console),
            share,
        };
        let ready = machine.answer();
        assert!(ready.starts_with("ready"), "{ready:?}");
        machine
    }

    /// Runs a shell command on the board: its exit code, and what it said.
    pub(crate) fn run(&mut self, command: &str) -> (i32, String) {
        writeln!(self.answers.get_mut(), "{command}").expect("the board listens");
        let mut said = String::new();
        loop {
            let line = self.answer();
            if let Some(code) = line.strip_prefix('=') {
                return (code.trim().parse().expect("a number"), said);
            }
            said += &line;
        }
    }

    /// Runs a shell command that has to succeed; what it said.
    pub(crate) fn done(&mut self, command: &str) -> String {
        let (code, said) = self.run(command);
        assert_eq!(code, 0, "{command}: {said}");
        said.trim().to_owned()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("the board answers");
        assert!(!line.is_empty(), "the board is gone: see kernel.log");
        line
    }

    /// The level of a line, as the kernel shows it: 1 for high.
    pub(crate) fn level(&mut self, line: u32) -> u32 {
        let said = self.done(&format!("cat /run/lines/sim_gpio{line}/value"));
        said.parse().expect("a level")
    }

    /// Wires a line to a resistor, or moves a contact.
    pub(crate) fn pull(&mut self, line: u32, pull: Pull) {
        let to = match pull {
            Pull::Up => "pull-up",
            Pull::Down => "pull-down",
        };
        self.done(&format!("echo {to} >/run/lines/sim_gpio{line}/pull"));
    }
}

/// A port of the board, which QEMU connects to a socket of ours.
struct Port {
    name: &'static str,
    device: &'static str,
    path: PathBuf,
    socket: UnixListener,
}

impl Port {
    fn new(name: &'static str, device: &'static str, path: PathBuf) -> Port {
        // Of an earlier run, if there was one.
        let _ = std::fs::remove_file(&path);
        let socket = UnixListener::bind(&path).expect("a socket of a short path");
        Port {
            name,
            device,
            path,
            socket,
        }
    }

    fn device(&self) -> [String; 4] {
        let Port {
            name, device, path, ..
        } = self;
        let chardev = format!("socket,path={},id={name}", path.display());
        let device = format!("{device},chardev={name}");
        ["-chardev".into(), chardev, "-device".into(), device]
    }

    fn connected(self) -> UnixStream {
        let (sender, connected) = channel();
        thread::spawn(move || sender.send(self.socket.accept()));
        let (stream, _) = connected
            .recv_timeout(PATIENCE)
            .expect("QEMU starts")
            .expect("QEMU connects");
        stream
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
