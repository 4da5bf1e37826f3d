//! What the daemon costs: from its start to `READY=1`, and while nobody is at the door. A report, no test:
//! `cargo bench -p facelatch-device -p facelatch-host -p facelatch-tests --bench daemon`.
//!
//! Runs the program itself on the simulated board with the networks that ship, as a supervisor would: a socket for its
//! notifications, a signal to stop it. Processor time and memory are the kernel's account of the process.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Starts after the first, which compiles the networks.
const STARTS: usize = 7;
/// The kernel counts processor time in these, a second, on every machine we know.
const TICKS: f64 = 100.0;
/// A daemon that has just started settles for so long.
const SETTLES: Duration = Duration::from_secs(8);

fn main() {
    // `cargo test --benches` passes this: there is nothing to be tested.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let seconds = std::env::var("FACELATCH_IDLE_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(60);
    let stage = Stage::set();
    println!("from exec to READY=1");
    println!(
        "  first start, networks compiled   {:>7.0} ms",
        stage.start_ms()
    );
    let mut starts: Vec<f64> = (0..STARTS).map(|_| stage.start_ms()).collect();
    starts.sort_by(f64::total_cmp);
    let (fastest, median, slowest) = (starts[0], starts[STARTS / 2], starts[STARTS - 1]);
    println!("  later starts                     {median:>7.0} ms ({fastest:.0} to {slowest:.0})");
    println!("an empty scene, 640x480, 10 frames a second, for {seconds} s");
    let asleep = stage.idle(Duration::from_secs(seconds));
    fs::write(
        stage.data().join("device.toml"),
        "[motion]\nenabled = false\n",
    )
    .expect("a small file");
    let searching = stage.idle(Duration::from_secs(seconds.min(20)));
    println!(
        "  processor, of one core           {:>7.1} %",
        asleep.percent
    );
    println!(
        "  with motion.enabled = false      {:>7.1} %",
        searching.percent
    );
    println!(
        "  memory, resident                 {:>7} MB",
        asleep.resident_mb
    );
    println!(
        "  memory, at most                  {:>7} MB",
        asleep.peak_mb
    );
}

/// A folder with a door in it, and a photo of nobody followed by an empty wall.
struct Stage {
    folder: tempfile::TempDir,
}

struct Idle {
    percent: f64,
    resident_mb: u64,
    peak_mb: u64,
}

impl Stage {
    fn set() -> Stage {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sim = include_str!("../../boards/files/sim.toml");
        let board = sim
            .replace("gap_frames = 40", "gap_frames = 1000000")
            .replace("frames_per_photo = 10", "frames_per_photo = 1");
        assert!(
            board.contains("= 1000000") && board.contains("= 1 "),
            "the file has changed"
        );
        fs::write(folder.path().join("board.toml"), board).expect("a small file");
        let photos = folder.path().join("photos");
        fs::create_dir(&photos).expect("a new folder");
        let nobody = root().join("tests/data/demo/visitors/rocket.jpg");
        fs::copy(nobody, photos.join("rocket.jpg")).expect("the workspace's photo");
        Stage { folder }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("door")
    }

    /// Starts the daemon; returns it when it has said `READY=1`, and how long that took.
    fn start(&self) -> (Child, f64) {
        let path = self.folder.path().join("notify");
        // That of the last start, if there was one.
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("a free name");
        let began = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_facelatchd"))
            .args(["--listen", "127.0.0.1:0", "--board"])
            .arg(self.folder.path().join("board.toml"))
            .arg("--replay")
            .arg(self.folder.path().join("photos"))
            .arg("--data")
            .arg(self.data())
            .arg("--zoo")
            .arg(root().join("models/zoo"))
            .env("NOTIFY_SOCKET", &path)
            .env("RUST_LOG", "warn")
            .stdout(Stdio::null())
            .spawn()
            .expect("the program was built");
        let mut word = [0; 256];
        let mut ready = false;
        while !ready {
            let length = socket.recv(&mut word).expect("a message");
            ready = &word[..length] == b"READY=1";
        }
        (child, began.elapsed().as_secs_f64() * 1e3)
    }

    fn start_ms(&self) -> f64 {
        let (child, ms) = self.start();
        stop(child);
        ms
    }

    fn idle(&self, length: Duration) -> Idle {
        let (child, _) = self.start();
        thread::sleep(SETTLES);
        let before = ticks(&child);
        thread::sleep(length);
        let percent = (ticks(&child) - before) / TICKS / length.as_secs_f64() * 100.0;
        let idle = Idle {
            percent,
            resident_mb: status_mb(&child, "VmRSS:"),
            peak_mb: status_mb(&child, "VmHWM:"),
        };
        stop(child);
        idle
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn stop(mut child: Child) {
    let pid = child.id().to_string();
    Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .expect("kill is installed");
    assert!(
        child.wait().expect("our child").success(),
        "stopped in order"
    );
}

/// User and system time of a process, from the 14th and 15th field of its line.
fn ticks(child: &Child) -> f64 {
    let line = fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it runs");
    // The name, in parentheses, is the second.
    let rest = &line[line.rfind(')').expect("a name") + 2..];
    let fields: Vec<f64> = rest
        .split(' ')
        .skip(11)
        .take(2)
        .map(|n| n.parse().expect("a number"))
        .collect();
    fields.iter().sum()
}

fn status_mb(child: &Child, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
    let line = text
        .lines()
        .find(|line| line.starts_with(key))
        .expect("a known key");
    let kilobytes = line
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse::<u64>().ok());
    kilobytes.expect("a number") / 1000
}
