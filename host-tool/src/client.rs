//! A door as the host sees it: one method a request, over any [`Line`].
//!
//! Called by the verbs. Knows the protocol's rules of a session and of a transfer; what a device does with a request is
//! the device's matter. How a session comes to be is in `handshake`, how frames come and go in `wire`, bundles in `push`.

mod error;
mod handshake;
mod push;
mod wire;

use std::{
    thread,
    time::{Duration, Instant},
};

use facelatch_protocol::{
    BundleProgress, DisplayName, DoorState, Event, GalleryRecord, Host, Person, PersonId,
    PolicyStatus, PublicKey, Refusal, Request, Response, Role, Status, Template, TrustedKeys,
    UpdateStatus, audit::AuditPage,
};

use self::wire::Wire;
pub use self::{
    error::{Blame, Error},
    handshake::{Credentials, Paired},
    push::{Pushed, Trial},
};
use crate::connect::{Line, Target};

/// Longest wait for an ordinary answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest wait for a commit: the device checks the bundle and tries its networks first.
const COMMIT_PATIENCE: Duration = Duration::from_secs(120);
/// Longest silence while listening to events; the device says "still here" every ten seconds, under seal.
const LISTEN_PATIENCE: Duration = Duration::from_secs(35);
/// When to ask again for a seat.
const SEAT_AGAIN: Duration = Duration::from_millis(200);
/// How often a request is sent in all when line noise destroys it or its answer.
const ATTEMPTS: u32 = 5;

/// A session with a door.
pub struct Client {
    wire: Wire,
    device: String,
    role: Role,
    patience: Duration,
}

impl Client {
    /// Reaches a door this host is paired with. One whose seats are all taken, perhaps by somebody who should not be
    /// there, is tried again until `patience` is over.
    ///
    /// # Errors
    /// [`Error::Unreachable`], or as [`Client::over`].
    pub fn connect(
        target: &Target,
        credentials: &Credentials,
        patience: Duration,
    ) -> Result<Client, Error> {
        let deadline = Instant::now() + patience;
        loop {
            let line = Client::reach(target, patience)?;
            let connected = Client::over(line, &target.to_string(), credentials, patience);
            let is_busy = |error: &Error| error.refusal() == Some(&Refusal::Busy);
            match connected {
                Err(error) if is_busy(&error) && Instant::now() + SEAT_AGAIN < deadline => {
                    thread::sleep(SEAT_AGAIN);
                }
                connected => return connected,
            }
        }
    }

