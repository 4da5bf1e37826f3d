//! Sets a simulated door up: people enrolled from the demo's photos, a manual clock, visitors that come when told.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use facelatch_boards::{
    BoardFile, CameraFacts, Latch,
    sim::{ClockKind, Edge, Visitor},
};
use facelatch_device::{
    Config, Device, Settings, StopAfter, Supervisor,
    audit::{Audit, Entry, Limits, What},
    gallery::{self, Gallery, Incoming},
    hosts::{Hosts, Pairing},
    seal::DeviceKeys,
};
use facelatch_models::{
    align::align,
    facenet::Embedder,
    liveness::Level,
    mtcnn::{DetectorConfig, main_face},
    zoo::Zoo,
};
use facelatch_protocol::{
    Digest, DisplayName, EventKind, GalleryRecord, PersonId, Reason, Role, SpaceName, Template,
    TemplateKey,
};
use tempfile::TempDir;

use crate::{far_end::bundles::trusted, host::admin_key};

/// Longer than anything here takes, unless it is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) struct Stage {
    pub(crate) dir: TempDir,
    pub(crate) board: BoardFile,
    pub(crate) config: Config,
    pub(crate) stop_after: StopAfter,
    pub(crate) supervisor: Supervisor,
}

/// What a visit came to.
pub(crate) type Visit = (bool, Reason, Option<String>);

pub(crate) fn photo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/data/demo")
        .join(name)
}

pub(crate) fn zoo() -> Zoo {
    Zoo::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/zoo")).unwrap()
}

/// What a door without a bundle uses.
pub(crate) fn default_embedder() -> Embedder {
    let zoo = zoo();
    zoo.embedder(zoo.manifest().default_embedder()).unwrap()
}

/// One template of each person of the demo, made once.
pub(crate) fn records() -> &'static [GalleryRecord] {
    static RECORDS: OnceLock<Vec<GalleryRecord>> = OnceLock::new();
    RECORDS.get_or_init(|| {
        let mut detector = zoo().detector(DetectorConfig::default()).unwrap();
        let mut embedder = default_embedder();
        let people = [
            ("barack_obama", "enroll/barack_obama/obama.jpg"),
            ("eileen_collins", "enroll/eileen_collins/astronaut.png"),
        ];
        people
            .map(|(person, file)| {
                let image = facelatch_models::image::open(&photo(file)).unwrap();
                let faces = detector.detect(&image).unwrap();
                let crop = align(
                    &image,
                    main_face(&faces, &image).unwrap(),
                    embedder.crop_spec(),
                );
                let embedding = embedder.embed_template(&crop).unwrap();
                GalleryRecord {
                    key: TemplateKey {
                        person: id(person),
                        index: 0,
                    },
                    name: DisplayName::parse(person).unwrap(),
                    created_unix_ms: 1,
                    template: Template {
                        space: SpaceName::parse(embedding.space().as_str()).unwrap(),
                        values: embedding.values().iter().copied().collect(),
                    },
                }
            })
            .to_vec()
    })
}

pub(crate) fn id(text: &str) -> PersonId {
    PersonId::parse(text).unwrap()
}

impl Stage {
    /// A door with nobody enrolled, paired with the test's host.
    pub(crate) fn empty() -> Stage {
        let stage = Stage::unpaired();
        stage.pair();
        stage
    }

    /// A door at its first start.
    pub(crate) fn unpaired() -> Stage {
        let mut board = BoardFile::named("sim").unwrap();
        board.sim.clock = ClockKind::Manual;
        let CameraFacts::Replay(replay) = &mut board.camera else {
            panic!("the simulated board plays a replay");
        };
        replay.gap_frames = 3;
        let mut config = Config::default();
        config.link.tcp_listen = "127.0.0.1:0".to_owned();
        // Photos stand for people here.
        config.liveness.level = Level::Off;
        let dir = TempDir::new().unwrap();
        Stage {
            dir,
            board,
            config,
            stop_after: StopAfter::Never,
            supervisor: Supervisor::default(),
        }
    }

    /// As after a pairing: one admin, whose keys sign bundles.
    fn pair(&self) {
        let folder = self.data().join("keys");
        let hosts = Hosts::open(&folder, &self.keys()).unwrap();
        let now = Instant::now();
        let window = hosts.open_window(Role::Admin, now, DEADLINE).unwrap();
        let admin = Pairing {
            host: admin_key(),
            name: DisplayName::parse("test host").unwrap(),
            role: Role::Admin,
            keys: Some(trusted()),
            code: window.code,
        };
        hosts.pair(&admin, 1, now).unwrap();
    }

    pub(crate) fn keys(&self) -> DeviceKeys {
        DeviceKeys::open(&self.data().join("keys"), true).unwrap()
    }

    /// A door with the demo's two people enrolled.
    pub(crate) fn enrolled() -> Stage {
        let stage = Stage::empty();
        let limits = gallery::Limits {
            people: 10,
            templates: 10,
        };
        let folder = stage.data().join("gallery");
        let mut gallery = Gallery::open(&folder, &stage.keys().sealing, limits).unwrap();
        let space = records()[0].template.space.to_string();
        gallery
            .take_over(&Incoming {
                bundle: Digest([7; 32]),
                space: &space,
                records: Some(records()),
                classifier: None,
                replace: false,
            })
            .unwrap();
        gallery.confirm().unwrap();
        stage
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("door")
    }

    pub(crate) fn start(&self) -> Device {
        self.try_start().unwrap()
    }

    pub(crate) fn try_start(&self) -> Result<Device, facelatch_device::Error> {
        Device::start(Settings {
            board: self.board.clone(),
            data: self.data(),
            config: self.config.clone(),
            zoo: Some(zoo().dir().to_owned()),
            stop_after: self.stop_after,
            show_codes: false,
            supervisor: self.supervisor.clone(),
        })
    }

    /// Every audit record of a door that has stopped.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let folder = self.data().join("audit");
        Audit::verify(&folder).unwrap();
        let limits = Limits {
            records_per_file: 4096,
            files: 16,
        };
        Audit::open(&folder, limits).unwrap().entries().unwrap()
    }

    /// Its decisions.
    pub(crate) fn visits(&self) -> Vec<Visit> {
        let visit = |entry: Entry| match entry.what {
            What::Event(EventKind::Decision {
                granted,
                reason,
                person,
                ..
            }) => Some((granted, reason, person.map(|p| p.to_string()))),
            _ => None,
        };
        self.entries().into_iter().filter_map(visit).collect()
    }
}

/// Sends a visitor and waits until it has been shown.
pub(crate) fn show(device: &Device, visitor: Visitor) {
    let sim = device.sim().unwrap();
    sim.visitors.arrive(visitor);
    assert!(
        sim.visitors.wait_until_shown(DEADLINE),
        "the door stopped taking frames"
    );
}

pub(crate) fn visitor(file: &str) -> Visitor {
    Visitor {
        frames: Some(6),
        ..Visitor::photo(photo(file))
    }
}

/// What the latch did, oldest first.
pub(crate) fn latch(device: &Device) -> Vec<Edge> {
    device.sim().unwrap().relay.edges()
}

pub(crate) fn was_unlocked(edges: &[Edge]) -> bool {
    edges.iter().any(|edge| edge.latch == Latch::Unlocked)
}
