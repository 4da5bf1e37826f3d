//! Whether a board has what its file says: every line, the camera, device nodes; and what to do where it has not.
//!
//! For whoever installs a door. Lines are claimed one by one, as the daemon would, outputs at rest; what a running daemon
//! holds is left alone. Nothing here decides whether the door may start.

mod lines;
mod node;
mod watchdog;

use serde::Serialize;

pub use node::node;

use crate::{BoardFile, Camera, CameraFacts, Capture, KeypadFacts, Latch};

/// What was found out about one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The part, and where it is.
    pub part: String,
    /// How it stands.
    pub state: State,
    /// What was seen.
    pub says: String,
    /// What to do about it, if there is something to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How a part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should.
    Ok,
    /// The door works, but look at it.
    Warning,
    /// The door does not work like this.
    Failed,
}

impl Finding {
    /// As it should.
    pub fn ok(part: impl Into<String>, says: impl Into<String>) -> Finding {
        Finding {
            part: part.into(),
            state: State::Ok,
            says: says.into(),
            advice: None,
        }
    }

    /// Something to look at.
    pub fn warning(part: impl Into<String>, says: impl Into<String>, advice: &str) -> Finding {
        Finding {
            state: State::Warning,
            advice: Some(advice.to_string()),
            ..Finding::ok(part, says)
        }
    }

    /// Something to mend.
    pub fn failed(part: impl Into<String>, says: impl Into<String>, advice: &str) -> Finding {
        Finding {
            state: State::Failed,
            advice: Some(advice.to_string()),
            ..Finding::ok(part, says)
        }
    }
}

/// Looks at everything the board file names. `running` is the process of a daemon on this machine, if there is one.
#[must_use]
pub fn check(file: &BoardFile, running: Option<u32>) -> Vec<Finding> {
    let mut findings = vec![latch(file)];
    findings.extend(lines::check(file, running));
    findings.push(camera(file, running));
    if let Some(KeypadFacts::Serial(keypad)) = &file.keypad {
        findings.push(node("keypad", &keypad.device));
    }
    findings.extend(file.watchdog.as_ref().map(|w| watchdog::check(w, running)));
    findings
}

fn latch(file: &BoardFile) -> Finding {
    let says = match file.relay.safe {
        Latch::Locked => {
            "without current the latch is locked: this door needs another way out in a power cut"
        }
        Latch::Unlocked => "without current the latch is unlocked: the door is open in a power cut",
    };
    Finding::ok("latch", says)
}

const CAMERA: &str = "camera";

fn camera(file: &BoardFile, running: Option<u32>) -> Finding {
    match &file.camera {
        CameraFacts::Replay(_) => Finding::ok(CAMERA, "simulated: shows photos"),
        CameraFacts::V4l(facts) => v4l(file, facts, running),
        CameraFacts::Program(facts) => {
            let command = facts.command_line().join(" ");
            if let Some(pid) = running {
                return Finding::warning(
                    CAMERA,
                    format!("`{command}` was not tried: facelatchd runs (process {pid})"),
                    "stop it and check again to see a frame",
                );
            }
            let clock = std::sync::Arc::new(crate::SystemClock::new());
            let mut camera = crate::camera::program::open(facts, clock);
            frame(&mut camera, &format!("`{command}`"), PROGRAM_ADVICE)
        }
    }
}

const PROGRAM_ADVICE: &str =
    "run the command by hand; `rpicam-hello --list-cameras` says whether the camera is connected";

#[cfg(feature = "v4l")]
fn v4l(_: &BoardFile, facts: &crate::V4lFacts, running: Option<u32>) -> Finding {
    use crate::linux::survey;

    let seen = node(CAMERA, &facts.device);
    if seen.state == State::Failed {
        let cameras = survey::devices();
        let others = match cameras.is_empty() {
            true => "no camera is connected".to_string(),
            false => format!("there is {}", cameras.join(", ")),
        };
        return Finding {
            says: format!("{}; {others}", seen.says),
            ..seen
        };
    }
    let offered = match survey::offered(facts) {
        Ok(offered) => offered,
        Err(problem) => return Finding::failed(CAMERA, problem, V4L_ADVICE),
    };
    if let Some(pid) = running {
        let says = format!("{offered}; not tried: facelatchd runs (process {pid})");
        return Finding::ok(CAMERA, says);
    }
    let clock = std::sync::Arc::new(crate::SystemClock::new());
    let mut camera = crate::linux::v4l_camera(facts, clock);
    worse(frame(&mut camera, &offered, V4L_ADVICE), seen)
}

