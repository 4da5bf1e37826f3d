//! What breaks: each kind of fault, how often, and how it is done to a door that runs.

use std::{fs, io::Write, net::TcpStream};

use facelatch_boards::sim::{Harm, Part, Strike};
use facelatch_protocol::{
    DisplayName, Request, Response,
    bundle::{MAX_RECORD, PartKind, encode_record},
};
use image::RgbImage;

use crate::{
    Random,
    far_end::bundles::{bundle, try_push},
    life::{Life, Worker},
    stage::{id, records},
};

/// A kind of fault.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    CameraLost,
    FrameDamaged,
    FrameCorrupt,
    CameraPanic,
    CameraHang,
    LoopStall,
    LoopPanic,
    PanelFailure,
    PanelPanic,
    RelayFailure,
    RelayPanic,
    RelayHang,
    WallClock,
    TimeSync,
    FullDisk,
    Gallery,
    LinkFlood,
    RequestFlood,
    BundleSwap,
}

/// Each with the name it is counted under, and how often it comes in about a thousand.
pub(crate) const KINDS: [(Kind, &str, u64); 19] = [
    (Kind::CameraLost, "camera lost", 90),
    (Kind::FrameDamaged, "frame damaged", 130),
    (Kind::FrameCorrupt, "frame corrupt", 140),
    (Kind::CameraPanic, "camera panic", 60),
    (Kind::CameraHang, "camera hang", 25),
    (Kind::LoopStall, "loop stall", 40),
    (Kind::LoopPanic, "loop panic", 12),
    (Kind::PanelFailure, "panel failure", 130),
    (Kind::PanelPanic, "panel panic", 6),
    (Kind::RelayFailure, "relay failure", 70),
    (Kind::RelayPanic, "relay panic", 14),
    (Kind::RelayHang, "relay hang", 12),
    (Kind::WallClock, "wall clock set", 80),
    (Kind::TimeSync, "time synchronisation", 30),
    (Kind::FullDisk, "full disk", 30),
    (Kind::Gallery, "gallery error", 25),
    (Kind::LinkFlood, "link flood", 60),
    (Kind::RequestFlood, "request flood", 30),
    (Kind::BundleSwap, "bundle swap", 16),
];

impl Kind {
    pub(crate) fn any(random: &mut Random, jumps: bool) -> Kind {
        let mut ticket = random.below(KINDS.iter().map(|(_, _, weight)| weight).sum());
        let drawn = KINDS.iter().find(|(_, _, weight)| {
            let hit = ticket < *weight;
            ticket = ticket.saturating_sub(*weight);
            hit
        });
        let kind = drawn.expect("tickets are below the sum").0;
        // Where the wall time stays, unlockings are timed by what is on record.
        match kind {
            Kind::WallClock | Kind::TimeSync if !jumps => Kind::FrameCorrupt,
            _ => kind,
        }
    }

