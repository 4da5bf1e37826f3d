//! A real `facelatchd` that watches a stranger, paired with an admin and an operator, with a bundle in use.

use std::{
    fs,
    net::TcpStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use facelatch_protocol::{
    DisplayName, PairingCode, PublicKey, Request, Response, Role, SpaceName, Status,
    bundle::PartKind,
    session::{Order, PairRequest, Versions},
};
use facelatch_tests::{door::Door, watch::watching_with};
use tempfile::TempDir;

use crate::far_end::{
    DEADLINE, FarEnd,
    bundles::{Bundle, PartFile, bundle, push, trusted},
    connect,
};

/// Secret of the paired admin.
pub(crate) const ADMIN: [u8; 32] = [1; 32];
/// Secret of the paired operator.
pub(crate) const OPERATOR: [u8; 32] = [2; 32];
/// Secret of nobody.
pub(crate) const STRANGER: [u8; 32] = [3; 32];
/// Counter of the bundle in use.
pub(crate) const COUNTER: u64 = 10;
/// Largest bundle taken.
pub(crate) const MAX_BUNDLE: u64 = 1 << 20;

/// Frames come fast, so that many are judged beside every case.
const SETTINGS: &str = "\
[camera]
frame_interval_ms = 20
[link]
frame_timeout_ms = 1000
write_timeout_ms = 1000
max_bundle_bytes = 1048576
[update]
trial_frames = 1000000
";

pub(crate) type End = FarEnd<TcpStream>;

pub(crate) struct Stage {
    pub(crate) door: Door,
    pub(crate) key: PublicKey,
    folder: TempDir,
}

impl Stage {
    pub(crate) fn start() -> Stage {
        let folder = TempDir::new().unwrap();
        let door_data = folder.path().join("door");
        let changes = [
            ("frames_per_photo = 10", "frames_per_photo = 6"),
            ("gap_frames = 40", "gap_frames = 2"),
            (
                "clock = \"system\"",
                "clock = \"system\"\nrelay_record = \"relay.jsonl\"",
            ),
        ];
        let door = Door::start(&mut watching_with(
            &door_data,
            &["biden.jpg"],
            SETTINGS,
            &changes,
        ));
        let code = door.pairing_code();
        let admin = wants(Role::Admin);
        let (key, _) = connect(door.address())
            .pair(&ADMIN, &code, &admin, Order::Next)
            .unwrap();
        let stage = Stage { door, key, folder };
        let code = stage.open_window(Role::Operator);
        let mut operator = stage.raw();
        let wants = wants(Role::Operator);
        operator
            .pair(&OPERATOR, &code, &wants, Order::Next)
            .unwrap();
        let pushed = push(&mut stage.admin(), &stage.empty_bundle(COUNTER));
        assert!(matches!(pushed, Response::Bundle(_)), "{pushed:?}");
        stage
    }

    /// A connection, nothing said yet.
    pub(crate) fn raw(&self) -> End {
        connect(self.door.address())
    }

    /// A connection that has agreed on versions.
    pub(crate) fn greeted(&self) -> (End, Versions) {
        let mut end = self.raw();
        let versions = end.hello().unwrap();
        (end, versions)
    }

    pub(crate) fn admin(&self) -> End {
        self.session(&ADMIN)
    }

    pub(crate) fn operator(&self) -> End {
        self.session(&OPERATOR)
    }

    pub(crate) fn session(&self, secret: &[u8; 32]) -> End {
        let mut end = self.raw();
        end.open(secret, &self.key, Order::Next).unwrap();
        end
    }

    /// Opens the pairing window, by the admin.
    pub(crate) fn open_window(&self, role: Role) -> PairingCode {
        match self.admin().ask(Request::PairingOpen { role }) {
            Response::Pairing { code, .. } => PairingCode::parse(&code).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn status(&self) -> Status {
        match self.admin().ask(Request::Status) {
            Response::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// How the door is once it has judged another frame.
    pub(crate) fn wait_for_frame_after(&self, frames: u64) -> Status {
        let since = Instant::now();
        loop {
            let status = self.status();
            if status.frames > frames {
                return status;
            }
            assert!(since.elapsed() < DEADLINE, "no frame is judged any more");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn space(&self) -> SpaceName {
        self.status().space.unwrap()
    }

    pub(crate) fn bundle(&self, counter: u64, parts: &[PartFile]) -> Bundle {
        bundle(counter, &self.space(), parts)
    }

    /// A bundle with nobody in it.
    pub(crate) fn empty_bundle(&self, counter: u64) -> Bundle {
        self.bundle(counter, &[(PartKind::Gallery, "gallery", vec![])])
    }

    /// Peak resident memory of the daemon, in kB.
    pub(crate) fn peak_memory_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.door.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let digits = line.unwrap().split_whitespace().nth(1);
        digits.unwrap().parse().unwrap()
    }

    /// How often the latch was let go.
    pub(crate) fn unlocked(&self) -> usize {
        let record: PathBuf = self.folder.path().join("relay.jsonl");
        let record = fs::read_to_string(record).unwrap();
        record.matches("\"unlocked\"").count()
    }
}

pub(crate) fn wants(role: Role) -> PairRequest {
    PairRequest {
        name: DisplayName::parse("test host").unwrap(),
        role,
        keys: Some(trusted()),
    }
}
