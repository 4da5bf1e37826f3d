//! The policy at the door, with the audit record as the witness: hours and clocks, every refusal's reason, the schedule that
//! holds the door open, and what becomes of a policy with its bundle.

use std::{path::PathBuf, time::Duration};

use facelatch_boards::{Latch, sim::Visitor};
use facelatch_device::{Device, audit::What};
use facelatch_protocol::{
    Digest, DoorState, EventKind, Opener, PolicyStatus, Reason, Request, Response, bundle::PartKind,
};
use sha2::{Digest as _, Sha256};

use crate::{
    far_end::bundles::{PartFile, bundle},
    host::Host,
    several,
    stage::{Stage, records, show, visitor},
    updates::{failing_classifier, gallery, space},
};

/// The one who comes to the door.
const OBAMA: &str = "barack_obama";
const OFFICE: &str = "zone = \"Europe/Berlin\"\n\
    [schedules.office]\nwindows = [\"mon-fri 08:00-18:00\"]\n\
    [people.barack_obama]\nschedules = [\"office\"]\n";
/// In Berlin it is ten on a Friday in June.
const FRIDAY: &str = "2026-06-05T08:00:00Z";
const SATURDAY: &str = "2026-06-06T08:00:00Z";

fn part(policy: &str) -> PartFile {
    (PartKind::Policy, "policy.toml", policy.as_bytes().to_vec())
}

/// A door that is locked again before the next visitor comes.
fn stage() -> Stage {
    let mut stage = Stage::empty();
    stage.config.door.unlock_ms = 300;
    stage.config.link.name = "front".to_owned();
    stage
}

/// A host at a door, and the bundles it has pushed.
struct Site<'d> {
    device: &'d Device,
    host: Host,
    counter: u64,
}

