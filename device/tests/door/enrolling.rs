//! Enrolling at the door with photos, which look straight ahead: who begins it, what ends it, and who gets in then.
//! Heads that turn as asked are in the workspace's tests.

use std::time::Duration;

use facelatch_boards::{
    Pattern, Sound,
    sim::{Input, Visitor},
};
use facelatch_device::{Device, audit::What};
use facelatch_protocol::{
    Coverage, DisplayName, Enrollment, EventKind, NotEnrolled, PersonId, Prompt, Reason, Refusal,
    Request, Response, bundle::PartKind,
};

use crate::{
    far_end::bundles::bundle,
    host::Host,
    stage::{Stage, id, latch, photo, records, show, visitor, was_unlocked},
    updates::{gallery, space},
};

const HELD: Duration = Duration::from_millis(1_200);

/// A door whose button enrolls, without waiting long for poses that a photo cannot take.
fn stage(mut stage: Stage) -> Stage {
    stage.config.enroll.button = true;
    stage.config.enroll.pose_ms = 500;
    stage.config.enroll.window_ms = 20_000;
    stage
}

fn long(file: &str, frames: u32) -> Visitor {
    Visitor {
        frames: Some(frames),
        ..Visitor::photo(photo(file))
    }
}

fn press(device: &Device, held: Duration) {
    device.sim().unwrap().panel.press(held);
    // A frame, so that the door has looked at its button.
    show(device, long("visitors/rocket.jpg", 1));
}

fn pass(device: &Device, time: Duration) {
    let clock = device.sim().unwrap().clock.clone();
    clock.unwrap().advance(time);
    show(device, long("visitors/rocket.jpg", 1));
}

fn steps(stage: &Stage) -> Vec<Enrollment> {
    let step = |what| match what {
        What::Event(EventKind::Enrollment(step)) => Some(step),
        _ => None,
    };
    let entries = stage.entries().into_iter();
    entries.filter_map(|entry| step(entry.what)).collect()
}

fn refused(why: NotEnrolled) -> Enrollment {
    Enrollment::Refused(why)
}

fn opening(person: Option<PersonId>) -> Request {
    Request::EnrollmentOpen { person, name: None }
}

#[test]
fn a_short_press_does_nothing_and_without_an_admin_nobody_vouches() {
    let stage = stage(Stage::empty());
    let device = stage.start();
    press(&device, Duration::from_millis(300));
    press(&device, HELD);
    let shown = device.sim().unwrap().panel.shown();
    assert!(shown.iter().any(|shown| shown.pattern == Pattern::Denied));
    device.stop();
    device.join().unwrap();
    assert_eq!(steps(&stage), [refused(NotEnrolled::NoAdmin)]);

    let mut off = Stage::empty();
    off.config.enroll.button = false;
    let device = off.start();
    press(&device, HELD);
    device.stop();
    device.join().unwrap();
    assert_eq!(steps(&off), []);
}

