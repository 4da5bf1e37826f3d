//! The real arm64 `facelatchd` on the `linux` board of an emulated machine: a kernel's own Video4Linux camera, GPIO chip and
//! serial port, and the host's `facelatch` at the other end of the line. `run.sh` makes the machine and runs this.
//!
//! One life of a door, since a machine takes long to boot and networks to load; each stage says what it has shown. Levels
//! are read back through the kernel, and a witness on the board has seen every change of the relay's line.

mod camera;
mod daemon;
mod machine;

use std::path::{Path, PathBuf};
use std::time::Instant;

use facelatch_host::pad::head::Pose;
use facelatch_host::pad::sitter::Sitter;
use facelatch_models::image::open;
use facelatch_models::mtcnn::{DetectorConfig, main_face};
use facelatch_models::zoo::Zoo;
use facelatch_tests::programs::{data, root};
use facelatch_tests::workspace::Workspace;
use image::{Rgb, RgbImage};

use self::camera::Format;
use self::daemon::{End, end, heard_until, start, wait_for, wait_for_any};
use self::machine::{BUTTON, EXIT, Machine, Pull, RELAY};

/// Who is enrolled from one photo, and another one of them.
const ENROLLED: &str = "barack_obama";
const VISITS: &str = "demo/visitors/obama2.jpg";
/// Who is not, until the button enrolls them.
const STRANGER: &str = "demo/visitors/biden.jpg";
/// Who may vouch for newcomers.
const ADMIN: &str = "eileen_collins";
const ADMINS_PHOTO: &str = "demo/enroll/eileen_collins/astronaut.png";

#[test]
#[ignore = "takes an emulated board: tests/board_vm/run.sh"]
fn a_door_on_a_kernels_own_camera_lines_and_serial_port() {
    let folder = std::env::var_os("FACELATCH_BOARD_VM").expect("set by run.sh");
    let mut stage = Stage::set(&PathBuf::from(folder));
    stage.starts_at_rest_and_is_paired();
    stage.opens_for_the_enrolled_only(Format::Yuyv);
    stage.lets_out();
    stage.ends_at_rest(End::Term);
    stage.starts(Format::Mjpg);
    stage.opens_for_the_enrolled_only(Format::Mjpg);
    stage.locks_while_the_camera_is_gone();
    stage.enrolls_by_the_button();
    stage.tells_the_host();
    stage.ends_at_rest(End::Kill);
    for how in [End::Abort, End::OutOfMemory] {
        stage.starts(Format::Mjpg);
        stage.ends_at_rest(how);
    }
    stage.needs_its_wiring_when_killed();
}

/// The door, the people before it, and what has to be true of its relay's line by now.
struct Stage {
    began: Instant,
    machine: Machine,
    host: Workspace,
    /// What the running daemon's camera gives.
    format: Format,
    /// How often the line went up.
    openings: usize,
}

impl Stage {
    fn set(folder: &Path) -> Stage {
        let began = Instant::now();
        let home = folder.join("home");
        // Of an earlier run: this door is another one.
        let _ = std::fs::remove_dir_all(&home);
        let host = Workspace::enrolled(&home);
        let policy = format!("zone = \"UTC\"\n[people.{ADMIN}]\nadmin = true\n");
        std::fs::write(host.home().policy_path(), policy).expect("a small file");
        let mut stage = Stage {
            machine: Machine::boot(folder),
            host,
            format: Format::Yuyv,
            openings: 0,
            began,
        };
        daemon::prepare(&stage.machine);
        for format in [Format::Yuyv, Format::Mjpg] {
            stage.format = format;
            stage.leave();
            stage.plug();
        }
        let witness = "/share/witness /run/lines/sim_gpio17/value >/run/relay &";
        stage.machine.done(witness);
        stage
            .machine
            .done("until [ -s /run/relay ]; do sleep 0.1; done");
        stage.say("the board has booted");
        stage
    }

    /// A new door: no pulse until its camera works, nor while it is set up.
    fn starts_at_rest_and_is_paired(&mut self) {
        let heard = self.starts(Format::Yuyv);
        let code = heard
            .iter()
            .find_map(|line| line.strip_prefix("pairing code "));
        let code = code.expect("a new door shows a code").trim();
        let to = self.to();
        self.host.done(&["pair", "--to", &to, "--code", code]);
        // A bundle proves itself on faces.
        self.come(STRANGER);
        let pushed = self.host.done(&["push", "--wait", "170", "--to", &to]);
        assert_eq!(pushed["trial"], "confirmed", "{pushed}");
        self.is_at_rest();
        self.say("paired with and pushed to over the serial line; the relay's line never moved");
    }

