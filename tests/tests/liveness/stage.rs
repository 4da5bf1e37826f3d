//! A simulated door with one person enrolled, in this process, and photos as the generator of synthetic clips needs them.

use std::{cell::RefCell, path::Path, process::Command, sync::OnceLock, time::Duration};

use facelatch_boards::{
    BoardFile, CameraFacts, Latch,
    sim::{ClockKind, Handle, Panel, Visitor},
};
use facelatch_device::{
    Config, Device, Settings, StopAfter, Supervisor,
    audit::{Audit, Limits, What},
    gallery::{self, Gallery, Incoming},
    seal::DeviceKeys,
};
use facelatch_host::pad::{actor::EYE_PX, scene::Photo};
use facelatch_models::{
    align::align,
    mtcnn::{DetectorConfig, main_face},
    zoo::Zoo,
};
use facelatch_protocol::{
    Digest, DisplayName, EventKind, GalleryRecord, PersonId, Reason, SpaceName, Template,
    TemplateKey,
};
use facelatch_tests::programs::{data, program, root};
use tempfile::TempDir;

/// Longer than a visit takes, unless something is broken.
const DEADLINE: Duration = Duration::from_secs(300);

fn zoo() -> Zoo {
    Zoo::open(&root().join("models/zoo")).expect("the networks that ship")
}

/// A shipped photo, with its face's place in it.
pub(crate) fn photo(file: &str) -> Photo {
    let image = facelatch_models::image::open(&data("demo").join(file)).expect("a shipped photo");
    let mut detector = zoo()
        .detector(DetectorConfig::default())
        .expect("the networks");
    let faces = detector.detect(&image).expect("they run");
    let face = main_face(&faces, &image).expect("a face");
    Photo::new(&image, face, EYE_PX).expect("landmarks")
}

fn record() -> &'static GalleryRecord {
    static RECORD: OnceLock<GalleryRecord> = OnceLock::new();
    RECORD.get_or_init(|| {
        let file = data("demo").join("enroll/barack_obama/obama.jpg");
        let image = facelatch_models::image::open(&file).expect("a shipped photo");
        let mut detector = zoo()
            .detector(DetectorConfig::default())
            .expect("the networks");
        let default = zoo().manifest().default_embedder().to_owned();
        let mut embedder = zoo().embedder(&default).expect("the networks");
        let faces = detector.detect(&image).expect("they run");
        let face = main_face(&faces, &image).expect("a face");
        let crop = align(&image, face, embedder.crop_spec());
        let embedding = embedder.embed_template(&crop).expect("they run");
        GalleryRecord {
            key: TemplateKey {
                person: PersonId::parse(crate::PERSON).expect("an id"),
                index: 0,
            },
            name: DisplayName::parse("somebody").expect("a name"),
            created_unix_ms: 1,
            template: Template {
                space: SpaceName::parse(embedding.space().as_str()).expect("a space"),
                values: embedding.values().iter().copied().collect(),
            },
        }
    })
}

/// The networks that ship and one for liveness: MTCNN's R-Net, which tells faces from what is none. `live` is the number of
/// the output that is taken for a living face: 1 is R-Net's for a face, 0 that for none.
pub(crate) fn zoo_with_liveness(live: usize) -> TempDir {
    let dir = TempDir::new().expect("a temporary folder");
    let faces = dir.path().join("faces.onnx");
    let shipped = zoo().dir().join("mtcnn-rnet-int8.onnx");
    std::fs::copy(shipped, &faces).expect("a copy");
    let added = Command::new(program("facelatch"))
        .args(["models", "add", "--role", "liveness", "--threshold", "0.5"])
        .args(["--licence", "MIT", "--live"])
        .arg(live.to_string())
        .arg("--out")
        .arg(dir.path())
        .arg(&faces)
        .env("FACELATCH_ZOO", zoo().dir())
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&added.stderr);
    assert!(added.status.success(), "{said}");
    dir
}

/// A running door.
pub(crate) struct Door {
    device: RefCell<Option<Device>>,
    panel: Panel,
    sim: Handle,
    dir: TempDir,
}

