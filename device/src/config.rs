//! `device.toml`: every setting of a door with its name, default, range and explanation, each said once, in [`Config`].
//!
//! The file is written with all defaults at the first start. Unknown keys are refused naming the nearest known one.
//! What the board is wired to stands in the board's own file, not here. Called by `lib` at start.

use std::{fs, path::Path, time::Duration};

use facelatch_boards::{BoardFile, Latch, nearest};
use facelatch_models::{liveness::Level, mtcnn::DetectorConfig, openset::Gate};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::{
    attempts, audit, door, enroll,
    error::Error,
    link, live, motion,
    quality::{self, Several},
    track, vote,
};

/// Declares a section's struct, its defaults, its ranges and the comments of the written file in one place.
macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $Section:ident {
            $($(#[doc = $doc:literal])+ $key:ident: $Type:ty = $default:expr $(, in $range:expr)?;)+
        }
    )+) => {
        /// All settings, section by section.
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Config {
            $($(#[doc = $section_doc])+ pub $section: $Section,)+
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            #[serde(default, deny_unknown_fields)]
            pub struct $Section {
                $($(#[doc = $doc])+ pub $key: $Type,)+
            }

            impl Default for $Section {
                fn default() -> Self {
                    $Section { $($key: $default,)+ }
                }
            }
        )+

        /// Sections in file order: name, explanation, and for each key its name and explanation.
        const DOCS: &[(&str, &[&str], &[(&str, &[&str])])] = &[$((
            stringify!($section),
            &[$($section_doc),+],
            &[$((stringify!($key), &[$($doc),+]),)+],
        ),)+];

        impl Config {
            /// The first value outside its range, in words.
            fn out_of_range(&self) -> Option<String> {
                $($($(
                    let range: std::ops::RangeInclusive<$Type> = $range;
                    if !range.contains(&self.$section.$key) {
                        return Some(format!(
                            "{}.{} is {:?}: give a value in {range:?}",
                            stringify!($section), stringify!($key), self.$section.$key,
                        ));
                    }
                )?)+)+
                None
            }
        }
    };
}

settings! {
    /// The camera.
    camera: Camera {
        /// Milliseconds from one frame to the next.
        frame_interval_ms: u64 = 100, in 20..=10_000;
        /// After the camera failed, it is opened again every so many milliseconds.
        retry_ms: u64 = 2_000, in 100..=600_000;
    }

    /// An idle door looks at a small grey picture (80 x 60 cells) and searches for faces when something moves in it.
    motion: MotionSettings {
        /// Whether it does; if not, every frame is searched.
        enabled: bool = true;
        /// A cell moves if its luma, 0 to 255, is this far from what is usual there.
        luma_change: f64 = 8.0, in 1.0..=255.0;
        /// This share of the cells has to move.
        cells_share: f64 = 0.002, in 0.0..=1.0;
        /// How many milliseconds every frame is searched after something has moved.
        awake_ms: u64 = 2_000, in 100..=60_000;
        /// A frame is searched at least every so many milliseconds, even if nothing moves.
        look_every_ms: u64 = 2_000, in 100..=60_000;
    }

    /// The face detector (MTCNN).
    detector: Detector {
        /// Smallest face looked for, in pixels of its shorter side. Smaller finds people further away and costs time.
        min_face_px: f64 = 40.0, in 12.0..=1000.0;
        /// Score a candidate needs to pass the proposal network.
        proposal_threshold: f64 = 0.6, in 0.05..=0.999;
        /// Score a candidate needs to pass the refinement network.
        refinement_threshold: f64 = 0.7, in 0.05..=0.999;
        /// Score a face needs in the end.
        output_threshold: f64 = 0.7, in 0.05..=0.999;
        /// Scale from one level of the image pyramid to the next.
        pyramid_factor: f64 = 0.709, in 0.4..=0.9;
        /// Known faces are followed; every so many milliseconds the whole frame is searched for others. 0 for every frame.
        search_every_ms: u64 = 400, in 0..=2_000;
    }

    /// Which faces are good enough to be judged. Luma is 0 (black) to 255 (white).
    quality: Quality {
        /// A scene is dark if less than 2 % of its pixels are brighter than this luma.
        scene_luma_min: u8 = 28;
        /// Least mean luma of a face.
        face_luma_min: f64 = 30.0, in 0.0..=255.0;
        /// Largest mean luma of a face.
        face_luma_max: f64 = 235.0, in 0.0..=255.0;
        /// Least width of a face, in pixels.
        face_width_min_px: f64 = 40.0, in 12.0..=4000.0;
        /// Least sharpness: variance of the Laplacian over variance of the face. Sharp photos have 0.1 to 0.9.
        sharpness_min: f64 = 0.06, in 0.0..=10.0;
        /// Largest turn of the head to either side, in degrees.
        yaw_max_deg: f64 = 40.0, in 1.0..=90.0;
        /// Largest turn of the head up or down, in degrees.
        pitch_max_deg: f64 = 30.0, in 1.0..=90.0;
        /// Largest tilt of the head, in degrees.
        roll_max_deg: f64 = 30.0, in 1.0..=180.0;
        /// Least share of the face's box inside the frame.
        inside_min: f64 = 0.97, in 0.5..=1.0;
        /// Several faces near the door at once. "nearest" judges the nearest alone, if it dominates. "all-known" lets
        /// people in who are all known. "nearest-or-known" takes either. "refuse" lets nobody in.
        several_faces: Several = Several::NearestOrKnown;
        /// The nearest face dominates if it is so many times larger than any other, by area.
        nearest_dominance: f64 = 1.5, in 1.0..=100.0;
        /// A face is near the door if it has this share of the nearest's area: 0.25 is twice as far away.
        near_share: f64 = 0.25, in 0.0..=1.0;
    }

    /// When a face is somebody.
    recognition: Recognition {
        /// What maps faces to numbers while no bundle says so: "facenet", "mobilefacenet" or "fused"; empty for what the people
        /// are enrolled with or, without any, for the default of the networks installed.
        network: String = String::new();
        /// Largest cosine distance to the person's nearest template, 0 for what was measured for the networks in use; it
        /// tightens as more people are enrolled.
        max_distance: f64 = 0.0, in 0.0..=1.0;
        /// How much further the second-nearest person has to be.
        min_margin: f64 = plain(Gate::default().min_margin), in 0.0..=1.0;
        /// Least probability the classifier gives the person.
        min_probability: f64 = plain(Gate::default().min_probability), in 0.0..=1.0;
    }

    /// How many frames have to agree.
    vote: VoteSettings {
        /// Frames that have to name the same person.
        needed: usize = 3, in 1..=100;
        /// Out of this many frames of one face.
        window: usize = 5, in 1..=100;
        /// A face not seen for longer than this many milliseconds is somebody new.
        max_gap_ms: u64 = 1_000, in 50..=60_000;
        /// A person who stays in front of the camera is let in again after this many milliseconds.
        repeat_ms: u64 = 3_000, in 0..=3_600_000;
        /// Least overlap (intersection over union) of a face's boxes in two frames to be the same face.
        min_overlap: f64 = 0.3, in 0.01..=0.95;
    }

    /// Is a recognised face a living one? See the README for what each level stops, and what not.
    liveness: LivenessSettings {
        /// "off", "passive" (weak signs of a picture), or "challenge" (turn your head as the light asks).
        level: Level = Level::Passive;
        /// Turns of the head that a challenge asks for, in a random order.
        turns: u8 = 2, in 2..=6;
    }

    /// The door.
    door: DoorSettings {
        /// How many milliseconds a grant, a request to exit or a remote unlock keeps the door unlocked.
        unlock_ms: u64 = 5_000, in 100..=300_000;
        /// Whether it locks as soon as the door has closed behind somebody; takes a door sensor.
        relock_on_close: bool = true;
        /// A door still open this many milliseconds after it locked is an alarm; 0 for never. Takes a door sensor.
        held_open_ms: u64 = 30_000, in 0..=3_600_000;
    }

    /// Enrolling at the door: an admin's face vouches, then the newcomer is led through a few poses.
    enroll: Enroll {
        /// Whether the button enrolls at all. A host can, in any case.
        button: bool = false;
        /// Holding the button for this many milliseconds begins it; less than pairing.hold_ms.
        hold_ms: u64 = 1_000, in 0..=60_000;
        /// It has to be over within this many milliseconds.
        window_ms: u64 = 60_000, in 1_000..=600_000;
        /// A pose that does not come within this many milliseconds is left out.
        pose_ms: u64 = 5_000, in 500..=60_000;
        /// Good frames of one face that become the person's templates.
        frames: usize = 5, in 1..=20;
        /// Least milliseconds between two of them, so that they differ.
        spacing_ms: u64 = 400, in 0..=10_000;
    }

    /// Lockout after denials in a row: for faces at this door, and for each person's PIN. A host can end it.
    lockout: LockoutSettings {
        /// So many denials in a row lock for a while; 0 for never.
        denials: u32 = 5, in 0..=1_000;
        /// For how many milliseconds the first time; it doubles each further time.
        first_ms: u64 = 30_000, in 1_000..=3_600_000;
        /// For how many milliseconds at most.
        longest_ms: u64 = 900_000, in 1_000..=86_400_000;
        /// So many denials in a row lock until a host ends it; 0 for never.
        disable_after: u32 = 50, in 0..=100_000;
    }

    /// The PIN beside the face, for people whose policy asks for one.
    pin: PinSettings {
        /// How many milliseconds there are to type it.
        timeout_ms: u64 = 15_000, in 3_000..=120_000;
    }

    /// Who may pass when: the policy comes with a bundle, and these settings say how this door reads it.
    policy: PolicySettings {
        /// This door's name in the policy; empty for link.name.
        door: String = String::new();
        /// When the time is known: "synchronised" by the system or a host, or "always", with a clock on battery.
        trust_clock: TrustClock = TrustClock::Synchronised;
    }

    /// The people.
    gallery: GallerySettings {
        /// Most people.
        max_people: u32 = 1_000, in 1..=100_000;
        /// Most templates of one person.
        max_templates_per_person: u32 = 64, in 1..=1_000;
    }

    /// How hosts reach this door. Only paired hosts are heard, over sealed sessions.
    link: LinkSettings {
        /// This door's name, told to hosts.
        name: String = "facelatch door".to_owned();
        /// Address and port to listen on; empty for none.
        tcp_listen: String = "0.0.0.0:7117".to_owned();
        /// Serial port to serve, such as /dev/ttyAMA0; empty for none.
        serial_port: String = String::new();
        /// Its speed, in bits a second.
        serial_baud: u32 = 115_200, in 1_200..=4_000_000;
        /// Most TCP sessions at once.
        max_sessions: usize = 8, in 1..=256;
        /// A frame must be complete this many milliseconds after its first byte, a handshake after its connection.
        frame_timeout_ms: u64 = 5_000, in 100..=600_000;
        /// A TCP session ends after this many milliseconds without a request, unless it listens to events.
        idle_timeout_ms: u64 = 60_000, in 1_000..=86_400_000;
        /// A peer that takes no bytes for this many milliseconds is given up.
        write_timeout_ms: u64 = 5_000, in 100..=600_000;
        /// A request must be answered within this many milliseconds; a bundle is checked and tried in it.
        reply_timeout_ms: u64 = 60_000, in 1_000..=3_600_000;
        /// Largest bundle taken, in bytes.
        max_bundle_bytes: u64 = 134_217_728, in 65_536..=4_294_967_296;
    }

    /// Pairing with hosts: with a code that the door shows. Without a paired admin it opens at every start.
    pairing: PairingSettings {
        /// How many milliseconds the pairing window stays open.
        window_ms: u64 = 600_000, in 10_000..=86_400_000;
        /// Holding the button for this many milliseconds opens it; 0 for never.
        hold_ms: u64 = 5_000, in 0..=60_000;
    }

    /// New bundles: each is on trial before it is trusted.
    update: Update {
        /// Frames a new bundle has to judge without a fault.
        trial_frames: u32 = 50, in 1..=1_000_000;
        /// A bundle that has not proved itself after this many starts is taken back.
        trial_starts: u32 = 3, in 1..=100;
    }

    /// The guard beside the loop. The loop judges frames, watches the inputs and locks the door.
    watchdog: WatchdogSettings {
        /// A loop that stands still for this many milliseconds loses the relay, which goes to rest. No watchdog is fed then.
        stall_ms: u64 = 4_000, in 500..=60_000;
        /// A camera that does not answer for this many milliseconds is a fault, and no watchdog is fed.
        camera_ms: u64 = 15_000, in 1_000..=600_000;
    }

    /// The audit record.
    audit: AuditSettings {
        /// Records in one file.
        records_per_file: u64 = 4_096, in 16..=65_536;
        /// Files kept; the oldest is deleted when a new one is begun.
        files: u64 = 16, in 2..=10_000;
    }
}

/// When the door knows what time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrustClock {
    /// Once the system's clock was set by a time server, or a host has told the time since the start.
    Synchronised,
    /// Whenever it shows a plausible time: a battery keeps it.
    Always,
}

impl Config {
    /// The defaults of a door on this board.
    ///
    /// # Errors
    /// A fact outside its range, in words.
    pub fn of_board(board: &BoardFile) -> Result<Config, String> {
        let mut config = Config::default();
        let (door, facts) = (&mut config.door, &board.door);
        door.unlock_ms = facts.unlock_ms.unwrap_or(door.unlock_ms);
        door.relock_on_close = facts.relock_on_close.unwrap_or(door.relock_on_close);
        door.held_open_ms = facts.held_open_ms.unwrap_or(door.held_open_ms);
        if let Some(serial) = &board.host_serial {
            config.link.serial_port = serial.device.to_string_lossy().into_owned();
            config.link.serial_baud = serial.baud;
        }
        match config.out_of_range() {
            Some(problem) => Err(format!("board file: {problem}")),
            None => Ok(config),
        }
    }

    /// Refuses settings that do not go with the board file. A camera that is silent for as long as its board file allows must
    /// not look like a loop that hangs: no watchdog would be fed.
    ///
    /// # Errors
    /// Which two do not go together, in words.
    pub fn suits(&self, board: &BoardFile) -> Result<(), String> {
        let patience = self.watchdog.camera_ms;
        match board.camera.timeout_ms() {
            Some(silent) if u64::from(silent) >= patience => Err(format!(
                "watchdog.camera_ms is {patience}: give more than the board file's camera.timeout_ms, {silent}"
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Reads the file, where a key left out has its value in `defaults`; writes it with all of those if there is none.
    ///
    /// # Errors
    /// [`Error::Config`] for anything the operator can correct, [`Error::Storage`] if it cannot be read or written.
    pub fn load_or_create(path: &Path, defaults: Config) -> Result<Config, Error> {
        match fs::read_to_string(path) {
            Ok(text) => Config::parse(&text, &defaults).map_err(|why| Error::Config {
                path: path.to_owned(),
                why,
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let config = defaults;
                fs::write(path, config.to_text()).map_err(Error::storage("write", path))?;
                Ok(config)
            }
            Err(e) => Err(Error::storage("read", path)(e)),
        }
    }

    /// Reads the text of a `device.toml`; a key left out has its value in `defaults`.
    ///
    /// # Errors
    /// What is wrong and what would be right, in words.
    pub fn parse(text: &str, defaults: &Config) -> Result<Config, String> {
        let table: Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
        for (section, value) in &table {
            let Some((_, _, keys)) = DOCS.iter().find(|(name, ..)| name == section) else {
                return Err(unknown(
                    "section",
                    section,
                    DOCS.iter().map(|(name, ..)| *name),
                ));
            };
            for (key, _) in value.as_table().into_iter().flatten() {
                if !keys.iter().any(|(name, _)| name == key) {
                    let what = format!("key {section}.");
                    return Err(unknown(&what, key, keys.iter().map(|(name, _)| *name)));
                }
            }
        }
        // Judged alone first, for messages that show the place in the text.
        let _: Config = toml::from_str(text).map_err(|e| e.to_string())?;
        let config = laid_over(defaults, table)?;
        if let Some(problem) = config.out_of_range() {
            return Err(problem);
        }
        if config.vote.window < config.vote.needed {
            return Err(format!(
                "vote.window is {}: give at least vote.needed, {}",
                config.vote.window, config.vote.needed
            ));
        }
        let (every, gap) = (config.camera.frame_interval_ms, config.vote.max_gap_ms);
        if config.vote.needed > 1 && every >= gap {
            return Err(format!(
                "camera.frame_interval_ms is {every}: give less than vote.max_gap_ms, {gap}, or no face is seen twice"
            ));
        }
        let pairing = config.pairing.hold_ms;
        if pairing > 0 && config.enroll.hold_ms >= pairing {
            return Err(format!(
                "enroll.hold_ms is {}: give less than pairing.hold_ms, {pairing}",
                config.enroll.hold_ms
            ));
        }
        Ok(config)
    }

    /// The file's text: every key with its explanation.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::from(
            "# Settings of this door. A key left out has the value shown here at the first start.\n",
        );
        // A struct of plain fields is always a table of plain values.
        let table = Table::try_from(self).expect("settings are a table");
        for (section, docs, keys) in DOCS {
            text.push('\n');
            docs.iter().for_each(|line| text += &format!("#{line}\n"));
            text += &format!("[{section}]\n");
            for (key, docs) in *keys {
                docs.iter().for_each(|line| text += &format!("#{line}\n"));
                text += &format!("{key} = {}\n", value(&table, section, key));
            }
        }
        text
    }

    /// The rules of `motion`.
    #[must_use]
    pub fn motion(&self) -> motion::Rules {
        let m = &self.motion;
        motion::Rules {
            enabled: m.enabled,
            luma_change: m.luma_change as f32,
            cells_share: m.cells_share as f32,
            awake: Duration::from_millis(m.awake_ms),
            look_every: Duration::from_millis(m.look_every_ms),
        }
    }

    /// The detector's settings.
    #[must_use]
    pub fn detector(&self) -> DetectorConfig {
        let d = &self.detector;
        DetectorConfig {
            min_face_px: d.min_face_px as f32,
            thresholds: [
                d.proposal_threshold,
                d.refinement_threshold,
                d.output_threshold,
            ]
            .map(|t| t as f32),
            factor: d.pyramid_factor as f32,
            ..DetectorConfig::default()
        }
    }

    /// The limits of `quality`.
    #[must_use]
    pub fn limits(&self) -> quality::Limits {
        let q = &self.quality;
        quality::Limits {
            scene_luma: q.scene_luma_min,
            face_luma_min: q.face_luma_min as f32,
            face_luma_max: q.face_luma_max as f32,
            face_px: q.face_width_min_px as f32,
            sharpness: q.sharpness_min as f32,
            yaw_deg: q.yaw_max_deg as f32,
            pitch_deg: q.pitch_max_deg as f32,
            roll_deg: q.roll_max_deg as f32,
            inside: q.inside_min as f32,
            several: q.several_faces,
            dominance: q.nearest_dominance as f32,
            near_share: q.near_share as f32,
        }
    }

    /// The open-set gate; `usual` is that of the embedding space in use.
    #[must_use]
    pub fn gate(&self, usual: &Gate) -> Gate {
        let max_distance = self.recognition.max_distance as f32;
        Gate {
            max_distance: match max_distance > 0.0 {
                true => max_distance,
                false => usual.max_distance,
            },
            min_margin: self.recognition.min_margin as f32,
            min_probability: self.recognition.min_probability as f32,
            ..*usual
        }
    }

    /// The rules of `vote`.
    #[must_use]
    pub fn vote(&self) -> vote::Rules {
        let v = &self.vote;
        vote::Rules {
            needed: v.needed,
            window: v.window,
            max_gap: Duration::from_millis(v.max_gap_ms),
            repeat: Duration::from_millis(v.repeat_ms),
        }
    }

    /// The rules of `track`.
    #[must_use]
    pub fn track(&self) -> track::Rules {
        track::Rules {
            max_gap: Duration::from_millis(self.vote.max_gap_ms),
            min_overlap: self.vote.min_overlap as f32,
            search_every: Duration::from_millis(self.detector.search_every_ms),
        }
    }

    /// The rules of `live`.
    #[must_use]
    pub fn live(&self) -> live::Rules {
        live::Rules {
            level: self.liveness.level,
            turns: self.liveness.turns.into(),
            max_gap: Duration::from_millis(self.vote.max_gap_ms),
        }
    }

    /// The rules of `enroll`.
    #[must_use]
    pub fn enroll(&self) -> enroll::Rules {
        let e = &self.enroll;
        enroll::Rules {
            window: Duration::from_millis(e.window_ms),
            pose: Duration::from_millis(e.pose_ms),
            frames: e.frames,
            spacing: Duration::from_millis(e.spacing_ms),
            max_gap: Duration::from_millis(self.vote.max_gap_ms),
            min_overlap: self.vote.min_overlap as f32,
        }
    }

    /// When denials lock.
    #[must_use]
    pub fn lockout(&self) -> attempts::Rules {
        let l = &self.lockout;
        attempts::Rules {
            denials: l.denials,
            first: Duration::from_millis(l.first_ms),
            longest: Duration::from_millis(l.longest_ms),
            disable_after: l.disable_after,
        }
    }

    /// The limits of `audit`.
    #[must_use]
    pub fn audit(&self) -> audit::Limits {
        audit::Limits {
            records_per_file: self.audit.records_per_file,
            files: self.audit.files,
        }
    }

    /// What the policy calls this door.
    #[must_use]
    pub fn door_name(&self) -> &str {
        match self.policy.door.as_str() {
            "" => &self.link.name,
            name => name,
        }
    }

    /// The link's settings.
    #[must_use]
    pub fn link(&self) -> link::Config {
        let l = &self.link;
        link::Config {
            tcp_listen: l.tcp_listen.clone(),
            serial_port: (!l.serial_port.is_empty()).then(|| l.serial_port.clone().into()),
            serial_baud: l.serial_baud,
            max_sessions: l.max_sessions,
            frame_timeout_ms: l.frame_timeout_ms,
            idle_timeout_ms: l.idle_timeout_ms,
            write_timeout_ms: l.write_timeout_ms,
            reply_timeout_ms: l.reply_timeout_ms,
        }
    }

    /// The rules of `door`, with what the board file says of it.
    #[must_use]
    pub fn door(&self, exit_in_lockdown: bool, at_rest: Latch) -> door::Rules {
        let held_open = Duration::from_millis(self.door.held_open_ms);
        door::Rules {
            unlock: Duration::from_millis(self.door.unlock_ms),
            held_open: (!held_open.is_zero()).then_some(held_open),
            relock_on_close: self.door.relock_on_close,
            exit_in_lockdown,
            rests_locked: at_rest == Latch::Locked,
        }
    }
}

/// The settings in `table`, and those of `below` where it has none.
fn laid_over(below: &Config, table: Table) -> Result<Config, String> {
    let mut all = Table::try_from(below).map_err(|e| e.to_string())?;
    for (section, value) in table {
        if let (Some(Value::Table(all)), Value::Table(keys)) = (all.get_mut(&section), value) {
            all.extend(keys);
        }
    }
    all.try_into().map_err(|e: toml::de::Error| e.to_string())
}

/// The f64 that prints as the f32 does.
fn plain(value: f32) -> f64 {
    (f64::from(value) * 1e6).round() / 1e6
}

fn value<'t>(table: &'t Table, section: &str, key: &str) -> &'t Value {
    &table[section][key]
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let space = if what.ends_with('.') { "" } else { " " };
    match nearest(name, known.clone()) {
        Some(near) => format!("unknown {what}{space}{name}; did you mean {near}?"),
        None => {
            let known: Vec<&str> = known.collect();
            format!(
                "unknown {what}{space}{name}; known are {}",
                known.join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests;
