//! What each level makes of looks and decisions; that heads pass is shown by the tests of the whole door.

use facelatch_models::{
    image::Rect,
    liveness::{patch::Patch, signs::Signs},
};
use image::RgbImage;

use super::*;
use crate::identify::Evidence;

const TRACK: u32 = 7;

fn liveness(level: Level) -> Liveness {
    Liveness::new(Rules {
        level,
        turns: 2,
        max_gap: Duration::from_millis(1000),
    })
}

fn at(frame: u64) -> Duration {
    Duration::from_millis(100 * frame)
}

fn granted(track: u32, person: &str) -> Decision {
    Decision {
        track: Some(track),
        outcome: Outcome::Granted {
            person: person.into(),
        },
        evidence: Evidence::default(),
        votes: 3,
    }
}

fn denied(reason: Reason) -> Step {
    Step::Decided(not_live(granted(TRACK, "ada"), reason))
}

/// A face looking on, so many pixels aside.
fn seen(frame: u64, aside: f32, who: Who) -> Seen {
    let face = [
        [40.0, 40.0],
        [80.0, 40.0],
        [60.0, 64.0],
        [44.0, 84.0],
        [76.0, 84.0],
    ];
    let landmarks = face.map(|[x, y]: [f32; 2]| [x + aside, y]);
    Seen {
        track: TRACK,
        observation: Observation {
            at: at(frame),
            rect: Rect {
                x: 20.0 + aside,
                y: 10.0,
                w: 80.0,
                h: 100.0,
            },
            landmarks,
            patch: Patch::cut(&RgbImage::new(160, 120), &landmarks),
            signs: Signs::default(),
            score: None,
        },
        who,
    }
}

fn ada() -> Who {
    Who::Person("ada".into())
}

/// Sways as people do.
fn swaying(frame: u64) -> Seen {
    seen(frame, 4.0 * (frame as f32).sin(), ada())
}

#[test]
fn without_liveness_every_decision_passes() {
    let mut off = liveness(Level::Off);
    assert!(!off.observes(TRACK));
    let decision = granted(TRACK, "ada");
    assert_eq!(
        off.decided(decision.clone(), 0, at(3)),
        [Step::Decided(decision)]
    );
    assert!(!off.is_examining());
}

#[test]
fn a_face_that_moves_passes_and_a_still_one_does_not() {
    let mut passive = liveness(Level::Passive);
    for frame in 0..20 {
        assert_eq!(passive.look(vec![swaying(frame)], at(frame)), []);
    }
    let decision = granted(TRACK, "ada");
    assert_eq!(
        passive.decided(decision.clone(), 0, at(20)),
        [Step::Decided(decision)]
    );

    let mut passive = liveness(Level::Passive);
    for frame in 0..20 {
        passive.look(vec![seen(frame, 0.0, ada())], at(frame));
    }
    assert_eq!(
        passive.decided(granted(TRACK, "ada"), 0, at(20)),
        [denied(Reason::NotLive)]
    );
}

#[test]
fn too_few_looks_are_waited_for_and_then_the_person_is_seen_again() {
    let mut passive = liveness(Level::Passive);
    for frame in 0..3 {
        passive.look(vec![swaying(frame)], at(frame));
    }
    assert_eq!(passive.decided(granted(TRACK, "ada"), 0, at(2)), []);
    assert!(passive.examines(TRACK));
    let steps = (3..20).map(|frame| passive.look(vec![swaying(frame)], at(frame)));
    let steps: Vec<Step> = steps.flatten().collect();
    assert_eq!(steps, [Step::VoteAgain(TRACK)]);
    let decision = granted(TRACK, "ada");
    assert_eq!(
        passive.decided(decision.clone(), 0, at(20)),
        [Step::Decided(decision)]
    );
    assert!(!passive.is_examining());
}

/// What a challenge makes of frames, each a face or none.
fn challenged(frames: impl Iterator<Item = Option<Seen>>) -> Vec<Step> {
    let mut live = liveness(Level::Challenge);
    assert!(!live.observes(TRACK));
    let mut steps = live.decided(granted(TRACK, "ada"), 5, at(0));
    assert!(live.observes(TRACK));
    for (frame, seen) in (1..).zip(frames) {
        steps.extend(live.look(seen.into_iter().collect(), at(frame)));
    }
    steps
}

