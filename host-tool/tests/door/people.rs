//! Renaming people and enrolling them at a door with the real program: what it says, its exit codes, and the workspace.

use facelatch_protocol::{
    Coverage, DisplayName, Enrollment, Event, EventKind, NotEnrolled, PersonId, Prompt,
};

use crate::{
    fake_door::{FakeDoor, code},
    verbs::{expect, facelatch},
};

#[test]
fn a_person_is_renamed_at_the_door_and_in_the_workspace() {
    let folder = tempfile::tempdir().unwrap();
    let (home, door) = (folder.path().join("home"), FakeDoor::start(None));
    let to = door.address().to_string();
    let code = code().to_string();
    expect(&home, &["pair", "--to", &to, "--code", &code], 0, "");
    let add = ["people", "add", "door-17", "--name", "from the door"];
    expect(&home, &add, 0, "added");
    for person in ["door-17", "bob"] {
        let add = ["people", "add", person, "--to", &to];
        expect(&home, &add, 0, "added");
    }
    let rename = |from, new, more: &[&str], code, says| {
        let rename = [&["people", "rename", from, new][..], more].concat();
        expect(&home, &rename, code, says);
    };
    let at_door = ["--to", to.as_str()];
    rename("eve", "ada", &at_door, 1, "no such person");
    rename("door-17", "bob", &at_door, 3, "another person of that id");
    rename("door-17", "a da", &at_door, 2, "a da");
    let named = ["--name", "Ada Lovelace", "--to", &to];
    rename("door-17", "ada", &named, 0, "in the workspace too");
    rename("bob", "robert", &at_door, 0, "robert: renamed");
    let list = facelatch(&home, &["people", "list", "--json"], "").json();
    let people = list["people"].as_array().unwrap();
    assert_eq!(people.len(), 1);
    assert_eq!(
        (&people[0]["person"], &people[0]["name"]),
        (&"ada".into(), &"Ada Lovelace".into())
    );
    let there: Vec<String> = door
        .state()
        .people
        .keys()
        .map(|id| id.to_string())
        .collect();
    assert_eq!(there, ["ada", "robert"]);

    // In the workspace alone.
    expect(&home, &["people", "add", "bob"], 0, "added");
    rename("bob", "ada", &[], 2, "another person with the id ada");
    rename("bob", "bo", &[], 0, "bo: renamed");
    rename("bob", "bo", &[], 1, "no such person");
    rename("bo", "bo", &["--name", "Bo"], 0, "bo: renamed");
}

#[test]
fn an_enrollment_is_opened_and_followed_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let (home, door) = (folder.path().join("home"), FakeDoor::start(None));
    let to = door.address().to_string();
    let code = code().to_string();
    expect(&home, &["pair", "--to", &to, "--code", &code], 0, "");
    let enroll = |more: &[&str], code, says| {
        let enroll = [&["people", "enroll", "--to", &to][..], more].concat();
        expect(&home, &enroll, code, says).out
    };
    expect(&home, &["people", "enroll"], 2, "--to");
    enroll(&[], 0, "fake: waiting for somebody to enroll");
    enroll(&[], 3, "being enrolled at the door");

    let person = PersonId::parse("bob").unwrap();
    let step = |kind, seq| Event {
        seq,
        unix_ms: 5,
        kind,
    };
    let ends = [
        (
            Enrollment::Done {
                person: person.clone(),
                templates: 5,
                coverage: Coverage::default(),
            },
            0,
            "bob is enrolled, 5 templates",
        ),
        (Enrollment::Refused(NotEnrolled::OtherFace), 3, "other-face"),
    ];
    for (end, code, says) in ends {
        let mut state = door.state();
        state.enrolling = false;
        // The record of this door ends at 2: what is older is of another enrollment.
        let old = Enrollment::Refused(NotEnrolled::GivenUp);
        state.events = vec![
            step(EventKind::Enrollment(old), 2),
            step(EventKind::Prompt(Prompt::TurnLeft), 3),
            step(
                EventKind::PassedOut {
                    person: person.clone(),
                },
                4,
            ),
            step(EventKind::Enrollment(end), 5),
        ];
        drop(state);
        let out = enroll(&["--person", "bob", "--follow"], code, says);
        assert!(out.contains("prompt: turn-left"), "{out}");
        assert!(
            !out.contains("given-up") && !out.contains("bob left"),
            "{out}"
        );
    }
    let name = DisplayName::parse("Bob").unwrap();
    let mut state = door.state();
    state.enrolling = false;
    state.people.insert(person, (name, vec![]));
    drop(state);
    enroll(&["--person", "bob"], 3, "another person of that id");
}
