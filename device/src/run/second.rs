//! The second factor: a PIN beside the face, for those whose policy asks for one.
//!
//! A face that may pass is asked for the PIN; what it came to is decided when the PIN is there, by everything that holds
//! then (policy, lockdown, lockout, faults), not by what held when the face was seen. A wrong PIN counts twice: against the
//! person's PIN, and as a denied face. One that does not come in time is refused with the same words and counts for
//! neither: nothing was guessed, and people who only walk past must not lock the door. Keys typed before the question, or
//! while a PIN is being looked at, are dropped. Another face that may pass ends the question and is judged by itself.
//!
//! The hash of a PIN is slow on purpose, so it is made on a thread of its own, and the answer comes through the inbox. A
//! duress code opens like the PIN: at the door there is no difference, on record there is.

use std::{
    sync::{Arc, mpsc::Sender},
    thread,
    time::Duration,
};

use facelatch_boards::Key;
use facelatch_policy::{Pass, PinAnswer, Policy};
use facelatch_protocol::{Factor, PersonId, Prompt};

use super::{
    Input, Running,
    visit::{Typed, Visit},
};
use crate::{
    pin::{Digits, Entry},
    policy::{self, Ruling},
    vote::Decision,
};

/// Keys taken in one tick.
const KEYS: usize = 64;

/// The wait for a PIN.
pub(crate) struct Second {
    inbox: Sender<Input>,
    asked: Option<Asked>,
    questions: u64,
    keypad_fails: bool,
}

/// Whoever is asked.
struct Asked {
    number: u64,
    person: PersonId,
    decision: Decision,
    visit: Visit,
    entry: Entry,
    /// A PIN is being looked at.
    checking: bool,
}

impl Second {
    /// Nobody is asked; answers come by `inbox`.
    pub(crate) fn new(inbox: Sender<Input>) -> Second {
        Second {
            inbox,
            asked: None,
            questions: 0,
            keypad_fails: false,
        }
    }

    /// Whether somebody is asked for a PIN.
    pub(super) fn asks(&self) -> bool {
        self.asked.is_some()
    }
}

impl Running {
    /// A decision: held back, asked for a PIN, let in or turned away.
    pub(super) fn visited(&mut self, decision: &Decision, latency: Duration) {
        if self.is_entering(decision) {
            return;
        }
        if self.enrollment.is_open() && !self.tells_of_admin(decision) {
            return;
        }
        let visit = Visit::new(decision, latency);
        match self.ruled(decision, &visit) {
            Ruling::Refuse(reason) => {
                let counts = self.is_guess(reason, &visit);
                if !self.enrollment.is_open() {
                    self.turned_away(reason, &visit, counts);
                } else if self.refused(reason, &visit, counts) {
                    self.admin_decided(decision, reason);
                }
            }
            Ruling::Pass { person } => match self.terms(&person) {
                Some((id, pass)) if pass.pin_needed => self.ask_for_pin(id, decision, visit),
                Some(_) | None => {
                    self.give_up();
                    self.passes(person, &visit, Typed::Nothing);
                }
            },
        }
    }

    /// Asks this person for their PIN, if they are not asked already.
    fn ask_for_pin(&mut self, person: PersonId, decision: &Decision, visit: Visit) {
        let asked = self.second.asked.as_ref();
        if asked.is_some_and(|asked| asked.person == person) {
            return;
        }
        self.give_up();
        // There is nothing to ask for.
        if self.stands_open() {
            return;
        }
        // Not in service: the PIN would open nothing.
        if self.door.lets_in().is_err() {
            return self.turned_away(policy::Reason::Fault, &visit, false);
        }
        if self.panel.keypad.is_none() {
            log::warn!("{person} needs a PIN, and the board file names no keypad");
            return self.turned_away(policy::Reason::WrongPin, &visit, false);
        }
        // What was typed before counts for nobody.
        self.keys(self.clock.now());
        if !self.ask(Prompt::EnterPin) {
            return;
        }
        let limit = Duration::from_millis(self.config.pin.timeout_ms);
        self.second.questions += 1;
        self.second.asked = Some(Asked {
            number: self.second.questions,
            person,
            decision: decision.clone(),
            visit,
            entry: Entry::new(self.clock.now(), limit),
            checking: false,
        });
    }

