//! What a host may ask a running door.

use facelatch_protocol::{
    DisplayName, DoorState, EventKind, Reason, Refusal, Request, Response, SpaceName, Template,
    TemplateKey,
};

use crate::{
    host::Host,
    stage::{Stage, id, latch, records, show, visitor, was_unlocked},
};

fn name(text: &str) -> DisplayName {
    DisplayName::parse(text).unwrap()
}

#[test]
fn people_are_listed_added_pulled_and_removed() {
    let stage = Stage::enrolled();
    let device = stage.start();
    let mut host = Host::connect(&device);
    let before = host.status();
    assert_eq!((before.people, before.templates), (2, 2));

    let eve = Request::PersonAdd {
        person: id("eve"),
        name: name("Eve"),
    };
    assert_eq!(host.ask(eve), Response::Done);
    let Response::People(page) = host.ask(Request::People {
        after: Some(id("barack_obama")),
    }) else {
        panic!("no people");
    };
    let ids: Vec<&str> = page.people.iter().map(|p| &*p.person).collect();
    assert_eq!(ids, ["eileen_collins", "eve"]);
    // Nobody can pass by a name alone: the door would decide as before.
    assert_eq!(host.status().state, before.state);

    let mut after = None;
    let mut pulled = vec![];
    while let Response::Gallery(Some(record)) = host.ask(Request::GalleryPull {
        after: after.clone(),
    }) {
        after = Some(record.key.clone());
        pulled.push(record);
    }
    assert_eq!(pulled, records());

    assert_eq!(
        host.ask(Request::PersonRemove {
            person: id("barack_obama")
        }),
        Response::Done
    );
    assert_ne!(host.status().state, before.state);
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(!was_unlocked(&latch(&device)));

    // Enrolled again, under another name and at once.
    let template = records()[0].template.clone();
    let add = Request::TemplateAdd {
        person: id("eve"),
        template: template.clone(),
    };
    assert_eq!(host.ask(add), Response::Done);
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(was_unlocked(&latch(&device)));
    device.stop();
    device.join().unwrap();
    assert_eq!(
        stage.visits()[1],
        (true, Reason::Granted, Some("eve".to_owned()))
    );

    let reopened = stage.start();
    assert_eq!(Host::connect(&reopened).status().people, 2);
}

#[test]
fn what_cannot_be_done_is_refused_with_its_reason() {
    let mut stage = Stage::enrolled();
    stage.config.gallery.max_people = 2;
    stage.config.gallery.max_templates_per_person = 1;
    let device = stage.start();
    let mut host = Host::connect(&device);
    let template = records()[0].template.clone();
    let space = Some(template.space.clone());
    let other = Template {
        space: SpaceName::parse("other-1").unwrap(),
        ..template.clone()
    };
    let mut short = template.clone();
    short.values.truncate(100);
    let mut long = template.clone();
    long.values[0] += 1.0;
    let nobody = id("nobody");
    let somebody = id("barack_obama");
    let add = |person: &facelatch_protocol::PersonId, template: &Template| Request::TemplateAdd {
        person: person.clone(),
        template: template.clone(),
    };
    let cases = [
        (
            Request::PersonRemove {
                person: nobody.clone(),
            },
            Refusal::UnknownPerson,
        ),
        (add(&nobody, &template), Refusal::UnknownPerson),
        (add(&somebody, &other), Refusal::Space { expected: space }),
        (add(&somebody, &short), Refusal::Template),
        (
            add(&somebody, &template),
            Refusal::TooManyTemplates { limit: 1 },
        ),
        (
            Request::PersonAdd {
                person: nobody,
                name: name("N"),
            },
            Refusal::TooManyPeople { limit: 2 },
        ),
        (Request::TimeSync { unix_ms: 5 }, Refusal::Time),
    ];
    let before = host.status().state;
    for (request, refusal) in cases {
        assert_eq!(
            host.ask(request.clone()),
            Response::Refused(refusal),
            "{request:?}"
        );
    }
    assert_eq!(host.status().state, before);
    let long = add(&somebody, &long);
    assert!(matches!(host.ask(long), Response::Refused(_)));
    let key = TemplateKey {
        person: id("zz"),
        index: 0,
    };
    assert_eq!(
        host.ask(Request::GalleryPull { after: Some(key) }),
        Response::Gallery(None)
    );
}

#[test]
fn the_clock_is_set_and_events_carry_it() {
    let stage = Stage::enrolled();
    let device = stage.start();
    let mut host = Host::connect(&device);
    let noon = 1_800_000_000_000;
    let Response::Time { unix_ms, moved_ms } = host.ask(Request::TimeSync { unix_ms: noon }) else {
        panic!("no time");
    };
    assert_eq!(unix_ms, noon);
    assert_ne!(moved_ms, 0);

    let mut listener = Host::connect(&device);
    assert_eq!(
        listener.ask(Request::EventsSubscribe { from_seq: 0 }),
        Response::Done
    );
    show(&device, visitor("visitors/obama2.jpg"));
    let decision = loop {
        let event = listener.event();
        if matches!(event.kind, EventKind::Decision { .. }) {
            break event;
        }
    };
    assert!(decision.unix_ms >= noon && decision.unix_ms < noon + 10_000);
    let EventKind::Decision {
        granted,
        person,
        distance,
        probability,
        ..
    } = decision.kind
    else {
        unreachable!("just matched");
    };
    assert!(granted && person == Some(id("barack_obama")));
    assert!(distance.is_some_and(|d| d < 0.45) && probability.is_some_and(|p| p > 0.5));
    let opened = listener.event();
    assert_eq!(opened.seq, decision.seq + 1);
    assert!(
        matches!(opened.kind, EventKind::Door(DoorState::Unlocked { until_unix_ms })
        if until_unix_ms > decision.unix_ms)
    );

    // Who comes later can still ask for what was.
    let mut late = Host::connect(&device);
    assert_eq!(
        late.ask(Request::EventsSubscribe {
            from_seq: decision.seq
        }),
        Response::Done
    );
    assert_eq!(late.event().seq, decision.seq);
}
