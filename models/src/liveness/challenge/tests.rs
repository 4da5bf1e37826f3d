//! The challenge's state machine, on points of heads and pictures seen by a pinhole camera, ten times a second.

use image::{Rgb, RgbImage};

use super::*;
use crate::{image::Rect, mtcnn::Face};

const TICK: Duration = Duration::from_millis(100);

/// What is shown at a tick: yaw in degrees, and whether the nose has depth.
#[derive(Debug, Clone, Copy)]
enum Shown {
    Head(f64),
    Picture(f64),
    /// A picture of a head turned so far, held straight.
    PictureOf(f64),
    /// A picture that makes the detector put the nose where a head's would be.
    Misleading(f64),
    /// A face elsewhere in the frame.
    Elsewhere,
    Nothing,
    /// A face whose landmarks make no sense.
    Mess,
}

fn points(nose_depth: f64, yaw: f64) -> Landmarks {
    [
        [-0.5, -0.5, 0.0],
        [0.5, -0.5, 0.0],
        [0.0, 0.1, nose_depth],
        [-0.4, 0.6, 0.0],
        [0.4, 0.6, 0.0],
    ]
    .map(|[x, y, z]: [f64; 3]| {
        let (s, c) = yaw.to_radians().sin_cos();
        let (x, z) = (c * x + s * z, c * z - s * x);
        let scale = 400.0 / (10.0 - z);
        [(160.0 + scale * x) as f32, (120.0 + scale * y) as f32]
    })
}

/// A frame with a pattern of its own at each point.
fn frame(points: &Landmarks) -> RgbImage {
    RgbImage::from_fn(320, 240, |x, y| {
        let (x, y) = (x as f32 + 0.5, y as f32 + 0.5);
        let near = points.iter().enumerate().find_map(|(i, p)| {
            let (dx, dy) = (x - p[0], y - p[1]);
            let angle = dy.atan2(dx) * (i as f32 + 1.0);
            (dx.hypot(dy) < 7.0).then(|| 120.0 + 100.0 * angle.cos())
        });
        Rgb([near.unwrap_or(120.0 + 10.0 * (x * 0.11).sin()) as u8; 3])
    })
}

fn observation(shown: Shown, at: Duration) -> Option<Observation> {
    let head = |yaw| points(planar::NOSE_DEPTH, yaw);
    let (landmarks, seen) = match shown {
        Shown::Head(yaw) | Shown::PictureOf(yaw) => (head(yaw), head(yaw)),
        Shown::Picture(yaw) => (points(0.0, yaw), points(0.0, yaw)),
        Shown::Misleading(yaw) => (head(yaw), points(0.0, yaw)),
        Shown::Elsewhere => (head(0.0), head(0.0)),
        Shown::Mess => ([[7.0; 2]; 5], head(0.0)),
        Shown::Nothing => return None,
    };
    let x = if matches!(shown, Shown::Elsewhere) {
        0.0
    } else {
        115.0
    };
    let face = Face {
        rect: Rect {
            x,
            y: 70.0,
            w: 90.0,
            h: 110.0,
        },
        score: 1.0,
        landmarks,
    };
    Some(Observation::new(at, &frame(&seen), &face))
}

/// Straight for a second, then the angles, each gone to over half a second and held for half a second.
fn turning(angles: &[f64], show: impl Fn(f64) -> Shown) -> Vec<Shown> {
    let mut shown = vec![show(0.0); 10];
    let mut from = 0.0;
    for &to in angles {
        shown.extend((1..=5).map(|i| show(from + (to - from) * f64::from(i) / 5.0)));
        shown.extend([show(to); 5]);
        from = to;
    }
    shown
}

fn play(challenge: &Challenge, shown: &[Shown]) -> State {
    let mut state = State::begin(Duration::ZERO);
    for (i, &shown) in shown.iter().enumerate() {
        let now = TICK * i as u32;
        state = look(challenge, state, shown, now);
    }
    state
}

/// One frame of the person.
fn look(challenge: &Challenge, state: State, shown: Shown, now: Duration) -> State {
    let seen = observation(shown, now);
    let look = seen.as_ref().map(|seen| Look {
        seen,
        same: Some(true),
    });
    step(challenge, state, look, now)
}