    fn opens_for_the_enrolled_only(&mut self, format: Format) {
        self.be_gone();
        self.come(STRANGER);
        wait_for(&self.machine, "denied: unknown");
        self.be_gone();
        self.is_at_rest();
        self.opens(VISITS, ENROLLED);
        self.leave();
        wait_for(&self.machine, "door locked");
        self.is_at_rest();
        self.say(&format!(
            "{format:?}: a stranger was denied, the enrolled person let in"
        ));
    }

    fn lets_out(&mut self) {
        self.machine.pull(EXIT, Pull::Down);
        wait_for(&self.machine, "door unlocked");
        self.is_open();
        self.machine.pull(EXIT, Pull::Up);
        wait_for(&self.machine, "door locked");
        self.is_at_rest();
        self.say("the request to exit let somebody out");
    }

    /// The camera falls silent while the door is open, and then its device is gone altogether.
    fn locks_while_the_camera_is_gone(&mut self) {
        self.opens(VISITS, ENROLLED);
        self.unplug();
        let heard = heard_until(&self.machine, "door fault");
        let said = |text| heard.iter().any(|line| line.contains(text));
        assert!(said("is gone") && !said("door locked"), "{heard:?}");
        self.is_at_rest();
        self.machine
            .done("modprobe -r v4l2loopback && ! test -e /dev/video11");
        self.say("without its camera the door locked and told a fault");
        self.machine
            .done("modprobe v4l2loopback video_nr=10,11 exclusive_caps=1,1");
        self.leave();
        self.plug();
        wait_for(&self.machine, "door locked");
        self.opens(VISITS, ENROLLED);
        self.leave();
        wait_for(&self.machine, "door locked");
        self.is_at_rest();
        self.say("with a camera again it opened again");
    }

    /// The button is held, the admin looks into the camera, and the newcomer does what the light asks for.
    fn enrolls_by_the_button(&mut self) {
        self.machine.pull(BUTTON, Pull::Down);
        // Longer than enroll.hold_ms, shorter than pairing.hold_ms.
        self.machine.done("sleep 2");
        self.machine.pull(BUTTON, Pull::Up);
        wait_for(&self.machine, "prompt: show-admin");
        self.come(ADMINS_PHOTO);
        wait_for(&self.machine, "vouches");
        let newcomer = sitter(&data(STRANGER));
        let mut asked = wait_for(&self.machine, "prompt: look-straight");
        while !asked.contains("enrollment: ") {
            if let Some((_, pose)) = POSES
                .into_iter()
                .find(|(prompt, _)| asked.ends_with(prompt))
            {
                let [yaw, pitch] = pose;
                self.show(&newcomer.frame(Pose {
                    yaw,
                    pitch,
                    roll: 0.0,
                }));
            }
            asked = wait_for_any(&self.machine, &["prompt: ", "is enrolled", "refused: "]);
        }
        assert!(asked.contains("is enrolled"), "{asked}");
        self.leave();
        self.is_at_rest();
        self.opens(STRANGER, "door-");
        self.leave();
        wait_for(&self.machine, "door locked");
        self.is_at_rest();
        self.say(&format!("enrolled by the button, and let in: {asked}"));
    }

    /// Whatever ends it while the door is open, the line is low afterwards, and when the daemon starts again.
    fn ends_at_rest(&mut self, how: End) {
        self.opens(VISITS, ENROLLED);
        end(&mut self.machine, how);
        self.leave();
        self.is_at_rest();
        self.say(&format!(
            "{how:?} while the door was open: the relay's line is low"
        ));
    }

    /// The kernel frees the line of a killed process; what it does then is a matter of wires, and the log says so.
    fn needs_its_wiring_when_killed(&mut self) {
        let heard = self.starts(Format::Mjpg);
        assert!(
            heard.iter().any(|line| line.contains("resistor")),
            "{heard:?}"
        );
        self.machine.pull(RELAY, Pull::Up);
        self.opens(VISITS, ENROLLED);
        end(&mut self.machine, End::Kill);
        assert_eq!(self.machine.level(RELAY), 1, "the resistor pulls up");
        self.leave();
        self.starts(Format::Mjpg);
        self.say(
            "killed with a resistor to the wrong side: the line stayed high until the next start",
        );
    }

