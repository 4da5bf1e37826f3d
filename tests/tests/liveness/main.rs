//! Liveness in the loop: synthetic heads and pictures of an enrolled person before a door that asks for a challenge.
//!
//! Real networks and loop, simulated board; time is the manual clock, moved by the frames. How often what passes is
//! measured by `facelatch pad report`; here, that the door acts on it.

mod stage;

use facelatch_boards::{
    Pattern,
    sim::{Moving, Panel, Visitor},
};
use facelatch_host::pad::{
    actor::{Actor, asked},
    species::Species,
};
use facelatch_models::liveness::{Level, challenge::Turn};
use facelatch_protocol::{EventKind, Prompt, Reason};

use stage::{Door, photo, zoo_with_liveness};

/// Photos that look straight ahead: the head model takes them for that.
const ADA: &str = "enroll/barack_obama/obama.jpg";
const STRANGER: &str = "enroll/eileen_collins/astronaut.png";
const PERSON: &str = "barack_obama";

/// Longer than any challenge takes, in frames.
const LONG: u32 = 200;

fn actor(species: Species, file: &str, seed: u64) -> Actor {
    Actor::new(species, &photo(file), seed)
}

fn other(turn: Turn) -> Turn {
    match turn {
        Turn::Left => Turn::Right,
        Turn::Right => Turn::Left,
    }
}

/// Turns the wrong way.
fn contrary(mut who: Actor, panel: &Panel) -> Moving {
    let panel = panel.clone();
    Moving::new(move || Some(who.frame(asked(&panel).map(other))))
}

/// A print until the first turn is asked for; then a living stranger, who looks on again at the end.
fn swapped(mut print: Actor, mut stranger: Actor, panel: &Panel) -> Moving {
    let panel = panel.clone();
    let mut turned = false;
    Moving::new(move || {
        let asked = asked(&panel);
        turned |= asked.is_some();
        Some(match turned {
            true => stranger.frame(asked),
            false => print.frame(None),
        })
    })
}

/// A living stranger turns, and whenever the face should look straight ahead, the print is held there.
fn relieved(mut print: Actor, mut stranger: Actor, panel: &Panel) -> Moving {
    let panel = panel.clone();
    Moving::new(move || {
        let asked = asked(&panel);
        let turned = stranger.frame(asked);
        Some(match asked {
            Some(_) => turned,
            None => print.frame(None),
        })
    })
}

/// Leaves as soon as the door has decided.
fn until_decided(who: &Moving, panel: &Panel) -> Moving {
    let (who, panel) = (who.clone(), panel.clone());
    let before = panel.shown().len();
    Moving::new(move || {
        let decided = |pattern| matches!(pattern, Pattern::Granted | Pattern::Denied);
        let shown = panel.shown();
        let is_over = shown[before..].iter().any(|shown| decided(shown.pattern));
        if is_over { None } else { who.next() }
    })
}

/// Shows somebody, at most for so many frames; what the door decided about them.
fn show(door: &Door, who: Moving, frames: u32) -> Vec<(bool, Reason)> {
    let before = door.decisions().len();
    door.show(Visitor {
        frames: Some(frames),
        ..Visitor::moving("somebody", until_decided(&who, door.panel()))
    });
    door.decisions()[before..].to_vec()
}

#[test]
fn a_head_that_turns_as_asked_is_let_in() {
    for (seed, turns) in [(1, 2), (2, 3)] {
        let door = Door::start(|config| {
            config.liveness.level = Level::Challenge;
            config.liveness.turns = turns;
        });
        let who = actor(Species::LiveTurning, ADA, seed).obeying(door.panel());
        assert_eq!(
            show(&door, who, LONG),
            [(true, Reason::Granted)],
            "{turns} turns"
        );
        assert!(door.was_unlocked());

        // Asked by event, light and buzzer alike.
        let events = door.stop();
        let prompts: Vec<Prompt> = events
            .iter()
            .filter_map(|event| match event {
                EventKind::Prompt(prompt) => Some(*prompt),
                _ => None,
            })
            .collect();
        assert_eq!(prompts.first(), Some(&Prompt::LookStraight), "{prompts:?}");
        assert_eq!(prompts.last(), Some(&Prompt::LookStraight), "{prompts:?}");
        let asked = |which| prompts.iter().filter(|p| **p == which).count();
        let (left, right) = (asked(Prompt::TurnLeft), asked(Prompt::TurnRight));
        assert!(
            left > 0 && right > 0 && left + right == usize::from(turns),
            "{prompts:?}"
        );
        let patterns: Vec<Pattern> = door.panel().shown().iter().map(|s| s.pattern).collect();
        assert!(patterns.contains(&Pattern::TurnLeft) && patterns.contains(&Pattern::TurnRight));
        let heard = door.panel().heard();
        let beeps = [
            facelatch_boards::Sound::TurnLeft,
            facelatch_boards::Sound::TurnRight,
        ];
        assert!(beeps.iter().all(|beep| heard.contains(beep)), "{heard:?}");
    }
}