#[test]
fn a_host_opens_it_for_a_face_that_is_let_in_then_and_is_nobody_elses_later() {
    let stage = stage(Stage::empty());
    let device = stage.start();
    let mut host = Host::connect(&device);
    show(&device, long("visitors/rocket.jpg", 1));
    assert_eq!(host.ask(opening(Some(id("barack")))), Response::Done);
    let busy = Response::Refused(Refusal::Enrolling);
    assert_eq!(host.ask(opening(None)), busy);
    show(&device, long("enroll/barack_obama/obama.jpg", 60));
    let panel = device.sim().unwrap().panel.clone();
    assert!(panel.heard().contains(&Sound::Granted));
    assert!(was_unlocked(&latch(&device)), "known to the next frames");
    let taken = Response::Refused(Refusal::PersonExists);
    assert_eq!(host.ask(opening(Some(id("barack")))), taken);

    assert_eq!(host.ask(opening(None)), Response::Done);
    show(&device, long("enroll/barack_obama/obama.jpg", 10));
    assert_eq!(host.ask(opening(None)), Response::Done, "it was refused");
    assert_eq!(host.ask(Request::EnrollmentClose), Response::Done);
    assert_eq!(host.ask(Request::EnrollmentClose), Response::Done);
    device.stop();
    device.join().unwrap();

    let steps = steps(&stage);
    assert!(
        matches!(steps[0], Enrollment::Opened { .. }),
        "by whom is on record: {steps:?}"
    );
    let done = |step: &Enrollment| match step {
        Enrollment::Done {
            person, coverage, ..
        } => Some((person.clone(), *coverage)),
        _ => None,
    };
    let (person, coverage) = steps.iter().find_map(done).expect("enrolled");
    let Coverage {
        straight, left, up, ..
    } = coverage;
    assert_eq!(
        (person, straight, left, up),
        (id("barack"), true, false, false)
    );
    let person = id("barack");
    let ends: Vec<_> = steps
        .into_iter()
        .filter(|step| matches!(step, Enrollment::Refused(_)))
        .collect();
    assert_eq!(
        ends,
        [
            refused(NotEnrolled::AlreadyEnrolled { person }),
            refused(NotEnrolled::GivenUp)
        ]
    );
}

#[test]
fn only_the_policys_admins_vouch_and_no_face_opens_meanwhile() {
    let stage = stage(Stage::empty());
    let device = stage.start();
    let mut host = Host::connect(&device);
    let policy = b"zone = \"UTC\"\n[people.eileen_collins]\nadmin = true\n".to_vec();
    let parts = [
        gallery(records()),
        (PartKind::Policy, "policy.toml", policy),
    ];
    let pushed = host.push(&bundle(1, &space(), &parts));
    assert!(matches!(pushed, Response::Bundle(_)), "{pushed:?}");
    // Whoever has rules is not given another id, under which there are none; another name is no matter.
    let rename = |to: &str| Request::PersonRename {
        person: id("eileen_collins"),
        to: id(to),
        name: DisplayName::parse("Eileen Collins").unwrap(),
    };
    let refusal = Response::Refused(Refusal::NotAllowed);
    assert_eq!(host.ask(rename("eileen")), refusal);
    assert_eq!(host.ask(rename("eileen_collins")), Response::Done);
    // A stranger, and somebody who may pass, but not vouch.
    for nobody in ["visitors/biden.jpg", "visitors/obama2.jpg"] {
        press(&device, HELD);
        // Gone before there are frames enough to be let in as usual.
        show(&device, long(nobody, 5));
        pass(&device, Duration::from_secs(3));
    }
    // The admin; then the button again.
    press(&device, HELD);
    show(&device, visitor("enroll/eileen_collins/astronaut.png"));
    press(&device, Duration::from_millis(200));
    // Nobody comes.
    press(&device, HELD);
    pass(&device, Duration::from_secs(21));
    assert!(!was_unlocked(&latch(&device)));
    device.stop();
    device.join().unwrap();
    let admin = id("eileen_collins");
    assert_eq!(
        steps(&stage),
        [
            Enrollment::Asked,
            refused(NotEnrolled::NotAdmin),
            Enrollment::Asked,
            refused(NotEnrolled::NotAdmin),
            Enrollment::Asked,
            Enrollment::Vouched { admin },
            refused(NotEnrolled::GivenUp),
            Enrollment::Asked,
            refused(NotEnrolled::TimedOut { last: None }),
        ]
    );
}

