//! Bundles: their people replace those of the bundle before and nobody else; a trial ends either way.

use super::*;

fn enrolled(gallery: &mut Gallery, person: &str, directions: &[usize]) {
    gallery.add_person(&id(person), &name(person), 9).unwrap();
    let templates: Vec<_> = directions.iter().map(|d| template("space-1", *d)).collect();
    gallery.add_templates(&id(person), &templates, 9).unwrap();
}

#[test]
fn a_bundle_replaces_its_own_people_and_nobody_else() {
    let dir = TempDir::new().unwrap();
    let mut gallery = open(&dir).unwrap();
    let first = [
        record("ada", 0, 0),
        record("ada", 1, 1),
        record("bob", 4, 2),
    ];
    gallery.take_over(&bundle(1, Some(&first))).unwrap();
    assert_eq!(
        content(&gallery),
        ["ada:2", "bob:1", "ada/0", "ada/1", "bob/0"]
    );
    assert!(gallery.is_as_in_bundle());
    gallery.confirm().unwrap();

    enrolled(&mut gallery, "eve", &[3]);
    let at_door = [template("space-1", 4)];
    gallery.add_templates(&id("bob"), &at_door, 9).unwrap();
    assert!(!gallery.is_as_in_bundle());

    let second = [record("ada", 0, 5)];
    gallery.take_over(&bundle(2, Some(&second))).unwrap();
    let expected = [
        "ada:1",
        "bob:1",
        "eve:1",
        "ada/0",
        "bob/1048576",
        "eve/1048576",
    ];
    assert_eq!(content(&gallery), expected);
    gallery.confirm().unwrap();

    gallery.take_over(&bundle(3, None)).unwrap();
    drop(gallery);
    let mut reopened = open(&dir).unwrap();
    assert_eq!(content(&reopened), expected);
    assert_eq!(reopened.bundle(), Some(Digest([3; 32])));

    let replacing = Incoming {
        replace: true,
        ..bundle(4, Some(&second))
    };
    reopened.take_over(&replacing).unwrap();
    assert_eq!(content(&reopened), ["ada:1", "ada/0"]);
}

#[test]
fn a_trial_is_confirmed_or_taken_back_also_after_a_restart() {
    struct Case {
        what: &'static str,
        end: fn(&mut Gallery) -> Result<(), Error>,
        bundle: u8,
        content: &'static [&'static str],
        classifier: &'static [u8],
    }
    let cases = [
        Case {
            what: "confirmed",
            end: Gallery::confirm,
            bundle: 3,
            content: &["eve:1", "eve/0"],
            classifier: b"third",
        },
        Case {
            what: "taken back",
            end: Gallery::roll_back,
            bundle: 1,
            content: &["ada:1", "ada/0"],
            classifier: b"first",
        },
    ];
    for case in cases {
        let dir = TempDir::new().unwrap();
        let mut gallery = open(&dir).unwrap();
        let pushed = [
            (1, "ada", b"first".as_slice()),
            (2, "bob", b"second"),
            (3, "eve", b"third"),
        ];
        for (number, person, classifier) in pushed {
            let records = [record(person, 0, number.into())];
            let incoming = Incoming {
                classifier: Some(classifier),
                ..bundle(number, Some(&records))
            };
            gallery.accepts(&incoming).unwrap();
            gallery.take_over(&incoming).unwrap();
            let taken = (content(&gallery), gallery.before());
            gallery.take_over(&incoming).unwrap();
            assert_eq!((content(&gallery), gallery.before()), taken, "taken twice");
            if number == 1 {
                assert_eq!(gallery.before(), Some(None));
                gallery.confirm().unwrap();
            }
        }
        assert_eq!(gallery.before(), Some(Some(Digest([1; 32]))), "the oldest");
        drop(gallery);
        let mut gallery = open(&dir).unwrap();
        assert_eq!(gallery.classifier(), Some(b"third".as_slice()));
        (case.end)(&mut gallery).unwrap();
        (case.end)(&mut gallery).unwrap();
        for _ in 0..2 {
            assert_eq!(content(&gallery), case.content, "{}", case.what);
            assert_eq!(gallery.bundle(), Some(Digest([case.bundle; 32])));
            assert_eq!(gallery.before(), None, "{}", case.what);
            assert_eq!(gallery.classifier(), Some(case.classifier));
            drop(gallery);
            gallery = open(&dir).unwrap();
        }
    }
}

