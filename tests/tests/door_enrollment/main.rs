//! Enrolling at the door, from the button to the first grant, with no host: the networks that ship, real photos turned in
//! 3-D as the door's light asks, and the audit record as the witness. Then names and templates by the real host tool.

mod stage;

use std::path::PathBuf;
use std::thread;

use facelatch_boards::Pattern;
use facelatch_device::audit::What;
use facelatch_host::pad::head::Pose;
use facelatch_protocol::{Coverage, Enrollment, EventKind, NotEnrolled, PersonId, Prompt, Reason};
use facelatch_tests::programs::data;
use image::RgbImage;
use image::imageops::{blur, crop_imm, replace};

use crate::stage::{HELD, Stage, sitter};

fn newcomers_photo() -> PathBuf {
    data("demo/enroll/barack_obama/obama.jpg")
}

fn others_photo() -> PathBuf {
    data("demo/visitors/biden.jpg")
}

fn refused(why: NotEnrolled) -> Enrollment {
    Enrollment::Refused(why)
}

/// Who was enrolled, and what their templates cover.
fn done(steps: &[Enrollment]) -> Vec<(PersonId, Coverage)> {
    let done = |step: &Enrollment| match step {
        Enrollment::Done {
            person, coverage, ..
        } => Some((person.clone(), *coverage)),
        Enrollment::Asked
        | Enrollment::Vouched { .. }
        | Enrollment::Opened { .. }
        | Enrollment::Taken { .. }
        | Enrollment::Refused(_) => None,
    };
    steps.iter().filter_map(done).collect()
}

fn grants(record: &[What]) -> Vec<String> {
    let grant = |what: &What| match what {
        What::Event(EventKind::Decision {
            granted: true,
            person,
            ..
        }) => person.as_ref().map(ToString::to_string),
        _ => None,
    };
    record.iter().filter_map(grant).collect()
}

#[test]
fn an_admin_vouches_a_newcomer_turns_as_asked_and_opens_the_door_with_no_host() {
    let stage = Stage::new();
    let door = stage.start();
    door.vouch();
    assert!(!door.was_unlocked(), "the admin vouches, and is not let in");
    assert_eq!(door.follow(&sitter(&newcomers_photo())), Pattern::Granted);
    door.wait();
    assert!(!door.was_unlocked(), "who only enrolled was not let in");
    door.photo("biden.jpg");
    assert!(!door.was_unlocked(), "a stranger is still one");
    door.photo("obama3.jpg");
    assert!(door.was_unlocked(), "another photo of the newcomer");
    door.wait();

    // Enrolled again, they are somebody already.
    door.vouch();
    assert_eq!(door.follow(&sitter(&newcomers_photo())), Pattern::Denied);
    door.wait();
    door.stop();

    let steps = stage.steps();
    let enrolled = done(&steps);
    let [(person, coverage)] = enrolled.as_slice() else {
        panic!("{steps:?}");
    };
    let admin = PersonId::parse("eileen_collins").expect("an id");
    assert_eq!(
        steps[..2],
        [Enrollment::Asked, Enrollment::Vouched { admin }]
    );
    let taken = steps
        .iter()
        .filter(|step| matches!(step, Enrollment::Taken { .. }));
    assert_eq!(taken.count(), 5, "{steps:?}");
    let Coverage {
        straight,
        left,
        right,
        up,
        down,
        luma_min,
        luma_max,
    } = *coverage;
    assert!(straight && left && right && up && down, "{coverage}");
    assert!(30 < luma_min && luma_min < luma_max, "{coverage}");
    let known = NotEnrolled::AlreadyEnrolled {
        person: person.clone(),
    };
    assert_eq!(steps.last(), Some(&refused(known)));

    let record = stage.record();
    let at = |what: &What| record.iter().position(|there| there == what);
    let added = What::PersonAdded {
        person: person.clone(),
    };
    let vouching = record.iter().position(|what| {
        matches!(
            what,
            What::Event(EventKind::Decision {
                granted: false,
                reason: Reason::NotNow,
                ..
            })
        )
    });
    assert!(vouching < at(&added), "{vouching:?} {:?}", at(&added));
    let prompts = [
        Prompt::ShowAdmin,
        Prompt::LookStraight,
        Prompt::TurnLeft,
        Prompt::TurnRight,
        Prompt::LookUp,
        Prompt::LookDown,
    ];
    for prompt in prompts {
        assert!(
            at(&What::Event(EventKind::Prompt(prompt))).is_some(),
            "{prompt}"
        );
    }
    assert_eq!(grants(&record), [person.to_string()]);
}