impl<'d> Site<'d> {
    fn of(device: &'d Device) -> Site<'d> {
        let host = Host::connect(device);
        let mut site = Site {
            device,
            host,
            counter: 0,
        };
        // Its camera answers when it can.
        while site.door() == DoorState::Starting {
            std::thread::sleep(Duration::from_millis(5));
        }
        site
    }

    /// Pushes the demo's people with these parts.
    fn push(&mut self, parts: &[PartFile]) {
        self.counter += 1;
        let mut all = vec![gallery(records())];
        all.extend_from_slice(parts);
        let pushed = self.host.push(&bundle(self.counter, &space(), &all));
        assert!(matches!(pushed, Response::Bundle(_)), "{pushed:?}");
    }

    fn obey(&mut self, policy: &str) {
        self.push(&[part(policy)]);
    }

    /// Until the bundle is no longer on trial.
    fn prove(&mut self) {
        while self.host.update().trial.is_some() {
            show(self.device, visitor("visitors/rocket.jpg"));
        }
    }

    fn set_clock(&mut self, utc: &str) {
        let instant: jiff::Timestamp = utc.parse().unwrap();
        let unix_ms = u64::try_from(instant.as_millisecond()).unwrap();
        let set = self.host.ask(Request::TimeSync { unix_ms });
        assert!(matches!(set, Response::Time { .. }), "{set:?}");
    }

    /// Whether the door unlocks for him.
    fn opens(&self) -> bool {
        let relay = &self.device.sim().unwrap().relay;
        let before = relay.edges().len();
        show(self.device, visitor("visitors/obama2.jpg"));
        let edges = relay.edges();
        edges[before..]
            .iter()
            .any(|edge| edge.latch == Latch::Unlocked)
    }

    /// The door's state, once it has looked at the clock.
    fn door(&mut self) -> DoorState {
        let mut door = None;
        // It looks after every answer.
        for _ in 0..2 {
            match self.host.ask(Request::DoorState) {
                Response::Door(state) => door = Some(state),
                other => panic!("{other:?}"),
            }
        }
        door.unwrap()
    }

    fn is_open(&mut self) -> bool {
        let door = self.door();
        let unlocked = self.device.sim().unwrap().relay.is_on();
        match door {
            DoorState::OpenBySchedule => assert!(unlocked),
            DoorState::Locked => assert!(!unlocked),
            other => panic!("{other:?}"),
        }
        unlocked
    }

    fn pass_time(&self, by: Duration) {
        let sim = self.device.sim().unwrap();
        sim.clock.as_ref().unwrap().advance(by);
    }

    fn status(&mut self) -> PolicyStatus {
        match self.host.ask(Request::PolicyStatus) {
            Response::Policy(status) => status,
            other => panic!("{other:?}"),
        }
    }
}

fn stop(device: Device) {
    device.stop();
    device.join().unwrap();
}

/// What the record says of his visits.
fn reasons(stage: &Stage) -> Vec<Reason> {
    let visits = stage.visits().into_iter();
    let his = visits.filter(|(.., person)| person.as_deref() == Some(OBAMA));
    his.map(|(granted, reason, _)| {
        assert_eq!(granted, reason == Reason::Granted);
        reason
    })
    .collect()
}

#[test]
fn he_passes_within_his_hours_and_not_outside_whichever_way_the_clock_jumps() {
    let stage = stage();
    let device = stage.start();
    let mut site = Site::of(&device);
    site.obey(OFFICE);
    let times = [
        (FRIDAY, true),
        (SATURDAY, false),
        ("2026-06-05T05:59:59Z", false),
        ("2026-06-05T06:00:01Z", true),
        // A second before six in the evening, and with the frames of his visit after it.
        ("2026-06-05T16:00:00Z", false),
        ("2026-12-04T07:00:01Z", true),
        ("2026-12-04T06:59:50Z", false),
    ];
    for (time, opens) in times {
        site.set_clock(time);
        assert_eq!(site.opens(), opens, "{time}");
    }
    stop(device);
    let expected = times.map(|(_, opens)| match opens {
        true => Reason::Granted,
        false => Reason::NotNow,
    });
    assert_eq!(reasons(&stage), expected);
}

#[test]
fn every_refusal_is_on_record_with_its_reason() {
    let him = |rules: &str| format!("zone = \"UTC\"\n[people.barack_obama]\n{rules}\n");
    let unlisted = |rule: &str| format!("unlisted = \"{rule}\"\n");
    let cases = [
        (him("disabled = true"), Reason::Disabled),
        (him(""), Reason::Granted),
        (him("deny = true"), Reason::DenyListed),
        (him("doors = [\"lab\"]"), Reason::NotHere),
        (him("doors = [\"lab\", \"front\"]"), Reason::Granted),
        (him("until = \"2026-06-04\""), Reason::NotValid),
        (him("until = \"2026-06-05\""), Reason::Granted),
        (him("from = \"2026-06-06\""), Reason::NotValid),
        (him("from = \"2026-06-05\""), Reason::Granted),
        (unlisted("never"), Reason::NotHere),
        (unlisted("always"), Reason::Granted),
    ];
    let stage = stage();
    let device = stage.start();
    let mut site = Site::of(&device);
    site.set_clock(FRIDAY);
    for (policy, reason) in &cases {
        site.obey(policy);
        assert_eq!(site.opens(), *reason == Reason::Granted, "{policy}");
    }
    stop(device);
    assert_eq!(reasons(&stage), cases.map(|(_, reason)| reason));
}

/// The two who are enrolled, side by side for a quarter of a minute, decided about again and again.
fn both_stay() -> Visitor {
    Visitor {
        frames: Some(150),
        ..several::visitor(
            "both",
            several::scene(&[("visitors/obama2.jpg", 300), (several::COLLINS, 440)]),
        )
    }
}

#[test]
fn two_faces_that_stay_are_a_denial_each_and_no_more() {
    let stage = stage();
    let device = stage.start();
    let mut site = Site::of(&device);
    site.obey("zone = \"UTC\"\n[people.barack_obama]\ndeny = true\n");
    show(&device, both_stay());
    assert_eq!(site.status().denials, 2);
    stop(device);
    let visits = stage.visits();
    assert!(
        visits.len() > 4,
        "decided about again and again: {visits:?}"
    );
    let denied = (false, Reason::DenyListed);
    assert!(
        visits
            .iter()
            .all(|(granted, why, _)| (*granted, *why) == denied),
        "{visits:?}"
    );
}

#[test]
fn who_was_let_in_is_not_counted_again_for_another_who_was_let_in_beside_them() {
    let mut stage = stage();
    stage.config.door.unlock_ms = 5_000;
    let device = stage.start();
    let mut site = Site::of(&device);
    site.obey("zone = \"UTC\"\n[people.barack_obama]\nvisits = 1\n");
    show(&device, both_stay());
    stop(device);
    let visits = stage.visits();
    assert!(visits.iter().all(|(granted, ..)| *granted), "{visits:?}");
    let his = reasons(&stage);
    assert_eq!(his, [Reason::Granted], "{visits:?}");
    assert!(visits.len() > 1, "{visits:?}");
}

#[test]
fn the_door_may_have_another_name_in_the_policy() {
    let mut stage = stage();
    stage.config.policy.door = "lab".to_owned();
    let device = stage.start();
    let mut site = Site::of(&device);
    let at = |door: &str| format!("zone = \"UTC\"\n[people.barack_obama]\ndoors = [\"{door}\"]\n");
    site.obey(&at("front"));
    assert!(!site.opens());
    site.obey(&at("lab"));
    assert!(site.opens());
}

#[test]
fn without_a_clock_nobody_with_hours_passes_until_somebody_tells_the_time() {
    let mut stage = stage();
    stage.board.sim.clock_untrusted = true;
    let device = stage.start();
    let sim = device.sim().unwrap();
    let mut site = Site::of(&device);
    let always = OFFICE.replace("mon-fri 08:00-18:00", "daily 00:00-24:00");
    let held = format!("{always}[open]\nschedule = \"office\"\n");
    site.obey(&always);
    assert!(!site.status().clock);
    assert!(!site.opens());
    // People without hours are not asked.
    site.obey("zone = \"UTC\"\n[people.barack_obama]\n");
    assert!(site.opens());
    site.obey(&format!("without_clock = \"allow\"\n{OFFICE}"));
    assert!(site.opens());
    site.obey(&held);
    assert!(!site.is_open(), "nothing is held open at an unknown time");

    // The system finds a time server, and loses it again.
    sim.trust.set(true);
    assert!(site.is_open());
    sim.trust.set(false);
    assert!(!site.is_open());
    site.obey(&always);
    let system = site.host.status().unix_ms;
    site.set_clock(FRIDAY);
    assert!(site.status().clock);
    assert!(site.opens());
    // Whoever sets the system's clock has not told the door.
    let told = site.host.status().unix_ms;
    let hours = 20 * 3_600_000;
    sim.wall.jump(hours);
    let moved = site.host.status().unix_ms.abs_diff(told);
    assert!(moved < 3_600_000, "{moved} ms");
    sim.wall.jump(-hours);
    // A time server knows better than the host.
    sim.trust.set(true);
    site.door();
    let moved = site.host.status().unix_ms.abs_diff(system);
    assert!(moved < 3_600_000, "{moved} ms");
    stop(device);
    let expected = [
        Reason::NoClock,
        Reason::Granted,
        Reason::Granted,
        Reason::Granted,
    ];
    assert_eq!(reasons(&stage), expected);

    stage.config.policy.trust_clock = facelatch_device::config::TrustClock::Always;
    let device = stage.start();
    assert!(Site::of(&device).status().clock, "a battery keeps it");
}

#[test]
fn the_schedule_opens_and_closes_the_door_with_the_clock() {
    let stage = stage();
    let device = stage.start();
    let mut site = Site::of(&device);
    site.set_clock("2026-06-05T05:59:00Z");
    site.obey(&format!(
        "{OFFICE}[open]\nschedule = \"office\"\ndoors = [\"front\"]\n"
    ));
    assert!(!site.is_open());
    site.pass_time(Duration::from_secs(50));
    assert!(!site.is_open(), "eight has not struck");
    site.pass_time(Duration::from_secs(600));
    assert!(site.is_open());
    assert!(site.status().open);
    site.pass_time(Duration::from_secs(10 * 3600));
    assert!(!site.is_open(), "past six");
    // The clock is set, back and forth.
    site.set_clock(FRIDAY);
    assert!(site.is_open());
    site.set_clock(SATURDAY);
    assert!(!site.is_open());
    site.set_clock(FRIDAY);
    assert!(site.is_open());
    // Another policy, and none.
    site.obey(OFFICE);
    assert!(!site.is_open(), "no word of it in this one");
    site.obey(&format!("{OFFICE}[open]\nschedule = \"office\"\n"));
    assert!(site.is_open());
    site.push(&[]);
    assert!(!site.is_open(), "no policy, no schedule");
    stop(device);
    let opened = |entry: &facelatch_device::audit::Entry| {
        matches!(entry.what, What::Event(EventKind::Opened(Opener::Schedule)))
    };
    assert_eq!(stage.entries().iter().filter(|e| opened(e)).count(), 4);
}

#[test]
fn a_door_that_waits_for_the_first_entry_opens_with_it_and_not_by_itself() {
    let stage = stage();
    let device = stage.start();
    let mut site = Site::of(&device);
    let policy = format!("{OFFICE}[open]\nschedule = \"office\"\nafter_first_entry = true\n");
    site.set_clock("2026-06-05T05:00:00Z");
    site.obey(&policy.replace("[people", "[people.eileen_collins]\n[people"));
    assert!(
        !site.opens(),
        "before eight he is refused, and opens nothing"
    );
    site.set_clock(FRIDAY);
    assert!(!site.is_open(), "nobody came yet");
    assert!(site.opens());
    site.pass_time(Duration::from_secs(60));
    assert!(site.is_open());
    site.set_clock("2026-06-05T17:00:00Z");
    assert!(!site.is_open());
    site.set_clock("2026-06-08T08:00:00Z");
    assert!(!site.is_open(), "Monday waits for its own first entry");
    stop(device);
    assert_eq!(reasons(&stage), [Reason::NotNow, Reason::Granted]);
}

#[test]
fn a_policy_goes_with_the_bundle_that_brought_it() {
    let mut stage = stage();
    stage.config.update.trial_frames = 8;
    let device = stage.start();
    let mut site = Site::of(&device);
    site.set_clock(FRIDAY);
    site.push(&[]);
    site.prove();
    let held = "zone = \"UTC\"\nunlisted = \"never\"\n[schedules.s]\n\
        windows = [\"daily 00:00-24:00\"]\n[open]\nschedule = \"s\"\n";
    site.push(&[part(held), failing_classifier(records())]);
    assert!(site.is_open());
    let status = site.status();
    assert_eq!(
        status.policy,
        Some(Digest(Sha256::digest(held.as_bytes()).into()))
    );
    assert_eq!((status.people, status.clock), (0, true));
    // It fails at the first face, and is taken back.
    show(&device, visitor("visitors/biden.jpg"));
    assert!(site.host.update().rolled_back.is_some());
    assert!(!site.is_open());
    assert_eq!(site.status().policy, None);
    assert!(site.opens());
}

#[test]
fn a_policy_survives_a_restart_sealed_and_without_it_nobody_passes() {
    // With a bundle without a policy before it, which takes its place, and without one.
    for has_previous in [false, true] {
        let mut stage = stage();
        stage.config.update.trial_frames = 8;
        let device = stage.start();
        let mut site = Site::of(&device);
        site.set_clock(SATURDAY);
        if has_previous {
            site.push(&[]);
            site.prove();
        }
        site.obey(OFFICE);
        // Until it has proved itself, its people would be gone with it.
        site.prove();
        let counter = site.counter;
        stop(device);
        let sealed = sealed_parts(&stage);
        assert_eq!(sealed.len(), 1, "the policy's: people are in the gallery");

        let device = stage.start();
        let mut site = Site::of(&device);
        site.set_clock(SATURDAY);
        assert!(!site.opens());
        assert_eq!(site.status().people, 1);
        stop(device);

        // Its people are still in the gallery; what they may is not known any more, also at the start after this one.
        std::fs::remove_file(&sealed[0]).unwrap();
        stop(stage.start());
        let device = stage.start();
        let mut site = Site::of(&device);
        site.set_clock(FRIDAY);
        assert!(!site.opens());
        assert!(site.host.status().last_fault.is_some());
        site.counter = counter;
        site.obey(OFFICE);
        assert!(site.opens());
        stop(device);
        let expected = [Reason::NotNow, Reason::Fault, Reason::Granted];
        assert_eq!(reasons(&stage), expected, "{has_previous}");
    }
}

/// The sealed files among a door's bundles, none of which names anybody in clear.
fn sealed_parts(stage: &Stage) -> Vec<PathBuf> {
    let mut sealed = vec![];
    for entry in std::fs::read_dir(stage.data().join("bundles")).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_file() {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let in_clear = bytes
            .windows(OBAMA.len())
            .any(|run| run == OBAMA.as_bytes());
        assert!(!in_clear, "{}", path.display());
        if path.extension().is_some_and(|end| end == "sealed") {
            sealed.push(path);
        }
    }
    sealed
}
