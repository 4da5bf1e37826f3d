//! The daemon as a process with a supervisor that listens and a board's watchdog: what they hear of a start, of a stop by
//! signal, of a loop that hangs and of one that panics.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use facelatch_boards::BUILT_IN;

use crate::stage::{DEADLINE, Stage, photo, zoo};

struct Supervised {
    child: Child,
    socket: UnixDatagram,
    device: PathBuf,
    relay: PathBuf,
    heard: Vec<String>,
    _stage: Stage,
}

impl Supervised {
    /// A door on the sim board with these strikes, shown a photo of somebody enrolled.
    fn start(strikes: &str) -> Supervised {
        let stage = Stage::enrolled();
        let path = |name: &str| stage.dir.path().join(name);
        let photos = path("photos");
        fs::create_dir(&photos).unwrap();
        fs::copy(photo("visitors/obama2.jpg"), photos.join("obama2.jpg")).unwrap();
        let (device, relay) = (path("watchdog"), path("relay.jsonl"));
        fs::write(&device, "").unwrap();
        let sim = BUILT_IN.into_iter().find(|(name, _)| *name == "sim");
        let sim = sim.unwrap().1;
        let board = path("board.toml");
        let text = format!(
            "{sim}\nrelay_record = {relay:?}\n[sim.faults]\nstrikes = [{strikes}]\n[watchdog]\ndevice = \"watchdog\"\n"
        );
        fs::write(&board, text).unwrap();
        let mut config = stage.config.clone();
        config.door.unlock_ms = 300_000;
        config.watchdog.stall_ms = 1_000;
        let settings = path("device.toml");
        fs::write(&settings, config.to_text()).unwrap();
        let notify = path("notify");
        let socket = UnixDatagram::bind(&notify).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_facelatchd"))
            .arg("--board")
            .arg(&board)
            .arg("--data")
            .arg(stage.data())
            .arg("--config")
            .arg(&settings)
            .arg("--replay")
            .arg(&photos)
            .arg("--zoo")
            .arg(zoo().dir())
            .env_remove("RUST_LOG")
            .env("NOTIFY_SOCKET", &notify)
            .env("WATCHDOG_USEC", "400000")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Supervised {
            child,
            socket,
            device,
            relay,
            heard: vec![],
            _stage: stage,
        }
    }

    /// Listens until this was said so many times.
    fn hears(&mut self, wanted: &str, times: usize) {
        let began = Instant::now();
        let count = |heard: &[String]| heard.iter().filter(|said| *said == wanted).count();
        while count(&self.heard) < times {
            assert!(began.elapsed() < DEADLINE, "no {wanted}: {:?}", self.heard);
            let mut buffer = [0; 256];
            if let Ok(len) = self.socket.recv(&mut buffer) {
                let said = String::from_utf8(buffer[..len].to_vec()).unwrap();
                self.heard.push(said);
            }
        }
    }

    fn opens(&mut self) {
        let began = Instant::now();
        while !fs::read_to_string(&self.relay).is_ok_and(|edges| edges.contains("unlocked")) {
            assert!(began.elapsed() < DEADLINE, "never opened");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its exit code, whether the relay is at rest, and whether the board's timer was stopped.
    fn ended(&mut self) -> (Option<i32>, bool, bool) {
        let code = self.child.wait().unwrap().code();
        let edges = fs::read_to_string(&self.relay).unwrap();
        let last = edges.lines().last().unwrap_or_default();
        let fed = fs::read(&self.device).unwrap();
        (code, last.contains("\"off\""), fed.last() == Some(&b'V'))
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_supervisor_hears_that_the_door_is_ready_lives_and_stops() {
    let mut door = Supervised::start("");
    door.hears("READY=1", 1);
    door.opens();
    door.hears("STATUS=unlocked", 1);
    door.hears("WATCHDOG=1", 3);
    door.signal("-TERM");
    door.hears("STOPPING=1", 1);
    assert_eq!(door.ended(), (Some(0), true, true));
    let at = |said: &str| door.heard.iter().position(|heard| heard == said);
    assert!(at("READY=1") < at("STATUS=unlocked"), "{:?}", door.heard);
}

#[test]
fn a_loop_that_hangs_is_not_said_to_live() {
    // Long after the first visitor: the sensor is read in every turn of the loop.
    let mut door = Supervised::start("{ part = \"door-sensor\", harm = \"hang\", after = 60 }");
    door.hears("STATUS=the loop stands still", 1);
    let fed = fs::read(&door.device).unwrap();
    assert!(!fed.is_empty() && !fed.contains(&b'V'), "{fed:?}");
    // Whatever else comes was said before.
    door.heard.clear();
    door.signal("-KILL");
    door.child.wait().unwrap();
    while let Ok(len) = door.socket.recv(&mut [0; 256]) {
        assert_eq!(len, 0, "nothing is said any more");
    }
    let (code, at_rest, stopped) = door.ended();
    assert_eq!((code, at_rest, stopped), (None, true, false));
}

#[test]
fn a_loop_that_panics_ends_the_process_for_the_supervisor_to_start_again() {
    // The loop looks at the button between two frames, and within one, where a panic is a fault of that frame.
    let panic = "{ part = \"button\", harm = \"panic\"";
    let mut door = Supervised::start(&format!("{panic}, after = 60 }}, {panic} }}"));
    assert_eq!(door.ended(), (Some(4), true, false));
}
