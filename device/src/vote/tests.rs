//! Votes replayed frame by frame, one letter each; and what no order of frames may bring about.

use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules {
    needed: 3,
    window: 5,
    max_gap: Duration::from_millis(1000),
    repeat: Duration::from_millis(2000),
};

fn known(person: &str) -> Verdict {
    Verdict::Known {
        person: person.into(),
        evidence: Evidence::default(),
    }
}

fn alone(track: u32, verdict: Verdict) -> Seen {
    Seen::Faces {
        faces: vec![Sighting { track, verdict }],
        searched: true,
        together: false,
    }
}

/// One letter a frame: a, b = that person; s = stranger; t = turned away; `.` = nobody; d = dark; `|` = new visitor;
/// `>` = another track; `_` = two seconds pass.
fn replay(frames: &str) -> Vec<String> {
    let mut vote = Vote::new(RULES);
    let mut now = Duration::ZERO;
    let mut track = 1;
    let mut decisions = vec![];
    for frame in frames.chars() {
        now += Duration::from_millis(100);
        let verdict = match frame {
            'a' | 'b' => known(&frame.to_string()),
            's' => Verdict::Unknown {
                reject: Reject::TooDistant,
                evidence: Evidence::default(),
            },
            't' => Verdict::Refused(quality::Reason::TurnedAway),
            '.' | 'd' => {
                let empty = if frame == 'd' {
                    Seen::Dark
                } else {
                    Seen::Nobody
                };
                decisions.extend(vote.count(empty, now));
                continue;
            }
            '|' => {
                decisions.extend(vote.visitor_changed());
                track += 1;
                continue;
            }
            '>' => {
                track += 1;
                continue;
            }
            '_' => {
                now += Duration::from_secs(2);
                continue;
            }
            other => panic!("no frame is called {other}"),
        };
        decisions.extend(vote.count(alone(track, verdict), now));
    }
    decisions
        .iter()
        .map(|d| format!("{:?}:{:?}", d.track, d.outcome))
        .collect()
}

