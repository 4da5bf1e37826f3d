//! A whole door on the sim board in this process, its host's workspace, and people who do what the door's light asks for.

use std::path::Path;
use std::time::Duration;

use facelatch_boards::sim::{Handle, Picture, Visitor};
use facelatch_boards::{BoardFile, CameraFacts, Gap, Latch, Pattern, sim::ClockKind};
use facelatch_device::audit::{Audit, Limits, What};
use facelatch_device::{Config, Device, Settings, StopAfter, Supervisor};
use facelatch_host::pad::sitter::Sitter;
use facelatch_models::image::open;
use facelatch_models::liveness::Level;
use facelatch_models::mtcnn::{DetectorConfig, main_face};
use facelatch_models::zoo::Zoo;
use facelatch_protocol::{Enrollment, EventKind};
use facelatch_tests::PATIENCE;
use facelatch_tests::programs::{data, root};
use facelatch_tests::workspace::Workspace;
use image::RgbImage;
use tempfile::TempDir;

/// How long the button is held to enroll.
pub(crate) const HELD: Duration = Duration::from_millis(1_200);
/// How long anybody stands in front of the camera for one look.
const FRAMES: u32 = 6;
/// Longest time anybody sits for an enrollment.
const SITTING_FRAMES: u32 = 400;

/// The door's data, and the workspace beside it.
pub(crate) struct Stage {
    folder: TempDir,
    pub(crate) host: Workspace,
}

/// A running door.
pub(crate) struct Door {
    device: Device,
    pub(crate) sim: Handle,
}

impl Stage {
    /// A door with one person, who may vouch for others.
    pub(crate) fn new() -> Stage {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let host = Workspace::new(&folder.path().join("home"));
        let stage = Stage { folder, host };
        let photos = stage.at("photos/eileen_collins");
        std::fs::create_dir_all(&photos).expect("a new folder");
        let photo = data("demo/enroll/eileen_collins/astronaut.png");
        std::fs::copy(photo, photos.join("astronaut.png")).expect("a shipped photo");
        let photos = stage.at("photos");
        stage.host.done(&["enroll", &photos.to_string_lossy()]);
        stage.host.done(&["train"]);
        let policy = "zone = \"UTC\"\n[people.eileen_collins]\nadmin = true\n";
        std::fs::write(stage.host.home().policy_path(), policy).expect("a small file");
        let door = stage.start();
        let code = door.device.pairing_code().expect("a new door");
        let code = code.to_string();
        stage
            .host
            .done(&["pair", "--to", &door.to(), "--code", &code]);
        stage.push(&door);
        door.stop();
        stage
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn start(&self) -> Door {
        let mut board = BoardFile::named("sim").expect("built in");
        board.sim.clock = ClockKind::Manual;
        let CameraFacts::Replay(replay) = &mut board.camera else {
            panic!("the simulated board plays a replay");
        };
        (replay.gap, replay.gap_frames) = (Gap::Nothing, 2);
        let mut config = Config::default();
        config.link.tcp_listen = "127.0.0.1:0".to_owned();
        config.enroll.button = true;
        // The manual clock follows real time while nobody is there: a slow machine must not run out of it.
        config.enroll.window_ms = 300_000;
        config.enroll.pose_ms = 30_000;
        config.update.trial_frames = 1;
        // Whoever is not asked to turn stands here as a photo does.
        config.liveness.level = Level::Off;
        let device = Device::start(Settings {
            board,
            data: self.at("door"),
            config,
            zoo: Some(root().join("models/zoo")),
            stop_after: StopAfter::Never,
            show_codes: false,
            supervisor: Supervisor::default(),
        })
        .expect("it starts");
        let sim = device.sim().expect("simulated").clone();
        let door = Door { device, sim };
        door.photo("rocket.jpg");
        door
    }

    /// What the workspace holds, to the door; proven by a look at nobody.
    pub(crate) fn push(&self, door: &Door) {
        self.host.done(&["push", "--no-wait", "--to", &door.to()]);
        door.photo("rocket.jpg");
    }

    /// Everything on record, of a door that has stopped.
    pub(crate) fn record(&self) -> Vec<What> {
        let folder = self.at("door/audit");
        Audit::verify(&folder).expect("the chain holds");
        let limits = Limits {
            records_per_file: 4_096,
            files: 16,
        };
        let audit = Audit::open(&folder, limits).expect("a record");
        let entries = audit.entries().expect("a record");
        entries.into_iter().map(|entry| entry.what).collect()
    }

    /// The steps of enrollments on record.
    pub(crate) fn steps(&self) -> Vec<Enrollment> {
        let step = |what| match what {
            What::Event(EventKind::Enrollment(step)) => Some(step),
            _ => None,
        };
        self.record().into_iter().filter_map(step).collect()
    }
}

impl Door {
    /// Where it listens.
    pub(crate) fn to(&self) -> String {
        let address = self.device.tcp_address().expect("it listens");
        address.to_string()
    }