    /// The host sees over the serial line what has happened.
    fn tells_the_host(&mut self) {
        let to = self.to();
        let events = self.host.lines(&["events", "--from", "1", "--to", &to]);
        let has = |event: &str| events.iter().any(|line| line["event"] == event);
        assert!(
            has("fault") && has("decision") && has("enrollment"),
            "{events:?}"
        );
        let people = self.host.done(&["people", "list", "--to", &to]);
        assert_eq!(
            people["people"].as_array().map(Vec::len),
            Some(3),
            "{people}"
        );
        self.say("the host has read the events, the camera's fault among them");
    }

    /// Starts the daemon; the line is low from the first moment on.
    fn starts(&mut self, format: Format) -> Vec<String> {
        self.format = format;
        let heard = start(&mut self.machine, format);
        self.is_at_rest();
        self.say("started");
        heard
    }

    /// Somebody comes and is let in.
    fn opens(&mut self, photo: &str, person: &str) {
        // What the door has said by now is about somebody else.
        for line in self.machine.console.try_iter() {
            println!("         | {line}");
        }
        self.come(photo);
        wait_for(&self.machine, &format!("granted to {person}"));
        wait_for(&self.machine, "door unlocked");
        self.is_open();
    }

    fn is_open(&mut self) {
        self.openings += 1;
        assert_eq!(self.machine.level(RELAY), 1);
        self.moved_as_often_as_it_should();
    }

    fn is_at_rest(&mut self) {
        assert_eq!(self.machine.level(RELAY), 0);
        self.moved_as_often_as_it_should();
    }

    fn moved_as_often_as_it_should(&mut self) {
        let seen = self.machine.done("cat /run/relay");
        let ups = seen.lines().filter(|line| line.ends_with(" 1")).count();
        assert_eq!(ups, self.openings, "{seen}");
    }

    /// Somebody stands before the camera until somebody else does, or nobody.
    fn come(&self, photo: &str) {
        self.show(&open(&data(photo)).expect("a shipped photo"));
    }

    fn leave(&self) {
        self.show(&RgbImage::from_pixel(64, 48, Rgb([96, 96, 96])));
    }

    /// Nobody is there for longer than `vote.max_gap_ms`: who comes next is somebody new.
    fn be_gone(&mut self) {
        self.leave();
        self.machine.done("sleep 20");
    }

    fn show(&self, picture: &RgbImage) {
        self.format.show(&self.machine.share, picture);
    }

    fn plug(&mut self) {
        let (device, code, file) = (self.format.device(), self.format.code(), self.format.file());
        let camera = format!("/share/camera {device} 640 480 {code} 10 /share/{file}");
        self.machine.done(&format!("{camera} >/dev/null 2>&1 &"));
    }

    fn unplug(&mut self) {
        self.machine.done("killall camera");
    }

    /// The door, as the host names it.
    fn to(&self) -> String {
        self.machine.line.host.display().to_string()
    }

    fn say(&self, what: &str) {
        println!("{:5.0} s  {what}", self.began.elapsed().as_secs_f64());
    }
}

/// What is asked for, and how a head is held then: degrees to its left, and down.
const POSES: [(&str, [f64; 2]); 5] = [
    ("look-straight", [0.0, 0.0]),
    ("turn-left", [20.0, 0.0]),
    ("turn-right", [-20.0, 0.0]),
    ("look-up", [0.0, -14.0]),
    ("look-down", [0.0, 14.0]),
];

/// The face of a photo, on a head that turns.
fn sitter(photo: &Path) -> Sitter {
    let zoo = Zoo::open(&root().join("models/zoo")).expect("the networks that ship");
    let mut detector = zoo.detector(DetectorConfig::default()).expect("a detector");
    let image = open(photo).expect("a shipped photo");
    let faces = detector.detect(&image).expect("it runs");
    let face = main_face(&faces, &image).expect("one face");
    Sitter::new(&image, face).expect("landmarks")
}
