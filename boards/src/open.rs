//! Turns a board file into drivers. The only place that knows which driver stands behind which trait.

use std::sync::Arc;

use crate::camera::program;
use crate::replay::ReplayFacts;
use crate::sim::{
    self, Handle, RecordedRelay, ReplayCamera, SimClock, Strikes, Trust, Visitors, Wall,
};
use crate::{
    BoardFile, Button, Buzzer, Camera, CameraFacts, Clock, Contact, DoorSensor, Error, Indicator,
    Keypad, Relay, RelayDriver, SystemClock, V4lFacts,
};

/// An opened board. The relay is in its safe state; dropping it puts it back there.
pub struct Board {
    /// From the board file.
    pub name: String,
    /// What moves the latch.
    pub relay: Box<dyn Relay>,
    /// Where frames come from.
    pub camera: Box<dyn Camera>,
    /// What hangs on its other lines.
    pub panel: Panel,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The other end of the simulated parts, if the relay is simulated.
    pub sim: Option<Handle>,
}

/// What people at the door see, hear and touch; `None` where the board file names nothing.
#[derive(Default)]
pub struct Panel {
    /// Light at the door.
    pub indicator: Option<Box<dyn Indicator>>,
    /// Buzzer at the door.
    pub buzzer: Option<Box<dyn Buzzer>>,
    /// Push button.
    pub button: Option<Box<dyn Button>>,
    /// Door contact.
    pub door_sensor: Option<Box<dyn DoorSensor>>,
    /// Lets people out.
    pub request_to_exit: Option<Box<dyn Contact>>,
    /// On while the case is open.
    pub tamper: Option<Box<dyn Contact>>,
    /// On while there is a fire.
    pub fire: Option<Box<dyn Contact>>,
    /// Keys to type a PIN with.
    pub keypad: Option<Box<dyn Keypad>>,
}

/// Opens every part the board file names, relay first: whatever fails later, the latch is already safe.
///
/// # Errors
///
/// [`Error::NotBuilt`] if the program lacks the driver, and whatever the hardware says.
pub fn open(file: &BoardFile) -> Result<Board, Error> {
    match &file.camera {
        CameraFacts::Replay(replay) => match file.relay.driver {
            RelayDriver::Recorded => open_sim(file, replay),
            RelayDriver::Rppal | RelayDriver::Gpiochip => Err(mixed(file)),
        },
        CameraFacts::V4l(facts) => open_real(file, |clock| v4l_camera(file, facts, clock)),
        CameraFacts::Program(facts) => {
            open_real(file, |clock| Ok(Box::new(program::open(facts, clock))))
        }
    }
}

/// Opens the relay alone, in its safe state.
///
/// # Errors
///
/// [`Error::NotBuilt`] if the program lacks the driver, and whatever the hardware says.
pub fn open_relay(file: &BoardFile) -> Result<Box<dyn Relay>, Error> {
    match file.relay.driver {
        RelayDriver::Recorded => {
            let (clock, _) = sim::clock(file.sim.clock);
            let record = file.sim.relay_record.as_deref();
            let strikes = Strikes::default();
            let (relay, _) = RecordedRelay::open(file.relay, None, strikes, clock, record)?;
            Ok(Box::new(relay))
        }
        RelayDriver::Rppal => pi_relay(file),
        RelayDriver::Gpiochip => chip_relay(file),
    }
}

fn mixed(file: &BoardFile) -> Error {
    Error::BoardFile {
        file: file.name.clone(),
        problem: "a replay camera goes with a recorded relay and a real camera with a real one: no door may open for a \
                  photo on disk"
            .to_string(),
    }
}

fn open_sim(file: &BoardFile, replay: &ReplayFacts) -> Result<Board, Error> {
    let (time, manual) = sim::clock(file.sim.clock);
    let (wall, strikes) = (Wall::default(), Strikes::of(&file.sim.faults.strikes));
    let trust = Trust::starting(!file.sim.clock_untrusted);
    let clock = |strikes: &Strikes| -> Arc<dyn Clock> {
        Arc::new(SimClock {
            time: time.clone(),
            wall: wall.clone(),
            trust: trust.clone(),
            strikes: strikes.clone(),
        })
    };
    // The parts' own clock is never struck: only whoever runs the board asks the one that is.
    let quiet = clock(&Strikes::default());
    let record = file.sim.relay_record.as_deref();
    let fails_at = file.sim.faults.relay_fails_at_move;
    let (relay, timeline) =
        RecordedRelay::open(file.relay, fails_at, strikes.clone(), quiet.clone(), record)?;
    let visitors = Visitors::default();
    let panel = sim::Panel::default();
    let faults = file.sim.faults.clone();
    let camera = ReplayCamera::open(
        replay.clone(),
        faults,
        strikes.clone(),
        quiet.clone(),
        visitors.clone(),
    )?;
    Ok(Board {
        name: file.name.clone(),
        relay: Box::new(relay),
        camera: Box::new(camera),
        panel: panel.ends(file, &quiet, &strikes),
        clock: clock(&strikes),
        sim: Some(Handle {
            visitors,
            relay: timeline,
            panel,
            trust,
            clock: manual,
            wall,
            strikes,
        }),
    })
}