#[test]
fn the_host_names_the_newcomer_later_pulls_and_gives_back_the_templates() {
    let stage = Stage::new();
    let door = stage.start();
    let to = door.to();
    let host = |args: &[&str]| stage.host.done(&[args, &["--to", &to]].concat());
    door.vouch();
    assert_eq!(door.follow(&sitter(&newcomers_photo())), Pattern::Granted);
    let people = host(&["people", "list"]);
    let made_up = people["people"][0]["person"].as_str().expect("an id");
    assert!(made_up.starts_with("door-"), "{people}");
    // A host that fetched them under the first id.
    assert_eq!(host(&["pull"])["new_templates"], 5);
    let taken = ["people", "rename", made_up, "eileen_collins", "--to", &to];
    stage
        .host
        .refused(&taken, 2, &["the workspace has another person"]);
    let renamed = host(&[
        "people",
        "rename",
        made_up,
        "barack",
        "--name",
        "Barack Obama",
    ]);
    assert_eq!(renamed["done"], "renamed, in the workspace too");
    assert_eq!(host(&["pull"])["new_templates"], 0);
    let mine = stage.host.done(&["people", "list"]);
    let ids = |list: &serde_json::Value| {
        let people = list["people"].as_array().expect("a list").iter();
        let row = |p: &serde_json::Value| (p["person"].clone(), p["templates"].clone());
        people.map(row).collect::<Vec<_>>()
    };
    let expected = [
        ("barack".into(), 5.into()),
        ("eileen_collins".into(), 1.into()),
    ];
    assert_eq!(ids(&mine), expected);
    door.stop();

    // Another start, and another photo.
    let door = stage.start();
    door.photo("obama3.jpg");
    assert!(door.was_unlocked());
    door.wait();
    // Back from the host, trained there: the same people, once.
    stage.host.done(&["train"]);
    stage.push(&door);
    let to = door.to();
    let there = stage.host.done(&["people", "list", "--to", &to]);
    assert_eq!(ids(&there), expected);
    door.photo("obama3.jpg");
    door.stop();
    let record = stage.record();
    assert_eq!(grants(&record), ["barack", "barack"]);
    let moved = |what: &What| matches!(what, What::PersonMoved { person, to } if person.starts_with("door-") && &**to == "barack");
    assert!(record.iter().any(moved));
}

#[test]
fn whoever_is_not_the_newcomer_ends_it() {
    let stage = Stage::new();
    let door = stage.start();
    let newcomer = sitter(&newcomers_photo());
    let other = sitter(&others_photo());
    let straight = newcomer.frame(Pose::default());
    let end = |light| {
        assert_eq!(light, Pattern::Denied);
        door.wait();
    };

    // Another face in between.
    door.vouch();
    door.show(straight.clone(), "newcomer", 3);
    assert_eq!(door.light(), Pattern::TurnLeft);
    end(door.follow(&other));
    // A stranger instead of an admin.
    door.sim.panel.press(HELD);
    door.photo("rocket.jpg");
    door.photo("biden.jpg");
    end(door.light());
    // Two faces, one as near as the other; then nothing sharp; then given up.
    door.vouch();
    door.show(beside(&straight, &other.frame(Pose::default())), "two", 6);
    assert_eq!(door.light(), Pattern::LookStraight, "nothing was kept");
    door.show(blur(&straight, 6.0), "blurred", 6);
    assert_eq!(door.light(), Pattern::LookStraight, "nothing was kept");
    door.sim.panel.press(HELD);
    door.photo("rocket.jpg");
    end(door.light());
    // Time is up, with two faces to the end.
    door.vouch();
    door.show(beside(&straight, &other.frame(Pose::default())), "two", 6);
    let clock = door.sim.clock.clone().expect("a manual clock");
    clock.advance(std::time::Duration::from_secs(301));
    door.photo("rocket.jpg");
    end(door.light());
    assert!(!door.was_unlocked());
    door.stop();

    let ends: Vec<Enrollment> = stage
        .steps()
        .into_iter()
        .filter(|step| matches!(step, Enrollment::Refused(_) | Enrollment::Done { .. }))
        .collect();
    let last = Some(Reason::SeveralFaces);
    assert_eq!(
        ends,
        [
            refused(NotEnrolled::OtherFace),
            refused(NotEnrolled::NotAdmin),
            refused(NotEnrolled::GivenUp),
            refused(NotEnrolled::TimedOut { last }),
        ]
    );
}

#[test]
fn a_host_opens_the_window_and_follows_it_to_its_end() {
    let stage = Stage::new();
    let door = stage.start();
    let to = door.to();
    let newcomer = sitter(&newcomers_photo());
    for (id, code, last) in [("barack", 0, "barack is enrolled"), ("again", 3, "already")] {
        let enroll = ["people", "enroll", "--person", id, "--follow", "--to", &to];
        thread::scope(|scope| {
            let host = scope.spawn(|| stage.host.run(&enroll));
            while door.light() != Pattern::LookStraight {
                // Frames without anybody, until the host's request has come.
                door.photo("rocket.jpg");
            }
            door.follow(&newcomer);
            let ended = host.join().expect("the program ran");
            assert_eq!(ended.code, Some(code), "{}{}", ended.out, ended.err);
            let lines: Vec<&str> = ended.out.lines().collect();
            assert!(
                lines.last().is_some_and(|line| line.contains(last)),
                "{lines:?}"
            );
            assert!(ended.out.contains("prompt: look-straight"), "{lines:?}");
        });
        door.wait();
    }
    door.stop();
}

/// The middles of two pictures in one.
fn beside(left: &RgbImage, right: &RgbImage) -> RgbImage {
    let (width, height) = left.dimensions();
    let mut both = RgbImage::new(width, height);
    for (image, x) in [(left, 0), (right, i64::from(width / 2))] {
        let half = crop_imm(image, width / 4, 0, width / 2, height).to_image();
        replace(&mut both, &half, x, 0);
    }
    both
}