/// What was found of a part, with what its node lacks if that is worse.
#[cfg(any(test, feature = "v4l"))]
fn worse(found: Finding, node: Finding) -> Finding {
    match node.state > found.state {
        true => Finding {
            says: format!("{}; {}", found.says, node.says),
            ..node
        },
        false => found,
    }
}

#[cfg(feature = "v4l")]
const V4L_ADVICE: &str = "does another program hold it (`fuser -v DEVICE`)? `v4l2-ctl --device DEVICE --list-formats-ext` says what it \
                          can do";

#[cfg(not(feature = "v4l"))]
fn v4l(file: &BoardFile, _: &crate::V4lFacts, _: Option<u32>) -> Finding {
    not_built(file, CAMERA, "Video4Linux", "v4l")
}

/// A part whose driver is not in this program.
#[cfg(not(all(feature = "pi", feature = "gpio", feature = "v4l")))]
fn not_built(file: &BoardFile, part: &str, needs: &'static str, feature: &'static str) -> Finding {
    let error = crate::open::not_built(file, needs, feature);
    let advice = "install the package for this board, or build with the features named";
    Finding::failed(part, error.to_string(), advice)
}

/// Darker than this on average, 0 to 255, is a covered lens or a night without light.
const DARK: u64 = 10;

/// Asks for one frame.
fn frame(camera: &mut dyn Camera, about: &str, advice: &str) -> Finding {
    let began = std::time::Instant::now();
    let image = match camera.next() {
        Ok(Capture::Frame(frame)) => frame.image,
        Ok(Capture::Waiting | Capture::Ended) => {
            return Finding::failed(CAMERA, format!("{about}: no frame"), advice);
        }
        Err(error) => {
            return Finding::failed(CAMERA, format!("{about}: {error}"), advice);
        }
    };
    let (width, height) = image.dimensions();
    let mean = image.iter().map(|v| u64::from(*v)).sum::<u64>() / (image.len() as u64).max(1);
    let says = format!(
        "{about}; a frame of {width}x{height} after {} ms, mean light {mean} of 255",
        began.elapsed().as_millis()
    );
    match mean < DARK {
        true => Finding::warning(CAMERA, says, "is the lens covered, or the scene dark?"),
        false => Finding::ok(CAMERA, says),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simulated_board_is_as_it_should_be() {
        let file = BoardFile::named("sim").expect("built in");
        let findings = check(&file, None);
        assert!(
            findings.iter().all(|f| f.state == State::Ok),
            "{findings:#?}"
        );
        let parts: Vec<&str> = findings.iter().map(|f| f.part.as_str()).collect();
        assert_eq!(parts, ["latch", "lines", "camera"]);
    }

    #[test]
    fn a_camera_that_root_alone_may_use_is_no_good_one() {
        let good = Finding::ok(CAMERA, "a frame");
        let bad = Finding::failed(CAMERA, "no frame", "look");
        let closed = Finding::warning(CAMERA, "root may", "rules");
        let both = worse(good.clone(), closed.clone());
        assert_eq!(both.state, State::Warning);
        assert_eq!(both.says, "a frame; root may");
        assert_eq!(worse(bad.clone(), closed), bad);
        assert_eq!(worse(good.clone(), good.clone()), good);
    }

    #[test]
    fn a_program_that_is_not_there_is_named_and_one_that_works_shows_a_frame() {
        let mut file = BoardFile::named("sim").expect("built in");
        let program = |command: &str| {
            let facts = toml::from_str::<CameraFacts>(&format!(
                "kind = \"program\"\noutput = \"yuv420\"\nwidth_px = 64\nheight_px = 2\nframes_per_second = 5\n\
                 timeout_ms = 60000\ncommand = {command}\n"
            ));
            facts.expect("good facts")
        };
        file.camera = program("[\"no-such-program\"]");
        let missing = camera(&file, None);
        assert_eq!(missing.state, State::Failed);
        assert!(
            missing.says.contains("no program no-such-program"),
            "{missing:?}"
        );

        // Y of one value, then U and V without colour.
        let grey = |count: u32, light: &str| {
            format!("head -c {count} /dev/zero | tr '\\\\000' '\\\\{light}'")
        };
        for (light, state) in [("310", State::Ok), ("000", State::Warning)] {
            let (luma, colour) = (grey(128, light), grey(64, "200"));
            let script = format!("[\"sh\", \"-c\", \"{luma}; {colour}; exec sleep 1000\"]");
            file.camera = program(&script);
            let seen = camera(&file, None);
            assert_eq!(seen.state, state, "{seen:?}");
            assert!(seen.says.contains("a frame of 64x2"), "{seen:?}");
        }
        let running = camera(&file, Some(4_711));
        assert!(running.says.contains("4711"), "{running:?}");
    }
}