#[test]
fn heads_that_turn_as_asked_pass_and_nothing_else() {
    struct Case {
        what: &'static str,
        shown: Vec<Shown>,
        ends: Result<(), Option<Failure>>,
    }
    let case = |what, shown, ends| Case { what, shown, ends };
    let failed = |why| Err(Some(why));
    let head = |angles: &[f64]| turning(angles, Shown::Head);
    let picture = |angles: &[f64]| turning(angles, Shown::Picture);
    let and = |first: Vec<Shown>, then: Shown, times: usize| {
        let mut all = first;
        all.extend(vec![then; times]);
        all
    };
    let mut swapped = vec![Shown::PictureOf(0.0); 10];
    swapped.extend([Shown::PictureOf(35.0); 8]);
    let mut out_of_sight = head(&[]);
    out_of_sight.extend([Shown::Nothing; 3]);
    out_of_sight.extend(head(&[35.0, -35.0]).split_off(10));
    let mut dropped = head(&[35.0]);
    dropped.extend([Shown::Nothing; 9]);
    dropped.push(Shown::Head(20.0));
    // One look on the way is within 10 degrees.
    let mut swing = head(&[35.0]);
    swing.extend([22.0, 8.0, -14.0].map(Shown::Head));
    swing.extend([Shown::Head(-35.0); 5]);
    // The detector errs once by as much as the nose stands out, while the head stays turned for a second.
    let mut twitch = head(&[30.0]);
    twitch.extend([Shown::Head(8.0)]);
    twitch.extend([Shown::Head(30.0); 8]);
    twitch.extend([20.0, 10.0, 0.0, -10.0, -20.0].map(Shown::Head));
    twitch.extend([Shown::Head(-35.0); 5]);
    let cases = [
        case("a head", head(&[35.0, -35.0]), Ok(())),
        case("by way of the middle", head(&[35.0, 0.0, -35.0]), Ok(())),
        case("away for a moment", out_of_sight, Ok(())),
        case(
            "messy landmarks for a moment",
            and(head(&[35.0]), Shown::Mess, 3),
            Err(None),
        ),
        case("only one turn", head(&[35.0, 0.0]), Err(None)),
        case(
            "too small a turn",
            and(head(&[12.0, -12.0]), Shown::Head(0.0), 60),
            failed(Failure::TimedOut),
        ),
        case(
            "the wrong side first",
            head(&[-35.0, 35.0]),
            failed(Failure::WrongSide),
        ),
        case("a swing past the middle", swing, Ok(())),
        case("a bad look at the turned head", twitch, Ok(())),
        case(
            "back to the middle, and to the same side again",
            head(&[35.0, 0.0, 35.0]),
            failed(Failure::WrongSide),
        ),
        case(
            "nobody",
            vec![Shown::Nothing; 60],
            failed(Failure::TimedOut),
        ),
        case(
            "looking on",
            vec![Shown::Head(0.0); 80],
            failed(Failure::TimedOut),
        ),
        case(
            "never straight",
            vec![Shown::Head(35.0); 80],
            failed(Failure::TimedOut),
        ),
        case("gone", dropped, failed(Failure::Lost)),
        case(
            "another face",
            and(head(&[]), Shown::Elsewhere, 1),
            failed(Failure::Lost),
        ),
        case(
            "a picture held still",
            vec![Shown::Picture(0.0); 80],
            failed(Failure::TimedOut),
        ),
        case(
            "a picture tilted",
            and(picture(&[30.0, -30.0]), Shown::Picture(0.0), 60),
            failed(Failure::TimedOut),
        ),
        case(
            "a picture tilted far",
            picture(&[50.0, -50.0]),
            failed(Failure::Flat),
        ),
        case(
            "a picture that misleads the detector",
            and(
                turning(&[35.0, -35.0, 0.0], Shown::Misleading),
                Shown::Misleading(0.0),
                60,
            ),
            failed(Failure::TimedOut),
        ),
        case(
            "pictures of a turned head, swapped",
            swapped,
            failed(Failure::Jumped),
        ),
    ];
    let challenge = Challenge::new(&[Turn::Left, Turn::Right]).unwrap();
    let mut failures = vec![];
    for case in cases {
        let end = play(&challenge, &case.shown);
        let found = match &end {
            State::Passed => Ok(()),
            State::Failed(why) => Err(Some(*why)),
            State::Straight { .. } | State::Turning(_) => Err(None),
        };
        if found != case.ends {
            failures.push(format!("{}: {end:?}", case.what));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_second_turn_to_the_same_side_begins_in_the_middle() {
    let challenge = Challenge::new(&[Turn::Left, Turn::Left, Turn::Right]).unwrap();
    let held = turning(&[35.0, 35.0, -35.0], Shown::Head);
    assert_ne!(play(&challenge, &held), State::Passed);
    // Nor does one bad look at the turned head take it there.
    let mut twitch = turning(&[30.0], Shown::Head);
    twitch.push(Shown::Head(8.0));
    twitch.extend([Shown::Head(30.0); 8]);
    let state = play(&challenge, &twitch);
    assert!(
        matches!(&state, State::Turning(turning) if turning.index == 1),
        "{state:?}"
    );
    let again = turning(&[35.0, 0.0, 35.0, -35.0], Shown::Head);
    assert_eq!(play(&challenge, &again), State::Passed);
}

#[test]
fn what_is_asked_is_shown() {
    let challenge = Challenge::new(&[Turn::Right, Turn::Left]).unwrap();
    let mut asked = vec![];
    let mut state = State::begin(Duration::ZERO);
    for (i, shown) in turning(&[-35.0, 35.0], Shown::Head).into_iter().enumerate() {
        let now = TICK * i as u32;
        state = look(&challenge, state, shown, now);
        if asked.last() != Some(&state.asked(&challenge)) {
            asked.push(state.asked(&challenge));
        }
    }
    assert_eq!(
        asked,
        [None, Some(Turn::Right), None, Some(Turn::Left), None]
    );
    assert!(state.ended());
}

#[test]
fn all_orders_are_drawn_equally_and_have_both_sides() {
    for turns in 2..=Challenge::MOST {
        let orders = (1_u64 << turns) - 2;
        let mut drawn: Vec<Vec<Turn>> = (0..orders)
            .map(|random| Challenge::draw(turns, random).into())
            .collect();
        for order in &drawn {
            assert!(Challenge::new(order).is_some(), "{order:?}");
        }
        drawn.sort_by_key(|order| format!("{order:?}"));
        drawn.dedup();
        assert_eq!(drawn.len() as u64, orders);
    }
    assert_eq!(Challenge::new(&[Turn::Left, Turn::Left]), None);
    assert_eq!(Challenge::new(&[]), None);
    assert_eq!(Challenge::draw(0, u64::MAX).turns().len(), 2);
}

/// One frame each, all of them heads: who recognition says it is.
#[test]
fn the_head_that_turns_is_the_person_s() {
    type Who = fn(usize, f64) -> Option<bool>;
    type Case = (&'static str, Who, Result<(), Option<Failure>>);
    let frontal = |yaw: f64| yaw.abs() < 15.0;
    let turns = turning(&[35.0, 0.0, -35.0], Shown::Head);
    let yaws: Vec<f64> = turns
        .iter()
        .map(|shown| match shown {
            Shown::Head(yaw) => *yaw,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(frontal(yaws[24]), "the middle between the turns");
    let cases: [Case; 5] = [
        (
            "known while it looks on",
            |_, yaw| (yaw.abs() < 15.0).then_some(true),
            Ok(()),
        ),
        (
            "one bad look in the middle",
            |i, yaw| (yaw.abs() < 15.0).then_some(i != 24),
            Ok(()),
        ),
        (
            "a stranger turns after a picture looked on",
            |i, yaw| (yaw.abs() < 15.0).then_some(i < 10),
            Err(Some(Failure::OtherFace)),
        ),
        (
            "nobody can tell who comes by the middle",
            |i, _| (i < 10).then_some(true),
            Err(None),
        ),
        (
            "somebody else from the begin",
            |_, _| Some(false),
            Err(Some(Failure::OtherFace)),
        ),
    ];
    let challenge = Challenge::new(&[Turn::Left, Turn::Right]).unwrap();
    let mut failures = vec![];
    for (what, who, ends) in cases {
        let mut state = State::begin(Duration::ZERO);
        for (i, (&shown, &yaw)) in turns.iter().zip(&yaws).enumerate() {
            let now = TICK * i as u32;
            let seen = observation(shown, now).unwrap();
            let look = Look {
                seen: &seen,
                same: who(i, yaw),
            };
            state = step(&challenge, state, Some(look), now);
        }
        let found = match &state {
            State::Passed => Ok(()),
            State::Failed(why) => Err(Some(*why)),
            State::Straight { .. } | State::Turning(_) => Err(None),
        };
        if found != ends {
            failures.push(format!("{what}: {state:?}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