#[test]
fn pictures_and_others_are_not_let_in() {
    let door = Door::start(|config| config.liveness.level = Level::Challenge);
    let panel = door.panel();
    let obeying = |species, seed| actor(species, ADA, seed).obeying(panel);
    let cases: [(&str, Moving); 10] = [
        ("a photo held still", obeying(Species::Still, 1)),
        ("a photo moved", obeying(Species::Moved, 2)),
        ("a photo tilted", obeying(Species::Tilted, 3)),
        ("a photo bent", obeying(Species::Bent, 4)),
        ("a screen", obeying(Species::Screen, 5)),
        ("photos of a turned head", obeying(Species::Swapped, 6)),
        (
            "the wrong way",
            contrary(actor(Species::LiveTurning, ADA, 7), panel),
        ),
        (
            "a head that does not turn",
            obeying(Species::LiveLooking, 8),
        ),
        (
            "a stranger after a photo",
            swapped(
                actor(Species::Still, ADA, 9),
                actor(Species::LiveTurning, STRANGER, 9),
                panel,
            ),
        ),
        (
            "a stranger between photos",
            relieved(
                actor(Species::Still, ADA, 10),
                actor(Species::LiveTurning, STRANGER, 10),
                panel,
            ),
        ),
    ];
    let mut failures = vec![];
    for (what, who) in cases {
        let decisions = show(&door, who, LONG);
        // A screen's pattern hides who it is now and then.
        let refused = decisions.iter().all(|(granted, _)| !granted);
        if !refused || !decisions.contains(&(false, Reason::NotLive)) {
            failures.push(format!("{what}: {decisions:?}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(!door.was_unlocked());
}

#[test]
fn whoever_leaves_in_the_middle_is_not_let_in() {
    let door = Door::start(|config| config.liveness.level = Level::Challenge);
    let who = actor(Species::LiveTurning, ADA, 1).obeying(door.panel());
    assert_eq!(show(&door, who, 12), [(false, Reason::NotLive)]);
    let person = door.people();
    assert_eq!(
        person,
        [Some(PERSON.to_owned())],
        "whose picture it may have been"
    );
}

#[test]
fn a_stranger_is_not_asked_to_turn() {
    let door = Door::start(|config| config.liveness.level = Level::Challenge);
    let who = actor(Species::LiveTurning, STRANGER, 1).obeying(door.panel());
    assert_eq!(show(&door, who, 20), [(false, Reason::Unknown)]);
    let asked = |event: &EventKind| matches!(event, EventKind::Prompt(_));
    assert!(!door.stop().iter().any(asked));
}

#[test]
fn the_default_level_refuses_a_face_that_never_moves_and_lets_a_living_one_in() {
    let door = Door::start(|_| {});
    let who = actor(Species::LiveLooking, ADA, 1).obeying(door.panel());
    let decisions = show(&door, who, 40);
    assert_eq!(decisions.first(), Some(&(true, Reason::Granted)));
    // A print on a stand, before a camera without noise.
    let still = actor(Species::Still, ADA, 1).frame(None);
    let decisions = show(&door, Moving::new(move || Some(still.clone())), 20);
    assert_eq!(decisions.first(), Some(&(false, Reason::NotLive)));
    assert!(
        !decisions.iter().any(|(granted, _)| *granted),
        "{decisions:?}"
    );
}

#[test]
fn a_liveness_network_refuses_faces_and_excuses_none() {
    let still = actor(Species::Still, ADA, 1).frame(None);
    for (live, head) in [(1, (true, Reason::Granted)), (0, (false, Reason::NotLive))] {
        let zoo = zoo_with_liveness(live);
        let door = Door::with_networks(zoo.path(), |_| {});
        let who = actor(Species::LiveLooking, ADA, 1).obeying(door.panel());
        let decisions = show(&door, who, 40);
        assert_eq!(decisions.first(), Some(&head), "output {live}");
        assert_eq!(door.was_unlocked(), head.0, "output {live}");

        let print = still.clone();
        let decisions = show(&door, Moving::new(move || Some(print.clone())), 20);
        let refused = decisions.iter().all(|(granted, _)| !granted);
        assert!(refused && !decisions.is_empty(), "{decisions:?}");
    }
}