impl Door {
    pub(crate) fn start(change: impl FnOnce(&mut Config)) -> Door {
        Door::with_networks(zoo().dir(), change)
    }

    /// A door with the networks of a folder of its own.
    pub(crate) fn with_networks(zoo: &Path, change: impl FnOnce(&mut Config)) -> Door {
        let dir = TempDir::new().expect("a temporary folder");
        let data = dir.path().join("door");
        let keys = DeviceKeys::open(&data.join("keys"), true).expect("new keys");
        let limits = gallery::Limits {
            people: 10,
            templates: 10,
        };
        let mut gallery =
            Gallery::open(&data.join("gallery"), &keys.sealing, limits).expect("a new gallery");
        gallery
            .take_over(&Incoming {
                bundle: Digest([7; 32]),
                space: &record().template.space,
                records: Some(std::slice::from_ref(record())),
                classifier: None,
                replace: false,
            })
            .expect("one person");
        gallery.confirm().expect("one person");
        drop(gallery);
        let mut board = BoardFile::named("sim").expect("built in");
        board.sim.clock = ClockKind::Manual;
        let CameraFacts::Replay(replay) = &mut board.camera else {
            panic!("the simulated board plays a replay");
        };
        replay.frame_interval_ms = 125;
        // Long enough for the door to lock again.
        replay.gap_frames = 8;
        let mut config = Config::default();
        config.link.tcp_listen = String::new();
        config.door.unlock_ms = 500;
        // One door for all of them, one after the other.
        config.lockout.denials = 0;
        change(&mut config);
        let device = Device::start(Settings {
            board,
            data,
            config,
            zoo: Some(zoo.to_owned()),
            stop_after: StopAfter::Never,
            show_codes: false,
            supervisor: Supervisor::default(),
        })
        .expect("a door");
        let sim = device.sim().expect("a simulated board").clone();
        Door {
            panel: sim.panel.clone(),
            sim,
            device: Some(device).into(),
            dir,
        }
    }

    pub(crate) fn panel(&self) -> &Panel {
        &self.panel
    }

    /// Lets somebody come and go.
    pub(crate) fn show(&self, visitor: Visitor) {
        self.sim.visitors.arrive(visitor);
        assert!(
            self.sim.visitors.wait_until_shown(DEADLINE),
            "the door stopped taking frames"
        );
    }

    pub(crate) fn was_unlocked(&self) -> bool {
        let edges = self.sim.relay.edges();
        edges.iter().any(|edge| edge.latch == Latch::Unlocked)
    }

    /// Stops the door; everything that happened, from its audit record.
    pub(crate) fn stop(&self) -> Vec<EventKind> {
        if let Some(device) = self.device.borrow_mut().take() {
            device.stop();
            device.join().expect("stopped in order");
        }
        self.events()
    }

    fn events(&self) -> Vec<EventKind> {
        let folder = self.dir.path().join("door").join("audit");
        let limits = Limits {
            records_per_file: 4096,
            files: 16,
        };
        let audit = Audit::open(&folder, limits).expect("an audit record");
        let entries = audit.entries().expect("a sound one");
        let event = |what| match what {
            What::Event(kind) => Some(kind),
            _ => None,
        };
        entries
            .into_iter()
            .filter_map(|entry| event(entry.what))
            .collect()
    }

    /// Whether each visit was granted, and why, so far.
    pub(crate) fn decisions(&self) -> Vec<(bool, Reason)> {
        let decision = |event: &EventKind| match event {
            EventKind::Decision {
                granted, reason, ..
            } => Some((*granted, *reason)),
            _ => None,
        };
        self.events().iter().filter_map(decision).collect()
    }

    /// Whom each decision names.
    pub(crate) fn people(&self) -> Vec<Option<String>> {
        let person = |event: &EventKind| match event {
            EventKind::Decision { person, .. } => Some(person.as_ref().map(ToString::to_string)),
            _ => None,
        };
        self.events().iter().filter_map(person).collect()
    }
}