    /// No PIN came: time is up, or somebody else is there.
    fn give_up(&mut self) {
        if let Some(asked) = self.second.asked.take() {
            self.turned_away(policy::Reason::WrongPin, &asked.visit, false);
        }
    }

    /// Takes what was typed, and the end of the time there is.
    pub(super) fn keys(&mut self, now: Duration) {
        for _ in 0..KEYS {
            let Some(key) = self.key() else { break };
            let asked = self.second.asked.as_mut().filter(|asked| !asked.checking);
            if let Some(digits) = asked.and_then(|asked| asked.entry.key(key)) {
                self.check(digits);
            }
        }
        let limit = Duration::from_millis(self.config.pin.timeout_ms);
        let over = |asked: &Asked| match asked.checking {
            // An answer that never comes must not keep the door busy for ever.
            true => now >= asked.entry.until().saturating_add(limit),
            false => now >= asked.entry.until(),
        };
        if self.second.asked.as_ref().is_some_and(over) {
            self.give_up();
        }
    }

    fn key(&mut self) -> Option<Key> {
        let key = self.panel.keypad.as_mut()?.key();
        let failed = self.second.keypad_fails;
        self.second.keypad_fails = key.is_err();
        key.unwrap_or_else(|error| {
            if !failed {
                log::warn!("{error}; who needs a PIN does not get in");
            }
            None
        })
    }

    /// Has a PIN looked at.
    fn check(&mut self, digits: Digits) {
        let (Some(policy), Some(asked)) = (self.policy(), &mut self.second.asked) else {
            return self.give_up();
        };
        asked.checking = true;
        let (number, person) = (asked.number, asked.person.clone());
        let inbox = self.second.inbox.clone();
        let check = move || {
            let answer = policy.check_pin(&person, digits.as_str());
            drop(digits);
            // A door that has stopped needs no answer.
            let _ = inbox.send(Input::Pin { number, answer });
        };
        let thread = thread::Builder::new().name("pin".to_owned());
        if let Err(error) = thread.spawn(check) {
            log::error!("a PIN cannot be looked at: {error}");
            self.give_up();
        }
    }

    /// The answer to question `number`.
    pub(super) fn pin_checked(&mut self, number: u64, answer: PinAnswer) {
        let asked = &mut self.second.asked;
        let Some(asked) = asked.take_if(|asked| asked.number == number) else {
            return;
        };
        let Asked {
            person,
            decision,
            visit,
            ..
        } = asked;
        let typed = match answer {
            PinAnswer::Right => Typed::Pin,
            PinAnswer::Duress => Typed::Duress,
            PinAnswer::Wrong => return self.wrong_pin(person, &visit),
            PinAnswer::NoneSet => {
                log::warn!("{person} needs a PIN and has none");
                return self.turned_away(policy::Reason::WrongPin, &visit, false);
            }
        };
        match self.ruled(&decision, &visit) {
            Ruling::Pass { person } => self.passes(person, &visit, typed),
            Ruling::Refuse(reason) => self.turned_away(reason, &visit, false),
        }
    }

    fn wrong_pin(&mut self, person: PersonId, visit: &Visit) {
        self.visits.count_anew();
        let reason = policy::Reason::WrongPin;
        let counts = self.is_guess(reason, visit);
        self.turned_away(reason, visit, counts);
        let (now, rules) = (self.clock.now(), self.config.lockout());
        let (lock, kept) = self.visits.ledger.pin_denied(&person, now, &rules);
        self.locked(Factor::Pin, Some(person), lock, kept);
    }

    /// On which terms the policy lets this person pass now; `None` if it does not.
    pub(super) fn terms(&self, person: &str) -> Option<(PersonId, Pass)> {
        let id = PersonId::parse(person).ok()?;
        let pass = self.allowed(&id).ok()?;
        Some((id, pass))
    }

    fn policy(&self) -> Option<Arc<Policy>> {
        let policy = self.policy.as_ref()?;
        Some(Arc::clone(&policy.rules))
    }
}