#[test]
fn frames_become_decisions() {
    let granted = |track: u32, person: &str| {
        let outcome = Outcome::Granted {
            person: person.into(),
        };
        format!("{:?}:{outcome:?}", Some(track))
    };
    let denied = |track: Option<u32>, reason| format!("{track:?}:{:?}", Outcome::Denied(reason));
    let stranger = Reason::Rejected(Reject::TooDistant);
    let turned = Reason::Quality(quality::Reason::TurnedAway);
    let dark = Reason::Quality(quality::Reason::Dark);
    let cases = [
        ("", vec![]),
        ("aa", vec![]),
        ("aaa", vec![granted(1, "a")]),
        ("atata", vec![granted(1, "a")]),
        ("atatta", vec![denied(Some(1), turned)]),
        ("aa>a", vec![]),
        ("aa_a", vec![]),
        ("aa_aaa", vec![granted(1, "a")]),
        ("aa.a", vec![granted(1, "a")]),
        ("aa>aaa", vec![granted(2, "a")]),
        ("aaaaaaa", vec![granted(1, "a")]),
        ("aaattttttttttttttttttttt", vec![granted(1, "a")]),
        (&"a".repeat(24), vec![granted(1, "a"), granted(1, "a")]),
        ("sssss", vec![denied(Some(1), stranger)]),
        ("ssssssssssss", vec![denied(Some(1), stranger)]),
        ("sttst", vec![denied(Some(1), turned)]),
        ("sssssaaa", vec![denied(Some(1), stranger), granted(1, "a")]),
        ("ababa", vec![granted(1, "a")]),
        ("abab|", vec![denied(Some(1), Reason::Unsteady)]),
        ("ss|", vec![denied(Some(1), stranger)]),
        ("sssss|", vec![denied(Some(1), stranger)]),
        (
            "aaa|aa|",
            vec![granted(1, "a"), denied(Some(2), Reason::Unsteady)],
        ),
        (".....", vec![denied(None, Reason::NoFace)]),
        ("...........", vec![denied(None, Reason::NoFace)]),
        ("..|", vec![denied(None, Reason::NoFace)]),
        ("ddddd", vec![denied(None, dark)]),
        (
            ".....|.....",
            vec![denied(None, Reason::NoFace), denied(None, Reason::NoFace)],
        ),
        ("||", vec![]),
    ];
    let mut failures = vec![];
    for (frames, expected) in cases {
        let found = replay(frames);
        if found != expected {
            failures.push(format!("{frames}: {found:?}, not {expected:?}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// One word a frame: its letters are faces, nearest first, as in [`replay`]; `-` before it for a frame that was only
/// followed.
fn together(frames: &str) -> Vec<String> {
    let mut vote = Vote::new(RULES);
    let mut decisions = vec![];
    for (i, frame) in frames.split_whitespace().enumerate() {
        let now = Duration::from_millis(100 * i as u64);
        let searched = !frame.starts_with('-');
        let faces = frame.trim_start_matches('-').chars().zip(1..);
        let faces = faces
            .map(|(who, track)| Sighting {
                track,
                verdict: match who {
                    's' => Verdict::Unknown {
                        reject: Reject::TooDistant,
                        evidence: Evidence::default(),
                    },
                    't' => Verdict::Refused(quality::Reason::TurnedAway),
                    person => known(&person.to_string()),
                },
            })
            .collect();
        let seen = Seen::Faces {
            faces,
            searched,
            together: true,
        };
        decisions.extend(vote.count(seen, now));
    }
    let told = |d: &Decision| match &d.outcome {
        Outcome::Granted { person } => format!("{:?}+{person}", d.track.unwrap_or(0)),
        Outcome::Denied(reason) => format!("{:?}-{reason:?}", d.track.unwrap_or(0)),
    };
    decisions.iter().map(told).collect()
}

#[test]
fn several_faces_are_voted_at_once() {
    let several = "1-Quality(SeveralFaces)";
    let stranger = "2-Rejected(TooDistant)";
    let cases: [(&str, &[&str]); 8] = [
        ("ab ab ab", &["1+a", "2+b"]),
        ("a ab ab", &[]),
        ("a ab ab ab", &["1+a", "2+b"]),
        ("as as as as as", &[several, stranger]),
        (
            "at at at ab ab ab",
            &[several, "2-Quality(TurnedAway)", "1+a", "2+b"],
        ),
        ("as as as as as a", &[several, stranger, "1+a"]),
        ("a a -a", &[]),
        ("a -a -a -a a", &["1+a"]),
    ];
    let mut failures = vec![];
    for (frames, expected) in cases {
        let found = together(frames);
        if found != expected {
            failures.push(format!("{frames}: {found:?}, not {expected:?}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_track_can_be_judged_again_or_left_alone_for_a_while() {
    let mut vote = Vote::new(RULES);
    let at = |frame: u64| Duration::from_millis(100 * frame);
    let grants = |vote: &mut Vote, frames: std::ops::Range<u64>| {
        let count = |frame| vote.count(alone(1, known("a")), at(frame)).len();
        frames.map(count).sum::<usize>()
    };
    assert!(!vote.may_grant(at(0)));
    assert_eq!(grants(&mut vote, 0..2), 0);
    assert!(vote.may_grant(at(2)), "the third may settle it");
    assert_eq!(grants(&mut vote, 2..3), 1);
    assert!(!vote.may_grant(at(3)));
    vote.again(1);
    assert_eq!(grants(&mut vote, 3..5), 0);
    assert_eq!(grants(&mut vote, 5..6), 1, "from the begin");
    vote.told(1, at(6));
    assert_eq!(grants(&mut vote, 6..26), 0);
    assert_eq!(grants(&mut vote, 26..27), 1, "after two seconds");
}

proptest! {
    #[test]
    fn nobody_is_granted_by_frames_that_were_only_followed(
        frames in proptest::collection::vec("-[abst]{1,2}", 0..40)
    ) {
        prop_assert!(!together(&frames.join(" ")).iter().any(|d| d.contains('+')));
    }

    #[test]
    fn nobody_is_granted_beside_a_stranger(
        frames in proptest::collection::vec("-?[abst][st]", 0..40)
    ) {
        prop_assert!(!together(&frames.join(" ")).iter().any(|d| d.contains('+')));
    }

    #[test]
    fn nobody_is_granted_without_enough_frames_of_them(frames in "[abst.d|>_]{0,60}") {
        let granted = replay(&frames).iter().filter(|d| d.contains("Granted")).count();
        let named = frames.chars().filter(|c| "ab".contains(*c)).count();
        prop_assert!(granted * RULES.needed <= named);
    }

    #[test]
    fn the_order_of_a_short_visit_does_not_make_two_people_one(frames in "[ab]{0,2}") {
        prop_assert!(replay(&frames).is_empty());
    }
}
