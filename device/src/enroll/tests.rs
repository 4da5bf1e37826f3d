//! Enrollments from begin to end, frame by frame, with the clock in the test's hand.

use facelatch_models::{embedding::SpaceId, openset::Reject};

use super::*;

const RULES: Rules = Rules {
    window: Duration::from_secs(60),
    pose: Duration::from_secs(5),
    frames: 5,
    spacing: Duration::from_millis(400),
    max_gap: Duration::from_millis(1_000),
    min_overlap: 0.3,
};

const STRAIGHT: [f32; 2] = [0.0, 0.0];
const LEFT: [f32; 2] = [18.0, 0.0];
const RIGHT: [f32; 2] = [-18.0, 0.0];
const UP: [f32; 2] = [0.0, 12.0];
const DOWN: [f32; 2] = [0.0, -12.0];
const POSES: [[f32; 2]; 5] = [STRAIGHT, LEFT, RIGHT, UP, DOWN];

fn id(text: &str) -> PersonId {
    PersonId::parse(text).unwrap()
}

fn ask(prompt: Prompt) -> Progress {
    Progress::Ask(prompt)
}

fn refused(why: NotEnrolled) -> Progress {
    Progress::Refused(why)
}

fn taken(taken: usize, ask: Option<Prompt>) -> Progress {
    let wanted = 5;
    Progress::Taken { taken, wanted, ask }
}

/// A door, its clock, and the face in front of it.
struct Stage {
    enrollment: Enrollment,
    now: Duration,
    /// Where the face is.
    x: f32,
    /// Whose: the angle of its embedding; strangers are 90 degrees apart.
    who: f32,
    /// The nearest person of the gallery, and how far they are.
    nearest: Option<(&'static str, f32)>,
}

impl Stage {
    fn new() -> Stage {
        Stage {
            enrollment: Enrollment::default(),
            now: Duration::from_secs(100),
            x: 0.0,
            who: 0.0,
            nearest: None,
        }
    }

    /// After the press and the admin's face.
    fn vouched() -> Stage {
        let mut stage = Stage::new();
        let begun = stage.enrollment.begin(true, stage.now, &RULES);
        assert_eq!(begun, ask(Prompt::ShowAdmin));
        let vouched = stage.enrollment.vouched("ada", stage.now, &RULES);
        assert_eq!(vouched, ask(Prompt::LookStraight));
        stage
    }

    /// Half a second later, a frame.
    fn frame(&mut self, [yaw_deg, pitch_deg]: [f32; 2]) -> Progress {
        self.pass(500);
        self.look([yaw_deg, pitch_deg])
    }