    /// Opens a line to a door, and says nothing yet.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub fn reach(target: &Target, patience: Duration) -> Result<Box<dyn Line>, Error> {
        target.open(patience).map_err(|source| Error::Unreachable {
            target: target.to_string(),
            source,
        })
    }

    /// Waits at most this long for ordinary answers, instead of 20 s.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The name the device gave itself.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.device
    }

    /// What this host may ask for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// How the device is.
    ///
    /// # Errors
    /// As any request: [`Error::Refused`], or what may befall a line: [`Error::Lost`], [`Error::Silent`], [`Error::Garbled`],
    /// [`Error::Forged`], [`Error::Unsealed`], [`Error::Restarted`], [`Error::Confused`].
    pub fn status(&mut self) -> Result<Status, Error> {
        match self.ask(&Request::Status)? {
            Response::Status(status) => Ok(status),
            _ => self.confused(),
        }
    }

    /// What the door is doing.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn door_state(&mut self) -> Result<DoorState, Error> {
        self.ask_door(&Request::DoorState)
    }

    /// Sets the device's clock; returns its time afterwards and how far it moved, both in milliseconds.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn time_sync(&mut self, unix_ms: u64) -> Result<(u64, i64), Error> {
        match self.ask(&Request::TimeSync { unix_ms })? {
            Response::Time { unix_ms, moved_ms } => Ok((unix_ms, moved_ms)),
            _ => self.confused(),
        }
    }

    /// Everybody enrolled, sorted by id.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn people(&mut self) -> Result<Vec<Person>, Error> {
        let mut everybody: Vec<Person> = Vec::new();
        loop {
            let after = everybody.last().map(|last| last.person.clone());
            match self.ask(&Request::People {
                after: after.clone(),
            })? {
                Response::People(page) if page.people.is_empty() => return Ok(everybody),
                // Pages that do not move on would never end.
                Response::People(page)
                    if page.people.first().map(|first| &first.person) > after.as_ref() =>
                {
                    everybody.extend(page.people);
                }
                _ => return self.confused(),
            }
        }
    }

    /// Adds a person, or renames one.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn person_add(&mut self, person: PersonId, name: DisplayName) -> Result<(), Error> {
        self.ask_done(&Request::PersonAdd { person, name })
    }

    /// Gives a person another id, another name, or both; templates go with it.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn person_rename(
        &mut self,
        person: PersonId,
        to: PersonId,
        name: DisplayName,
    ) -> Result<(), Error> {
        self.ask_done(&Request::PersonRename { person, to, name })
    }

    /// Lets the next face at the door be enrolled, by this id and name or by ones the door makes up.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn enrollment_open(
        &mut self,
        person: Option<PersonId>,
        name: Option<DisplayName>,
    ) -> Result<(), Error> {
        self.ask_done(&Request::EnrollmentOpen { person, name })
    }

    /// Ends an enrollment at the door, if one goes on.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn enrollment_close(&mut self) -> Result<(), Error> {
        self.ask_done(&Request::EnrollmentClose)
    }

    /// Removes a person and all templates.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn person_remove(&mut self, person: PersonId) -> Result<(), Error> {
        self.ask_done(&Request::PersonRemove { person })
    }

    /// Adds a template to a person.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn template_add(&mut self, person: PersonId, template: Template) -> Result<(), Error> {
        self.ask_done(&Request::TemplateAdd { person, template })
    }

    /// All templates of the gallery, one by one; ends after the last or after an error.
    pub fn pull(&mut self) -> impl Iterator<Item = Result<GalleryRecord, Error>> + '_ {
        let mut after = None;
        let mut done = false;
        std::iter::from_fn(move || {
            if done {
                return None;
            }
            let page = match self.ask(&Request::GalleryPull {
                after: after.clone(),
            }) {
                Ok(Response::Gallery(None)) => Ok(None),
                Ok(Response::Gallery(Some(record))) if Some(&record.key) > after.as_ref() => {
                    Ok(Some(record))
                }
                Ok(_) => self.confused(),
                Err(error) => Err(error),
            };
            if let Ok(Some(record)) = &page {
                after = Some(record.key.clone());
            } else {
                done = true;
            }
            page.transpose()
        })
    }

    /// Events as they happen, first those the device kept from `from_seq` on (0 = only new ones); ends after an error.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn events(
        mut self,
        from_seq: u64,
    ) -> Result<impl Iterator<Item = Result<Event, Error>>, Error> {
        let id = self.wire.ask(&Request::EventsSubscribe { from_seq })?;
        match self.wire.answer(id, self.patience)? {
            Response::Done => {}
            _ => return self.confused(),
        }
        let mut done = false;
        Ok(std::iter::from_fn(move || {
            if done {
                return None;
            }
            let event = loop {
                match self.wire.answer(id, LISTEN_PATIENCE) {
                    Ok(Response::Event(event)) => break Ok(event),
                    // A sign of life.
                    Ok(Response::Done) => {}
                    Ok(_) => break self.confused(),
                    Err(error) => break Err(error),
                }
            };
            done = event.is_err();
            Some(event)
        }))
    }

    /// Where the device's bundles stand.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn bundle_status(&mut self) -> Result<BundleProgress, Error> {
        self.ask_bundle(&Request::BundleStatus)
    }

    /// Makes the device forget a bundle it is receiving.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn bundle_abort(&mut self) -> Result<BundleProgress, Error> {
        self.ask_bundle(&Request::BundleAbort)
    }

    /// How the last update went.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn update_status(&mut self) -> Result<UpdateStatus, Error> {
        match self.ask(&Request::UpdateStatus)? {
            Response::Update(update) => Ok(update),
            _ => self.confused(),
        }
    }

    /// Everybody the door is paired with, sorted by key.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn hosts(&mut self) -> Result<Vec<Host>, Error> {
        let mut all: Vec<Host> = Vec::new();
        loop {
            let after = all.last().map(|last| last.key);
            match self.ask(&Request::Hosts { after })? {
                Response::Hosts(page) if page.hosts.is_empty() => return Ok(all),
                // Pages that do not move on would never end.
                Response::Hosts(page) if page.hosts.first().map(|first| first.key) > after => {
                    all.extend(page.hosts);
                }
                _ => return self.confused(),
            }
        }
    }

    /// Makes the door forget a host.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn host_revoke(&mut self, host: PublicKey) -> Result<(), Error> {
        self.ask_done(&Request::HostRevoke { host })
    }

    /// Lets somebody in, for as long as the door lets anybody in.
    ///
    /// # Errors
    /// As [`Client::status`]; refused during a lockdown and while something is broken.
    pub fn unlock(&mut self) -> Result<DoorState, Error> {
        self.ask_door(&Request::Unlock)
    }

    /// Begins or ends a lockdown.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn lockdown(&mut self, on: bool) -> Result<DoorState, Error> {
        self.ask_door(&Request::Lockdown { on })
    }

    /// Ends every lockout.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn clear_lockout(&mut self) -> Result<(), Error> {
        self.ask_done(&Request::LockoutClear)
    }

    /// Tells the door that somebody left.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn passed_out(&mut self, person: &PersonId) -> Result<(), Error> {
        self.ask_done(&Request::PassedOut {
            person: person.clone(),
        })
    }

    /// The policy in force, and where things stand under it.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn policy_status(&mut self) -> Result<PolicyStatus, Error> {
        match self.ask(&Request::PolicyStatus)? {
            Response::Policy(status) => Ok(status),
            _ => self.confused(),
        }
    }

    fn ask_door(&mut self, request: &Request) -> Result<DoorState, Error> {
        match self.ask(request)? {
            Response::Door(state) => Ok(state),
            _ => self.confused(),
        }
    }

    /// Opens the door's pairing window; returns the code to be typed at the other host, and when the window closes, in
    /// milliseconds since 1970.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn pairing_open(&mut self, role: Role) -> Result<(String, u64), Error> {
        match self.ask(&Request::PairingOpen { role })? {
            Response::Pairing {
                code,
                closes_unix_ms,
            } => Ok((code.to_string(), closes_unix_ms)),
            _ => self.confused(),
        }
    }

    /// Closes the door's pairing window.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn pairing_close(&mut self) -> Result<(), Error> {
        self.ask_done(&Request::PairingClose)
    }

    /// Replaces the two keys the door trusts; `signature` is one of the old ones' over the new ones' statement. A door that
    /// has them already is content.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn keys_replace(&mut self, keys: TrustedKeys, signature: &str) -> Result<(), Error> {
        // A text that is too long is no signature: the door says so.
        let signature = signature
            .bytes()
            .take(facelatch_protocol::bundle::MAX_SIGNATURE)
            .collect();
        let request = Request::KeysReplace { keys, signature };
        match self.ask_done(&request) {
            // The answer was lost: it may have them.
            Err(Error::Garbled { .. } | Error::Silent { .. } | Error::Unsealed { .. }) => {
                self.ask_done(&request)
            }
            replaced => replaced,
        }
    }

    /// A page of the audit record, from a number on.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn audit_page(&mut self, from_seq: u64) -> Result<AuditPage, Error> {
        match self.ask(&Request::AuditRead { from_seq })? {
            Response::Audit(page) => Ok(page),
            _ => self.confused(),
        }
    }

    /// Ends the session. Dropping the client does as well, less politely.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn goodbye(mut self) -> Result<(), Error> {
        self.ask_done(&Request::Goodbye)
    }

    fn ask_done(&mut self, request: &Request) -> Result<(), Error> {
        match self.ask(request)? {
            Response::Done => Ok(()),
            _ => self.confused(),
        }
    }

    fn ask_bundle(&mut self, request: &Request) -> Result<BundleProgress, Error> {
        let patience = match request {
            Request::BundleCommit { .. } => COMMIT_PATIENCE,
            _ => self.patience,
        };
        match self.ask_patiently(request, patience)? {
            Response::Bundle(progress) => Ok(progress),
            _ => self.confused(),
        }
    }

    fn ask(&mut self, request: &Request) -> Result<Response, Error> {
        self.ask_patiently(request, self.patience)
    }

    /// Sends a request and waits for its answer; again if noise on a serial line destroyed either and asking twice does no
    /// harm. Every attempt is sealed under a new number.
    fn ask_patiently(&mut self, request: &Request, patience: Duration) -> Result<Response, Error> {
        let again = self.wire.is_serial() && is_repeatable(request);
        let mut attempt = 1;
        loop {
            let id = self.wire.ask(request)?;
            match self.wire.answer(id, patience) {
                Err(Error::Garbled { .. } | Error::Unsealed { .. } | Error::Forged { .. })
                    if again && attempt < ATTEMPTS =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(self.wire.given_up(error)),
                answered => return answered,
            }
        }
    }

    fn confused<T>(&self) -> Result<T, Error> {
        self.wire.confused()
    }
}

/// Whether asking twice does what asking once does.
fn is_repeatable(request: &Request) -> bool {
    !matches!(
        request,
        Request::TemplateAdd { .. }
            | Request::PersonRemove { .. }
            | Request::HostRevoke { .. }
            | Request::KeysReplace { .. }
            | Request::Unlock
            | Request::PersonRename { .. }
            | Request::EnrollmentOpen { .. }
            | Request::Goodbye
    )
}