fn open_real(
    file: &BoardFile,
    camera: impl FnOnce(Arc<dyn Clock>) -> Result<Box<dyn Camera>, Error>,
) -> Result<Board, Error> {
    let (relay, panel) = match file.relay.driver {
        RelayDriver::Recorded => return Err(mixed(file)),
        RelayDriver::Rppal => pi_lines(file)?,
        RelayDriver::Gpiochip => chip_lines(file)?,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    Ok(Board {
        name: file.name.clone(),
        relay,
        camera: camera(Arc::clone(&clock))?,
        panel,
        clock,
        sim: None,
    })
}

#[cfg(feature = "pi")]
fn pi_lines(file: &BoardFile) -> Result<(Box<dyn Relay>, Panel), Error> {
    crate::wired::open(file, &crate::pi::PiLines)
}

#[cfg(feature = "pi")]
fn pi_relay(file: &BoardFile) -> Result<Box<dyn Relay>, Error> {
    crate::wired::relay(file, &crate::pi::PiLines)
}

#[cfg(not(feature = "pi"))]
fn pi_lines(file: &BoardFile) -> Result<(Box<dyn Relay>, Panel), Error> {
    Err(not_built(file, "Raspberry Pi GPIO", "pi,v4l"))
}

#[cfg(not(feature = "pi"))]
fn pi_relay(file: &BoardFile) -> Result<Box<dyn Relay>, Error> {
    Err(not_built(file, "Raspberry Pi GPIO", "pi,v4l"))
}

#[cfg(feature = "gpio")]
fn chip_lines(file: &BoardFile) -> Result<(Box<dyn Relay>, Panel), Error> {
    crate::wired::open(file, &crate::linux::ChipLines(file.gpio.chip.clone()))
}

#[cfg(feature = "gpio")]
fn chip_relay(file: &BoardFile) -> Result<Box<dyn Relay>, Error> {
    crate::wired::relay(file, &crate::linux::ChipLines(file.gpio.chip.clone()))
}

#[cfg(not(feature = "gpio"))]
fn chip_lines(file: &BoardFile) -> Result<(Box<dyn Relay>, Panel), Error> {
    Err(not_built(
        file,
        "the kernel's GPIO character device",
        "gpio,v4l",
    ))
}

#[cfg(not(feature = "gpio"))]
fn chip_relay(file: &BoardFile) -> Result<Box<dyn Relay>, Error> {
    Err(not_built(
        file,
        "the kernel's GPIO character device",
        "gpio,v4l",
    ))
}

#[cfg(feature = "v4l")]
fn v4l_camera(
    _: &BoardFile,
    facts: &V4lFacts,
    clock: Arc<dyn Clock>,
) -> Result<Box<dyn Camera>, Error> {
    Ok(Box::new(crate::linux::v4l_camera(facts, clock)))
}

#[cfg(not(feature = "v4l"))]
fn v4l_camera(file: &BoardFile, _: &V4lFacts, _: Arc<dyn Clock>) -> Result<Box<dyn Camera>, Error> {
    Err(not_built(file, "Video4Linux", "v4l"))
}

#[cfg(not(all(feature = "pi", feature = "gpio", feature = "v4l")))]
pub(crate) fn not_built(file: &BoardFile, needs: &'static str, feature: &'static str) -> Error {
    Error::NotBuilt {
        board: file.name.clone(),
        needs,
        feature,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Latch;

    #[test]
    fn the_sim_board_opens_at_rest_and_rests_when_closed() {
        let file = BoardFile::named("sim").expect("built in");
        let mut board = open(&file).expect("nothing to miss");
        assert_eq!(
            (board.relay.latch(), board.relay.safe()),
            (Latch::Locked, Latch::Locked)
        );
        let handle = board.sim.clone().expect("simulated");
        board.relay.set(Latch::Unlocked).expect("healthy");
        assert!(handle.relay.is_on());
        drop(board);
        assert!(!handle.relay.is_on());
    }

    #[test]
    fn a_door_never_opens_for_a_photo_on_disk() {
        for (relay, camera) in [("pi4", "sim"), ("linux", "sim"), ("sim", "pi4")] {
            let mut file = BoardFile::named(relay).expect("built in");
            file.camera = BoardFile::named(camera).expect("built in").camera;
            let refused = open(&file).err().expect("mixed parts").to_string();
            assert!(
                refused.contains("photo on disk"),
                "{relay} with {camera}: {refused}"
            );
        }
    }

    #[test]
    fn a_board_without_its_driver_says_what_is_missing() {
        for (board, built, features) in [
            ("pi5", cfg!(feature = "pi"), "--features pi,v4l"),
            ("linux", cfg!(feature = "gpio"), "--features gpio,v4l"),
        ] {
            if !built {
                let file = BoardFile::named(board).expect("built in");
                let refused = open(&file).err().expect("not built in").to_string();
                assert!(refused.contains(features), "{board}: {refused}");
            }
        }
    }
}