    fn look(&mut self, [yaw_deg, pitch_deg]: [f32; 2]) -> Progress {
        let rect = Rect {
            x: self.x,
            y: 0.0,
            w: 100.0,
            h: 100.0,
        };
        let head = Head { yaw_deg, pitch_deg };
        if !self.enrollment.wants(&rect, head, self.now, &RULES) {
            return Progress::Waiting;
        }
        let (y, x) = self.who.to_radians().sin_cos();
        let space = SpaceId::parse("space-1").unwrap();
        let evidence = Evidence {
            nearest: self.nearest.map(|(person, _)| person.to_owned()),
            distance: self.nearest.map(|(_, distance)| distance),
            ..Evidence::default()
        };
        let verdict = match self.nearest {
            Some((person, distance)) if distance <= 0.4 => Verdict::Known {
                person: person.to_owned(),
                evidence,
            },
            Some(_) | None => Verdict::Unknown {
                reject: Reject::TooDistant,
                evidence,
            },
        };
        let look = Look {
            rect,
            head,
            luma: 100.0 + yaw_deg,
            template: Embedding::new(space, vec![x, y]).unwrap(),
            verdict: &verdict,
            max_distance: 0.4,
        };
        self.enrollment.face(look, self.now, &RULES).unwrap()
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn tick(&mut self) -> Progress {
        self.enrollment.tick(self.now, &RULES)
    }
}

#[test]
fn an_admin_vouches_and_five_poses_make_a_person() {
    let mut stage = Stage::new();
    let begun = stage.enrollment.begin(true, stage.now, &RULES);
    assert_eq!(begun, ask(Prompt::ShowAdmin));
    assert!(stage.enrollment.awaits_admin());
    assert_eq!(stage.frame(STRAIGHT), Progress::Waiting, "nobody yet");
    let (now, rules) = (stage.now, RULES);
    assert_eq!(
        stage.enrollment.vouched("ada", now, &rules),
        ask(Prompt::LookStraight)
    );
    assert!(stage.enrollment.awaits_newcomer() && !stage.enrollment.awaits_admin());
    assert_eq!(
        stage.enrollment.vouched("bob", now, &rules),
        Progress::Waiting
    );
    let expected = [
        Prompt::TurnLeft,
        Prompt::TurnRight,
        Prompt::LookUp,
        Prompt::LookDown,
    ];
    for (i, prompt) in expected.into_iter().enumerate() {
        assert_eq!(stage.frame(POSES[i]), taken(i + 1, Some(prompt)));
        assert_eq!(stage.enrollment.prompt(), Some(prompt));
        assert_eq!(stage.look(POSES[i + 1]), Progress::Waiting, "too soon");
        assert_eq!(stage.frame(POSES[i]), Progress::Waiting, "not as asked");
    }
    let Progress::Done(newcomer) = stage.frame(DOWN) else {
        panic!("five frames are enough");
    };
    assert!(!stage.enrollment.is_open());
    assert_eq!(newcomer.templates.len(), 5);
    assert_eq!(newcomer.wanted, Wanted::default());
    let coverage = Coverage {
        straight: true,
        left: true,
        right: true,
        up: true,
        down: true,
        luma_min: 82,
        luma_max: 118,
    };
    assert_eq!(newcomer.coverage, coverage);
}

#[test]
fn a_host_opens_it_without_an_admin_and_names_the_newcomer() {
    let mut stage = Stage::new();
    let wanted = Wanted {
        person: Some(id("eve")),
        name: None,
    };
    let opened = stage.enrollment.open(wanted.clone(), stage.now, &RULES);
    assert_eq!(opened, ask(Prompt::LookStraight));
    let last = POSES.map(|pose| stage.frame(pose));
    let Some(Progress::Done(newcomer)) = last.last() else {
        panic!("{last:?}");
    };
    assert_eq!(newcomer.wanted, wanted);
}

#[test]
fn a_head_that_does_not_move_is_enrolled_all_the_same_and_coverage_says_so() {
    let mut stage = Stage::vouched();
    stage.frame(STRAIGHT);
    for prompt in [
        Prompt::TurnRight,
        Prompt::LookUp,
        Prompt::LookDown,
        Prompt::LookStraight,
    ] {
        // It stays where it is, and is seen.
        for _ in 0..10 {
            assert_eq!(stage.tick(), Progress::Waiting);
            assert_eq!(stage.frame(STRAIGHT), Progress::Waiting);
        }
        assert_eq!(stage.tick(), ask(prompt));
    }
    for i in 2..5 {
        assert_eq!(stage.frame(STRAIGHT), taken(i, None));
    }
    let Progress::Done(newcomer) = stage.frame(STRAIGHT) else {
        panic!("five straight looks are enough");
    };
    let Coverage {
        straight,
        left,
        right,
        up,
        down,
        ..
    } = newcomer.coverage;
    assert!(straight && !left && !right && !up && !down);
}

#[test]
fn nobody_vouches_where_there_is_no_admin() {
    let mut stage = Stage::new();
    let begun = stage.enrollment.begin(false, stage.now, &RULES);
    assert_eq!(begun, refused(NotEnrolled::NoAdmin));
    assert!(!stage.enrollment.is_open());
    assert_eq!(
        stage.enrollment.end(NotEnrolled::GivenUp),
        Progress::Waiting,
        "nothing to give up"
    );
}

#[test]
fn the_admin_is_waited_out_and_never_enrolled_again() {
    let mut stage = Stage::vouched();
    stage.nearest = Some(("ada", 0.2));
    assert_eq!(stage.frame(STRAIGHT), Progress::Waiting);
    // Nor is somebody who is nearly the admin.
    stage.nearest = Some(("ada", 0.42));
    assert_eq!(stage.frame(STRAIGHT), Progress::Waiting);
    (stage.who, stage.x, stage.nearest) = (90.0, 300.0, None);
    assert_eq!(stage.frame(STRAIGHT), taken(1, Some(Prompt::TurnLeft)));

    let mut stage = Stage::vouched();
    stage.nearest = Some(("ada", 0.2));
    while stage.frame(STRAIGHT) == Progress::Waiting && stage.tick() == Progress::Waiting {
        assert!(stage.now < Duration::from_secs(200), "it never ends");
        if stage.now >= Duration::from_secs(160) - Duration::from_millis(500) {
            stage.pass(500);
            let person = id("ada");
            assert_eq!(
                stage.tick(),
                refused(NotEnrolled::AlreadyEnrolled { person })
            );
            return;
        }
    }
    panic!("it ended early");
}

#[test]
fn somebody_known_is_refused_at_any_frame_also_when_only_nearly_recognised() {
    for (distance, frames_before) in [(0.1, 0), (0.39, 2), (0.42, 0), (0.42, 3)] {
        let mut stage = Stage::vouched();
        for pose in &POSES[..frames_before] {
            stage.nearest = Some(("bob", 0.5));
            assert!(matches!(stage.frame(*pose), Progress::Taken { .. }));
        }
        stage.nearest = Some(("bob", distance));
        let person = id("bob");
        assert_eq!(
            stage.frame(POSES[frames_before]),
            refused(NotEnrolled::AlreadyEnrolled { person }),
            "at {distance}"
        );
        assert!(!stage.enrollment.is_open());
    }
}

#[test]
fn another_face_in_between_ends_it_one_odd_frame_does_not() {
    let mut stage = Stage::vouched();
    stage.frame(STRAIGHT);
    stage.who = 90.0;
    assert_eq!(stage.frame(LEFT), Progress::Waiting);
    stage.who = 10.0;
    assert_eq!(stage.frame(LEFT), taken(2, Some(Prompt::TurnRight)));
    stage.who = 90.0;
    assert_eq!(stage.frame(RIGHT), Progress::Waiting);
    assert_eq!(stage.frame(RIGHT), refused(NotEnrolled::OtherFace));

    // Also if it is the admin's.
    let mut stage = Stage::vouched();
    stage.frame(STRAIGHT);
    (stage.who, stage.nearest) = (90.0, Some(("ada", 0.1)));
    stage.frame(LEFT);
    assert_eq!(stage.frame(LEFT), refused(NotEnrolled::OtherFace));
}

#[test]
fn a_face_that_jumps_or_was_away_is_kept_only_after_it_is_known_again() {
    for (jump, away_ms) in [(300.0, 0), (0.0, 3_000)] {
        let mut stage = Stage::vouched();
        stage.frame(STRAIGHT);
        stage.x += jump;
        stage.pass(away_ms);
        assert_eq!(stage.frame(LEFT), Progress::Waiting, "{jump} {away_ms}");
        assert_eq!(stage.frame(LEFT), taken(2, Some(Prompt::TurnRight)));
    }
}

#[test]
fn time_runs_out_with_the_last_reason_and_frames_that_help_are_asked_for_once() {
    let mut stage = Stage::vouched();
    let far = Progress::Hint(Prompt::ComeNearer);
    assert_eq!(stage.enrollment.poor(Reason::TooFar), far);
    assert_eq!(stage.enrollment.poor(Reason::TooFar), Progress::Waiting);
    let still = Progress::Hint(Prompt::HoldStill);
    assert_eq!(stage.enrollment.poor(Reason::Blurred), still);
    assert_eq!(stage.enrollment.poor(Reason::Dark), Progress::Waiting);
    stage.pass(59_999);
    assert_eq!(stage.tick(), Progress::Waiting);
    stage.pass(1);
    let last = Some(Reason::Dark);
    assert_eq!(stage.tick(), refused(NotEnrolled::TimedOut { last }));
    assert_eq!(stage.tick(), Progress::Waiting);

    // An admin who never came.
    let mut stage = Stage::new();
    stage.enrollment.begin(true, stage.now, &RULES);
    stage.pass(60_000);
    let last = None;
    assert_eq!(stage.tick(), refused(NotEnrolled::TimedOut { last }));
}

#[test]
fn it_can_be_ended_at_any_time() {
    let mut stage = Stage::vouched();
    stage.frame(STRAIGHT);
    assert_eq!(
        stage.enrollment.end(NotEnrolled::Fault),
        refused(NotEnrolled::Fault)
    );
    assert_eq!(stage.frame(LEFT), Progress::Waiting);
    assert_eq!(stage.enrollment.prompt(), None);
}