#[test]
fn a_challenge_ends_with_one_answer() {
    let straight = Step::Ask(Prompt::LookStraight);
    let told = Step::Told(TRACK);
    let turn = |random: u64| match Challenge::draw(2, random).turns()[0] {
        Turn::Left => Step::Ask(Prompt::TurnLeft),
        Turn::Right => Step::Ask(Prompt::TurnRight),
    };
    let failed = |reason| vec![straight.clone(), told.clone(), denied(reason)];
    let looks_on = (1..90).map(|frame| Some(seen(frame, 0.0, ada())));
    assert_eq!(
        challenged(looks_on),
        [
            straight.clone(),
            turn(5),
            told.clone(),
            denied(Reason::NotLive)
        ],
        "never turned"
    );
    assert_eq!(
        challenged((1..30).map(|_| None)),
        failed(Reason::NotLive),
        "gone"
    );
    let strangers = (1..9).map(|frame| Some(seen(frame, 0.0, Who::Stranger)));
    assert_eq!(challenged(strangers), failed(Reason::NotLive), "another");
    let crowded = (1..90).map(|frame| Some(seen(frame, 0.0, Who::Crowded)));
    assert_eq!(
        challenged(crowded),
        failed(Reason::Quality(quality::Reason::SeveralFaces)),
        "somebody stands beside"
    );
}

#[test]
fn one_face_at_a_time_is_examined() {
    let mut live = liveness(Level::Challenge);
    let asked = live.decided(granted(TRACK, "ada"), 0, at(0));
    assert_eq!(asked, [Step::Ask(Prompt::LookStraight)]);
    assert_eq!(live.decided(granted(8, "bob"), 0, at(1)), []);
    assert_eq!(
        live.decided(granted(TRACK, "ada"), 0, at(1)),
        [],
        "votes of before"
    );
    let nobody = Decision {
        outcome: Outcome::Denied(Reason::NoFace),
        track: Some(9),
        ..granted(9, "")
    };
    assert_eq!(
        live.decided(nobody.clone(), 0, at(1)),
        [Step::Decided(nobody)]
    );
    let left = live.visitor_changed().map(Step::Decided);
    assert_eq!(left, Some(denied(Reason::NotLive)));
    assert!(!live.is_examining());
}

#[test]
fn who_was_found_alive_has_to_be_the_person_still() {
    for (decision, expected) in [
        (
            granted(TRACK, "ada"),
            vec![Step::Decided(granted(TRACK, "ada"))],
        ),
        (
            granted(TRACK, "bob"),
            vec![Step::Told(TRACK), denied(Reason::NotLive)],
        ),
    ] {
        let mut live = liveness(Level::Challenge);
        live.decided(granted(TRACK, "ada"), 0, at(0));
        let exam = live.exam.as_mut().unwrap();
        exam.phase = Phase::Confirming { since: at(30) };
        assert_eq!(live.decided(decision, 0, at(31)), expected);
    }
    let mut live = liveness(Level::Challenge);
    live.decided(granted(TRACK, "ada"), 0, at(0));
    live.exam.as_mut().unwrap().phase = Phase::Confirming { since: at(0) };
    let waiting = (1..60).flat_map(|frame| {
        let turned = seen(frame, 0.0, Who::Unclear);
        live.look(vec![turned], at(frame))
    });
    let steps: Vec<Step> = waiting.collect();
    assert_eq!(
        steps,
        [Step::Told(TRACK), denied(Reason::NotLive)],
        "too late"
    );
}

#[test]
fn who_has_passed_and_stays_is_not_asked_again_for_a_while() {
    let mut live = liveness(Level::Challenge);
    live.decided(granted(TRACK, "ada"), 0, at(0));
    live.exam.as_mut().unwrap().phase = Phase::Confirming { since: at(30) };
    let passes = |decision: &Decision| vec![Step::Decided(decision.clone())];
    let ada = granted(TRACK, "ada");
    assert_eq!(live.decided(ada.clone(), 0, at(31)), passes(&ada));
    assert_eq!(live.decided(ada.clone(), 0, at(330)), passes(&ada));
    let asked = [Step::Ask(Prompt::LookStraight)];
    for (decision, when) in [
        (granted(TRACK, "bob"), at(62)),
        (granted(8, "ada"), at(62)),
        (ada, at(331)),
    ] {
        assert_eq!(live.decided(decision, 0, when), asked);
        live.exam = None;
    }
}