#[test]
fn poor_frames_are_told_and_the_last_reason_is_on_record() {
    let stage = stage(Stage::empty());
    let device = stage.start();
    let mut host = Host::connect(&device);
    show(&device, long("visitors/rocket.jpg", 1));
    assert_eq!(host.ask(opening(None)), Response::Done);
    let image = facelatch_models::image::open(&photo("visitors/obama2.jpg")).unwrap();
    let blurred = image::imageops::blur(&image, image.width() as f32 / 80.0);
    let blurred = Visitor {
        picture: facelatch_boards::sim::Picture::Pixels(blurred),
        label: "blurred".into(),
        frames: Some(5),
        brightness: 1.0,
    };
    show(&device, blurred);
    pass(&device, Duration::from_secs(21));
    device.stop();
    device.join().unwrap();
    let last = Some(Reason::Blurred);
    let refused = refused(NotEnrolled::TimedOut { last });
    assert_eq!(steps(&stage).last(), Some(&refused));
    let entries = stage.entries();
    let hints = entries
        .iter()
        .filter(|e| e.what == What::Event(EventKind::Prompt(Prompt::HoldStill)));
    assert_eq!(hints.count(), 1);
}

#[test]
fn a_lockdown_and_a_fire_end_it_and_keep_it_from_beginning() {
    let stage = stage(Stage::empty());
    let device = stage.start();
    let mut host = Host::connect(&device);
    show(&device, long("visitors/rocket.jpg", 1));
    assert_eq!(host.ask(opening(None)), Response::Done);
    let lockdown = |host: &mut Host, on| {
        let answer = host.ask(Request::Lockdown { on });
        assert!(matches!(answer, Response::Door(_)), "{answer:?}");
    };
    lockdown(&mut host, true);
    show(&device, long("visitors/rocket.jpg", 1));
    let shut = Response::Refused(Refusal::LockedDown);
    assert_eq!(host.ask(opening(None)), shut);
    lockdown(&mut host, false);

    assert_eq!(host.ask(opening(None)), Response::Done);
    let panel = device.sim().unwrap().panel.clone();
    panel.turn(Input::Fire, true);
    show(&device, long("visitors/rocket.jpg", 1));
    let shut = Response::Refused(Refusal::OutOfService);
    assert_eq!(host.ask(opening(None)), shut);
    panel.turn(Input::Fire, false);
    show(&device, long("visitors/rocket.jpg", 1));
    assert_eq!(host.ask(opening(None)), Response::Done);
    device.stop();
    device.join().unwrap();
    let ends = steps(&stage);
    let faults = ends
        .iter()
        .filter(|step| **step == refused(NotEnrolled::Fault));
    assert_eq!(faults.count(), 2, "{ends:?}");
}

#[test]
fn a_person_gets_another_id_over_the_link_and_is_known_by_it() {
    let stage = stage(Stage::enrolled());
    let device = stage.start();
    let mut host = Host::connect(&device);
    let rename = |from: &str, to: &str| Request::PersonRename {
        person: id(from),
        to: id(to),
        name: DisplayName::parse("Barack Obama").unwrap(),
    };
    let refusals = [
        ("barack_obama", "eileen_collins", Refusal::PersonExists),
        ("nobody", "somebody", Refusal::UnknownPerson),
    ];
    for (from, to, refusal) in refusals {
        assert_eq!(host.ask(rename(from, to)), Response::Refused(refusal));
    }
    show(&device, long("visitors/rocket.jpg", 1));
    assert_eq!(host.ask(opening(None)), Response::Done);
    let busy = Response::Refused(Refusal::Enrolling);
    assert_eq!(host.ask(rename("barack_obama", "obama")), busy);
    assert_eq!(host.ask(Request::EnrollmentClose), Response::Done);
    assert_eq!(host.ask(rename("barack_obama", "obama")), Response::Done);
    show(&device, visitor("visitors/obama2.jpg"));
    device.stop();
    device.join().unwrap();
    let moved = What::PersonMoved {
        person: id("barack_obama"),
        to: id("obama"),
    };
    assert!(stage.entries().iter().any(|entry| entry.what == moved));
    let visits = stage.visits();
    let granted = (true, Reason::Granted, Some("obama".to_owned()));
    assert_eq!(visits.last(), Some(&granted));
}