    pub(crate) fn stop(self) {
        self.device.stop();
        self.device.join().expect("stopped in order");
    }

    /// Somebody comes, stays for a moment and goes.
    pub(crate) fn show(&self, image: RgbImage, label: &str, frames: u32) {
        self.sim.visitors.arrive(Visitor {
            picture: Picture::Pixels(image),
            label: label.to_owned(),
            frames: Some(frames),
            brightness: 1.0,
        });
        assert!(
            self.sim.visitors.wait_until_shown(PATIENCE),
            "the door stopped taking frames"
        );
    }

    /// A visitor of the demo.
    pub(crate) fn photo(&self, name: &str) {
        let image = open(&data("demo/visitors").join(name)).expect("a shipped photo");
        self.show(image, name, FRAMES);
    }

    /// The button is held, and the admin looks into the camera.
    pub(crate) fn vouch(&self) {
        self.sim.panel.press(HELD);
        self.photo("rocket.jpg");
        assert_eq!(self.light(), Pattern::ShowAdmin);
        let admin = data("demo/enroll/eileen_collins/astronaut.png");
        self.show(open(&admin).expect("a shipped photo"), "admin", FRAMES);
    }

    /// What the indicator shows.
    pub(crate) fn light(&self) -> Pattern {
        let shown = self.sim.panel.shown();
        shown.last().expect("it shows something").pattern
    }

    /// Somebody does what the light asks for, until it asks for nothing any more; what it showed then.
    pub(crate) fn follow(&self, sitter: &Sitter) -> Pattern {
        self.sim.visitors.arrive(Visitor {
            frames: Some(SITTING_FRAMES),
            ..Visitor::moving("newcomer", sitter.clone().obeying(&self.sim.panel))
        });
        assert!(
            self.sim.visitors.wait_until_shown(PATIENCE),
            "the door stopped taking frames"
        );
        self.light()
    }

    /// Whether anybody was let in since it began.
    pub(crate) fn was_unlocked(&self) -> bool {
        let edges = self.sim.relay.edges();
        edges.iter().any(|edge| edge.latch == Latch::Unlocked)
    }

    /// Lets enough time pass for the door to lock again.
    pub(crate) fn wait(&self) {
        let clock = self.sim.clock.as_ref().expect("a manual clock");
        clock.advance(Duration::from_secs(6));
        self.photo("rocket.jpg");
    }
}

/// The face of a photo, on a head that turns.
pub(crate) fn sitter(photo: &Path) -> Sitter {
    let zoo = Zoo::open(&root().join("models/zoo")).expect("the networks that ship");
    let mut detector = zoo.detector(DetectorConfig::default()).expect("a detector");
    let image = open(photo).expect("a shipped photo");
    let faces = detector.detect(&image).expect("it runs");
    let face = main_face(&faces, &image).expect("one face");
    Sitter::new(&image, face).expect("landmarks")
}
