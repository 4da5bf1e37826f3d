//! The door under test: its data folder survives, its process does not.

use std::{
    net::TcpStream,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use facelatch_protocol::{
    DisplayName, PublicKey, Role,
    session::{Order, PairRequest},
};
use facelatch_tests::{door::Door, watch::watching_with};
use tempfile::TempDir;

use crate::far_end::{FarEnd, bundles::trusted, connect};

const ADMIN: [u8; 32] = [1; 32];

/// Frames as fast as they may come, trials that end soon, and a record that keeps everything.
const SETTINGS: &str = "\
[camera]
frame_interval_ms = 20
[update]
trial_frames = 4
trial_starts = 100
[audit]
records_per_file = 128
files = 10000
[gallery]
max_people = 100000
";

/// Where doors live and die.
pub(crate) struct Stage {
    folder: TempDir,
    key: std::cell::OnceCell<PublicKey>,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        Stage {
            folder: TempDir::new().unwrap(),
            key: std::cell::OnceCell::new(),
        }
    }

    fn command(&self) -> Command {
        let changes = [
            ("frame_interval_ms = 100", "frame_interval_ms = 20"),
            ("frames_per_photo = 10", "frames_per_photo = 6"),
            ("gap_frames = 40", "gap_frames = 2"),
        ];
        let door = self.folder.path().join("door");
        let mut command = watching_with(&door, &["biden.jpg"], SETTINGS, &changes);
        command.env("RUST_LOG", "warn,facelatch_device::link=info");
        command
    }

    /// Starts for the first time, pairs, and is killed when the session is dropped.
    pub(crate) fn first_session(&self) -> Session {
        let door = Door::start(&mut self.command());
        let code = door.pairing_code();
        let wants = PairRequest {
            name: DisplayName::parse("test host").unwrap(),
            role: Role::Admin,
            keys: Some(trusted()),
        };
        let mut end = connect(door.address());
        let (key, _) = end.pair(&ADMIN, &code, &wants, Order::Next).unwrap();
        self.key.set(key).unwrap();
        Session {
            end,
            _door: Some(door),
        }
    }

    /// Starts; a door that does not is what must never be.
    pub(crate) fn start(&self) -> Door {
        Door::start(&mut self.command())
    }

    /// An admin's session, that ends with its door.
    pub(crate) fn session(&self, door: &Door) -> Session {
        let mut end = connect(door.address());
        let key = self.key.get().unwrap();
        end.open(&ADMIN, key, Order::Next).unwrap();
        Session { end, _door: None }
    }

    /// Starts, and is killed whatever it has come to by then.
    pub(crate) fn start_and_kill_after(&self, life: Duration) {
        let mut child = self
            .command()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(life);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// A session, perhaps with the door it is with.
pub(crate) struct Session {
    pub(crate) end: FarEnd<TcpStream>,
    _door: Option<Door>,
}
