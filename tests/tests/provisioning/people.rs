//! People enrolled at the door itself: they stay, reach the workspace, and go when that is asked for.

use facelatch_host::client::{Client, Credentials};
use facelatch_host::pack::wire_template;
use facelatch_protocol::{DisplayName, PersonId};
use facelatch_tests::PATIENCE;
use facelatch_tests::door::Door;
use facelatch_tests::workspace::Workspace;

use crate::site::{COLLINS, OBAMA, Site, bytes, ids, people, push, to};

#[test]
fn people_enrolled_at_the_door_stay_reach_the_workspace_and_go_when_asked_for() {
    let site = Site::new();
    let (door, admin) = site.watched();
    let to = &*to(&door);
    push(&admin, &door, &[]);
    enroll_at(&door, &admin, "carol");
    let at_door = |host: &Workspace| people(host, &["--to", to]);
    assert_eq!(ids(&at_door(&admin)), [OBAMA, "carol", COLLINS]);

    push(&admin, &door, &[]);
    assert_eq!(
        ids(&at_door(&admin)),
        [OBAMA, "carol", COLLINS],
        "a push merges"
    );

    let before = people(&admin, &[]);
    let pulled = admin.done(&["pull", "--to", to]);
    assert_eq!(
        (
            bytes(&pulled, "new_people"),
            bytes(&pulled, "new_templates")
        ),
        (1, 1)
    );
    let mut with_carol = before.clone();
    with_carol.insert(1, ("carol".to_owned(), 1));
    assert_eq!(people(&admin, &[]), with_carol);
    let again = admin.done(&["pull", "--to", to]);
    assert_eq!(
        (bytes(&again, "new_people"), bytes(&again, "new_templates")),
        (0, 0)
    );

    admin.done(&["people", "remove", "carol"]);
    admin.done(&["train"]);
    push(&admin, &door, &[]);
    assert_eq!(
        ids(&at_door(&admin)),
        [OBAMA, "carol", COLLINS],
        "still enrolled at the door"
    );
    push(&admin, &door, &["--replace"]);
    assert_eq!(
        at_door(&admin),
        before,
        "what the workspace holds, nothing else"
    );
}

/// Enrolls somebody with one template, as a host does over the link.
fn enroll_at(door: &Door, host: &Workspace, id: &str) {
    let home = host.home();
    let known = home.doors().find(&to(door)).expect("a workspace");
    let credentials = Credentials {
        secret: home.keys().host().expect("a workspace"),
        door: known.expect("paired").key,
    };
    let mut client = Client::connect(&door.target(), &credentials, PATIENCE).expect("it answers");
    let person = PersonId::parse(id).expect("an id");
    let name = DisplayName::parse(id).expect("a name");
    client
        .person_add(person.clone(), name)
        .expect("a new person");
    // A unit vector like nobody's.
    let someone = home.people().expect("enrolled").swap_remove(0);
    let mut template = someone.templates[0].clone();
    template.values.fill(0.0);
    template.values[0] = 1.0;
    let template = wire_template(&person, &template).expect("a template");
    client
        .template_add(person, template)
        .expect("a unit vector");
}
