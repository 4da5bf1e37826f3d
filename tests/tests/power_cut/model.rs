//! What the door has acknowledged, what it was doing when it died, and whether that is what it still knows.

use std::{collections::BTreeMap, io};

use facelatch_protocol::{
    BundleId, DisplayName, GalleryRecord, PersonId, Refusal, Request, Response, SpaceName,
    Template, TemplateKey,
    audit::Chain,
    bundle::{MAX_RECORD, PartKind, encode_record},
};

use crate::{
    Random,
    door::Session,
    far_end::bundles::{Bundle, bundle, try_push, try_send},
};

/// The ways of writing that have to be cut.
pub(crate) const PATHS: [&str; 5] = ["enroll", "remove", "push", "commit", "trial"];
/// People of a bundle's gallery: so many that it takes some messages.
const IN_BUNDLE: u64 = 24;

/// What was asked and not answered yet.
#[derive(Debug, Clone, Copy)]
enum Op {
    Add(u64),
    Template(u64),
    Remove(u64),
    Receive,
    Commit(BundleId),
    Try,
}

/// What a door has acknowledged.
#[derive(Debug)]
pub(crate) struct Model {
    space: SpaceName,
    /// People enrolled one by one, with how many templates.
    people: BTreeMap<u64, u32>,
    next_person: u64,
    in_use: Option<BundleId>,
    counter: u64,
    op: Option<Op>,
    /// Behind a record that was on disk.
    seen: Chain,
    recorded: u64,
    confirmed: u32,
}

/// What a door has that has just started.
struct Found {
    people: BTreeMap<u64, u32>,
    bundled: Vec<String>,
    in_use: Option<BundleId>,
}

impl Model {
    pub(crate) fn new(session: &mut Session) -> Model {
        let space = match session.end.ask(Request::Status) {
            Response::Status(status) => status.space.unwrap(),
            other => panic!("{other:?}"),
        };
        Model {
            space,
            people: BTreeMap::new(),
            next_person: 0,
            in_use: None,
            counter: 0,
            op: None,
            seen: Chain::BEGINNING,
            recorded: 0,
            confirmed: 0,
        }
    }