#[test]
fn what_happens_at_the_door_during_a_trial_outlives_it() {
    let dir = TempDir::new().unwrap();
    let mut gallery = open(&dir).unwrap();
    let first = [
        record("ada", 0, 0),
        record("bob", 0, 1),
        record("gus", 0, 2),
    ];
    gallery.take_over(&bundle(1, Some(&first))).unwrap();
    gallery.confirm().unwrap();
    enrolled(&mut gallery, "dan", &[3]);

    let second = [record("bob", 0, 4), record("eve", 0, 5)];
    gallery.take_over(&bundle(2, Some(&second))).unwrap();
    enrolled(&mut gallery, "ida", &[6]);
    let at_door = [template("space-1", 7)];
    gallery.add_templates(&id("eve"), &at_door, 9).unwrap();
    gallery.add_templates(&id("bob"), &at_door, 9).unwrap();
    gallery.add_person(&id("bob"), &name("Bobby"), 9).unwrap();
    gallery.remove_person(&id("dan")).unwrap();
    // Only in the set before, but removed is removed.
    gallery.remove_person(&id("gus")).unwrap();
    assert!(gallery.remove_person(&id("gus")).is_err());

    gallery.roll_back().unwrap();
    let expected = [
        "ada:1",
        "bob:2",
        "eve:1",
        "ida:1",
        "ada/0",
        "bob/0",
        "bob/1048576",
        "eve/1048576",
        "ida/1048576",
    ];
    for _ in 0..2 {
        assert_eq!(content(&gallery), expected);
        assert_eq!(gallery.name(&id("bob")), Some(&name("Bobby")));
        assert_eq!(gallery.next_record(None).unwrap().template.values[0], 1.0);
        drop(gallery);
        gallery = open(&dir).unwrap();
    }
}

#[test]
fn templates_of_a_new_space_are_not_carried_into_an_older_one() {
    let dir = TempDir::new().unwrap();
    let mut gallery = open(&dir).unwrap();
    gallery
        .take_over(&bundle(1, Some(&[record("ada", 0, 0)])))
        .unwrap();
    gallery.confirm().unwrap();
    let of_new = GalleryRecord {
        template: template("space-2", 0),
        ..record("bob", 0, 0)
    };
    let incoming = Incoming {
        space: "space-2",
        ..bundle(2, Some(std::slice::from_ref(&of_new)))
    };
    gallery.take_over(&incoming).unwrap();
    gallery.add_person(&id("eve"), &name("Eve"), 9).unwrap();
    let new = [template("space-2", 1)];
    gallery.add_templates(&id("eve"), &new, 9).unwrap();
    gallery.add_templates(&id("bob"), &new, 9).unwrap();
    gallery.roll_back().unwrap();
    assert_eq!(content(&gallery), ["ada:1", "eve:0", "ada/0"]);
    assert_eq!(gallery.other_space("space-1"), None);
}

#[test]
fn a_classifier_is_kept_while_it_knows_exactly_these_people() {
    type Step = fn(&mut Gallery) -> Result<(), Error>;
    let steps: [(&str, bool, Step); 7] = [
        ("nothing", true, |_| Ok(())),
        ("a rename", true, |g| {
            g.add_person(&id("ada"), &name("A."), 0)
        }),
        ("a bundle without people", true, |g| {
            g.take_over(&bundle(2, None))
        }),
        ("a new person", false, |g| {
            g.add_person(&id("bob"), &name("Bob"), 0)
        }),
        ("a template", false, |g| {
            g.add_templates(&id("ada"), &[template("space-1", 1)], 0)
        }),
        ("a removal", false, |g| g.remove_person(&id("ada"))),
        ("a bundle without classifier", false, |g| {
            g.take_over(&bundle(2, Some(&[record("ada", 0, 0)])))
        }),
    ];
    let mut failures = vec![];
    for (what, kept, step) in steps {
        let dir = TempDir::new().unwrap();
        let mut gallery = open(&dir).unwrap();
        let records = [record("ada", 0, 0)];
        let incoming = Incoming {
            classifier: Some(b"weights"),
            ..bundle(1, Some(&records))
        };
        gallery.take_over(&incoming).unwrap();
        gallery.confirm().unwrap();
        step(&mut gallery).unwrap();
        for when in ["at once", "after a restart"] {
            let expected = kept.then_some(b"weights".as_slice());
            if gallery.classifier() != expected {
                failures.push(format!("{what}, {when}: {:?}", gallery.classifier()));
            }
            drop(gallery);
            gallery = open(&dir).unwrap();
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");

    let dir = TempDir::new().unwrap();
    let mut gallery = open(&dir).unwrap();
    enrolled(&mut gallery, "eve", &[3]);
    let records = [record("ada", 0, 0)];
    let incoming = Incoming {
        classifier: Some(b"weights"),
        ..bundle(1, Some(&records))
    };
    gallery.take_over(&incoming).unwrap();
    assert_eq!(gallery.classifier(), None, "it does not know eve");
}