    fn name(self) -> &'static str {
        let own = KINDS.iter().find(|(kind, ..)| *kind == self);
        own.expect("every kind is listed").1
    }

    /// Does it, or arms it. What is armed is counted when it has struck.
    pub(crate) fn strike(self, worker: &mut Worker, life: &mut Life) {
        let name = self.name();
        let random = &mut worker.random;
        let soon = random.below(3) as u32;
        let later = random.below(40) as u32;
        let panel = random.one_of(&[
            Part::Indicator,
            Part::Buzzer,
            Part::Button,
            Part::DoorSensor,
            Part::Contact,
        ]);
        let mut arm = |part, harm, after| life.arm(Strike { part, harm, after }, name);
        let done = match self {
            Kind::CameraLost => return arm(Part::Camera, Harm::Fail, soon),
            Kind::FrameDamaged => return arm(Part::Camera, Harm::Damage, soon),
            Kind::CameraPanic => return arm(Part::Camera, Harm::Panic, soon),
            Kind::CameraHang => return arm(Part::Camera, Harm::Hang, soon),
            Kind::PanelFailure => return arm(panel, Harm::Fail, soon),
            Kind::PanelPanic => return arm(panel, Harm::Panic, later),
            Kind::LoopPanic => return arm(Part::Clock, Harm::Panic, later),
            Kind::LoopStall => {
                let part = random.one_of(&[Part::Clock, Part::DoorSensor, Part::Contact]);
                arm(part, Harm::Hang, later);
                return life.hang_long(random.chance(40));
            }
            Kind::RelayFailure | Kind::RelayPanic | Kind::RelayHang => {
                let harm = match self {
                    Kind::RelayFailure => Harm::Fail,
                    Kind::RelayPanic => Harm::Panic,
                    _ => Harm::Hang,
                };
                arm(Part::Relay, harm, soon);
                life.hang_long(random.chance(10));
                life.ask(Request::Unlock);
                return;
            }
            Kind::FrameCorrupt => {
                life.show(corrupt(random), 2);
                true
            }
            Kind::WallClock => {
                let by = random.below(40_000_000_000) as i64;
                life.sim.wall.jump(if random.chance(50) { by } else { -by });
                true
            }
            Kind::TimeSync => {
                let unix_ms = 1_800_000_000_000 + random.below(200_000_000_000);
                life.ask(Request::TimeSync { unix_ms }).is_some()
            }
            Kind::FullDisk => life.full_disk(),
            Kind::Gallery => gallery_error(random, life),
            Kind::LinkFlood => link_flood(random, life),
            Kind::RequestFlood => request_flood(random, life),
            Kind::BundleSwap => {
                worker.counter += 1;
                swap(worker.counter, life)
            }
        };
        if done {
            worker.tally.struck(name);
        }
    }
}

/// What no camera should show.
fn corrupt(random: &mut Random) -> RgbImage {
    let side = |random: &mut Random| 1 + random.below(90) as u32;
    let (width, height) = match random.below(4) {
        0 => (1, 1),
        1 => (side(random), 1),
        2 => (1, side(random)),
        _ => (side(random), side(random)),
    };
    let flat = random.below(3);
    RgbImage::from_fn(width, height, |_, _| {
        image::Rgb(match flat {
            0 => [255; 3],
            1 => [0; 3],
            _ => [(); 3].map(|()| random.below(256) as u8),
        })
    })
}

/// Bytes that mean nothing.
fn link_flood(random: &mut Random, life: &Life) -> bool {
    let noise = (0..random.below(4_000)).map(|_| random.below(256) as u8);
    let noise: Vec<u8> = noise.collect();
    // The door may hang up before it has heard everything.
    TcpStream::connect(life.address)
        .map(|mut line| drop(line.write_all(&noise)))
        .is_ok()
}

/// More than anybody asks, with unlockings among it.
fn request_flood(random: &mut Random, life: &mut Life) -> bool {
    (0..10).all(|_| {
        let request = match random.below(3) {
            0 => Request::Status,
            1 => Request::Unlock,
            _ => Request::PersonRemove {
                person: id("nobody"),
            },
        };
        life.ask(request).is_some()
    })
}

/// A folder stands where the gallery's index is written.
fn gallery_error(random: &mut Random, life: &mut Life) -> bool {
    let obstacle = life.data.join("gallery/index.new");
    // Left behind by a change that was cut off, it is in the way already.
    if fs::create_dir(&obstacle).is_err() {
        return false;
    }
    let person = id(["ada", "bob"][random.below(2) as usize]);
    let name = DisplayName::parse("somebody").expect("a name");
    let refused = life.ask(Request::PersonAdd { person, name });
    if random.chance(50) {
        life.ask(Request::Unlock);
    }
    // Unless the door has done away with it already.
    let _ = fs::remove_dir(&obstacle);
    matches!(refused, Some(Response::Refused(_)))
}

/// The same people in another bundle, taken over while frames flow. False if the door is dead or refused it.
fn swap(counter: u64, life: &mut Life) -> bool {
    let mut people = vec![];
    for record in records() {
        let bytes = &mut [0; 4 + MAX_RECORD];
        people.extend_from_slice(encode_record(record, bytes).expect("it fits"));
    }
    let space = records()[0].template.space.to_string();
    let bundle = bundle(counter, &space, &[(PartKind::Gallery, "gallery", people)]);
    let pushed = try_push(&mut life.host.end, &bundle, &mut |_| {});
    matches!(pushed, Ok(Response::Bundle(_)))
}