    /// Does one thing; says which way of writing it took.
    pub(crate) fn step(
        &mut self,
        session: &mut Session,
        random: &mut Random,
    ) -> io::Result<&'static str> {
        match random.below(16) {
            0..=6 => self.enroll(session),
            7..=10 if !self.people.is_empty() => {
                let nth = random.below(self.people.len() as u64) as usize;
                let person = *self.people.keys().nth(nth).unwrap();
                self.remove(session, person)
            }
            11 | 12 => self.push(session),
            13 | 14 => self.receive(session),
            _ => self.prove(session),
        }
    }

    /// The way of writing that was cut.
    pub(crate) fn in_flight(&self) -> Option<&'static str> {
        self.op.map(|op| match op {
            Op::Add(_) | Op::Template(_) => "enroll",
            Op::Remove(_) => "remove",
            Op::Receive => "push",
            Op::Commit(_) => "commit",
            Op::Try => "trial",
        })
    }

    fn enroll(&mut self, session: &mut Session) -> io::Result<&'static str> {
        let number = self.next_person;
        self.next_person += 1;
        self.op = Some(Op::Add(number));
        let person = id("p", number);
        let name = name(number);
        done(session.end.try_ask(Request::PersonAdd { person, name })?);
        self.people.insert(number, 0);
        self.op = Some(Op::Template(number));
        let (person, template) = (id("p", number), self.template(number));
        done(
            session
                .end
                .try_ask(Request::TemplateAdd { person, template })?,
        );
        self.people.insert(number, 1);
        self.op = None;
        Ok("enroll")
    }

    fn remove(&mut self, session: &mut Session, number: u64) -> io::Result<&'static str> {
        self.op = Some(Op::Remove(number));
        let person = id("p", number);
        done(session.end.try_ask(Request::PersonRemove { person })?);
        self.people.remove(&number);
        self.op = None;
        Ok("remove")
    }

    fn push(&mut self, session: &mut Session) -> io::Result<&'static str> {
        self.counter += 1;
        let packed = self.bundle(self.counter);
        self.op = Some(Op::Receive);
        let op = &mut self.op;
        let mut committing = |bundle: &Bundle| *op = Some(Op::Commit(bundle.id));
        match try_push(&mut session.end, &packed, &mut committing)? {
            Response::Bundle(_) => self.in_use = Some(packed.id),
            other => panic!("a push: {other:?}"),
        }
        self.op = None;
        Ok("commit")
    }

    /// Sends a bundle and leaves it there.
    fn receive(&mut self, session: &mut Session) -> io::Result<&'static str> {
        let network: Vec<u8> = (0..300_000u64).map(|i| ((i * i) >> 3) as u8).collect();
        let parts = [(PartKind::Networks, "net.onnx", network)];
        // Never committed: its counter is nobody's.
        let packed = bundle(u64::MAX, &self.space, &parts);
        self.op = Some(Op::Receive);
        match try_send(&mut session.end, &packed)? {
            None => {}
            Some(refused) => panic!("a transfer: {refused:?}"),
        }
        self.op = None;
        Ok("push")
    }

    /// Waits until the bundle on trial has judged its frames.
    fn prove(&mut self, session: &mut Session) -> io::Result<&'static str> {
        self.op = Some(Op::Try);
        loop {
            match session.end.try_ask(Request::UpdateStatus)? {
                Response::Update(update) if update.trial.is_none() => break,
                Response::Update(_) => {}
                other => panic!("{other:?}"),
            }
        }
        self.op = None;
        self.confirmed += u32::from(self.in_use.is_some());
        Ok("trial")
    }

    /// Whether a door that has just started knows what it acknowledged, and of what was under way all or nothing.
    pub(crate) fn check(&mut self, session: &mut Session) -> Result<(), String> {
        let found = self.found(session)?;
        let mut want = self.people.clone();
        match self.op.take() {
            Some(Op::Add(number)) if found.people.contains_key(&number) => {
                want.insert(number, 0);
            }
            Some(Op::Template(number)) => {
                let templates = found.people.get(&number).copied().unwrap_or(0);
                want.insert(number, templates.min(1));
            }
            Some(Op::Remove(number)) if !found.people.contains_key(&number) => {
                want.remove(&number);
            }
            Some(Op::Commit(id)) if found.in_use == Some(id) => self.in_use = Some(id),
            Some(Op::Add(_) | Op::Remove(_) | Op::Receive | Op::Commit(_) | Op::Try) | None => {}
        }
        if found.people != want {
            return Err(format!("people {:?}, acknowledged {want:?}", found.people));
        }
        self.people = want;
        if found.in_use != self.in_use {
            return Err(format!(
                "bundle {:?}, committed {:?}",
                found.in_use, self.in_use
            ));
        }
        let bundled: Vec<String> = match self.in_use {
            Some(bundle) => (0..IN_BUNDLE)
                .map(|i| id("b", bundle.counter * IN_BUNDLE + i).to_string())
                .collect(),
            None => vec![],
        };
        if found.bundled != bundled {
            return Err(format!(
                "people of bundle {:?}: {:?}",
                self.in_use, found.bundled
            ));
        }
        self.check_templates(session)?;
        self.check_record(session, self.seen)
    }

    /// Walks the audit record from its first entry.
    pub(crate) fn check_whole_record(&mut self, session: &mut Session) -> Result<(), String> {
        self.recorded = 0;
        self.check_record(session, Chain::BEGINNING)
    }

    /// Bundles that proved themselves, and entries on record.
    pub(crate) fn worth(&self) -> (u32, u64) {
        (self.confirmed, self.recorded)
    }

    fn found(&self, session: &mut Session) -> Result<Found, String> {
        let mut found = Found {
            people: BTreeMap::new(),
            bundled: vec![],
            in_use: None,
        };
        let mut after = None;
        loop {
            let page = match session.end.ask(Request::People { after }) {
                Response::People(page) => page.people,
                other => return Err(format!("{other:?}")),
            };
            let Some(last) = page.last() else { break };
            after = Some(last.person.clone());
            for person in page {
                match person.person.strip_prefix('p') {
                    Some(number) => {
                        let number = number.parse().map_err(|_| "a strange id")?;
                        found.people.insert(number, person.templates);
                    }
                    None => found.bundled.push(person.person.to_string()),
                }
            }
        }
        let update = match session.end.ask(Request::UpdateStatus) {
            Response::Update(update) => update,
            other => return Err(format!("{other:?}")),
        };
        if let Some(rolled_back) = update.rolled_back {
            return Err(format!("{rolled_back:?}"));
        }
        let committed = self.in_use.map_or(0, |bundle| bundle.counter);
        if update.highest_counter < committed {
            return Err(format!(
                "counter {} after {committed}",
                update.highest_counter
            ));
        }
        let active = match session.end.ask(Request::BundleStatus) {
            Response::Bundle(progress) => progress.active,
            other => return Err(format!("{other:?}")),
        };
        found.in_use = update.trial.map(|trial| trial.id).or(active);
        Ok(found)
    }

    fn check_templates(&self, session: &mut Session) -> Result<(), String> {
        let mut after: Option<TemplateKey> = None;
        loop {
            let record = match session.end.ask(Request::GalleryPull { after }) {
                Response::Gallery(Some(record)) => record,
                Response::Gallery(None) => return Ok(()),
                other => return Err(format!("{other:?}")),
            };
            let number: u64 = record.key.person[1..].parse().map_err(|_| "a strange id")?;
            if record.template != self.template(number) {
                return Err(format!("another template of {}", record.key.person));
            }
            after = Some(record.key);
        }
    }

    /// Whether the record goes on from one that was on disk, without a break to its end.
    fn check_record(&mut self, session: &mut Session, mut chain: Chain) -> Result<(), String> {
        loop {
            let from_seq = chain.next_seq;
            let page = match session.end.ask(Request::AuditRead { from_seq }) {
                Response::Audit(page) => page,
                other => return Err(format!("{other:?}")),
            };
            if page.records.is_empty() {
                self.seen = chain;
                return Ok(());
            }
            chain
                .take_page(&page, &mut |_| self.recorded += 1)
                .map_err(|fault| format!("record {}: {fault}", chain.next_seq))?;
        }
    }

    fn template(&self, number: u64) -> Template {
        let mut values = heapless::Vec::new();
        // As many as the shipped networks give, and never longer than a template.
        values.resize(704, 0.0).unwrap();
        let (sin, cos) = (number as f32).sin_cos();
        values[(number % 511) as usize] = sin;
        values[(number % 511) as usize + 1] = cos;
        Template {
            space: self.space.clone(),
            values,
        }
    }

    fn bundle(&self, counter: u64) -> Bundle {
        let mut gallery = vec![];
        let mut buffer = [0; 4 + MAX_RECORD];
        for i in 0..IN_BUNDLE {
            let number = counter * IN_BUNDLE + i;
            let record = GalleryRecord {
                key: TemplateKey {
                    person: id("b", number),
                    index: 0,
                },
                name: name(number),
                created_unix_ms: 1,
                template: self.template(number),
            };
            gallery.extend_from_slice(encode_record(&record, &mut buffer).unwrap());
        }
        let part = (PartKind::Gallery, "gallery", gallery);
        bundle(counter, &self.space, &[part])
    }
}

/// Anything but "done" would be a door that refuses what it should do.
fn done(response: Response) {
    match response {
        Response::Done | Response::Refused(Refusal::Stopping) => {}
        other => panic!("{other:?}"),
    }
}

fn id(kind: &str, number: u64) -> PersonId {
    // In order of number, as text too.
    PersonId::parse(&format!("{kind}{number:06}")).unwrap()
}

fn name(number: u64) -> DisplayName {
    DisplayName::parse(&format!("Number {number}")).unwrap()
}
