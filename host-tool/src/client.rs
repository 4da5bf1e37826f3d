//! A door as the host sees it: one method a request, over any [`Line`].
//!
//! Called by the verbs. Knows the protocol's rules of a session and of a transfer; what a device does with a request is
//! the device's matter.

mod error;
mod push;

use std::{
    io, mem,
    time::{Duration, Instant},
};

use facelatch_protocol::{
    BundleProgress, Deframer, DisplayName, DoorState, Encoder, Event, FrameError, GalleryRecord,
    Packet, Person, PersonId, Refusal, Reply, Request, Response, Status, Template, VERSION_HIGHEST,
    VERSION_LOWEST,
};

pub use self::{
    error::{Blame, Error},
    push::Pushed,
};
use crate::connect::{Line, Target};

/// Longest wait for an ordinary answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest wait for a commit: the device checks the bundle and tries its networks first.
const COMMIT_PATIENCE: Duration = Duration::from_secs(120);
/// Longest silence while listening to events; the device sends an empty frame every ten seconds.
const LISTEN_PATIENCE: Duration = Duration::from_secs(35);
/// When to repeat an unanswered hello on a serial line, which may hold anything.
const HELLO_AGAIN: Duration = Duration::from_secs(2);
/// How often a request is sent in all when line noise destroys it or its answer.
const ATTEMPTS: u32 = 5;

/// A session with a door.
pub struct Client {
    line: Box<dyn Line>,
    target: String,
    device: String,
    encoder: Box<Encoder>,
    deframer: Box<Deframer>,
    /// Bytes read and not yet looked at.
    unread: Vec<u8>,
    last_id: u32,
    patience: Duration,
}

impl Client {
    /// Reaches a door and greets it.
    ///
    /// # Errors
    /// [`Error::Unreachable`], or as any request.
    pub fn connect(target: &Target, patience: Duration) -> Result<Client, Error> {
        let name = target.to_string();
        match target.open(patience) {
            Ok(line) => Client::over(line, &name, patience),
            Err(source) => Err(Error::Unreachable {
                target: name,
                source,
            }),
        }
    }

    /// Greets the door at the end of an open line; `target` is its name in messages.
    ///
    /// # Errors
    /// As any request.
    pub fn over(line: Box<dyn Line>, target: &str, patience: Duration) -> Result<Client, Error> {
        let mut client = Client {
            line,
            target: target.to_owned(),
            device: String::new(),
            encoder: Box::default(),
            deframer: Box::default(),
            unread: Vec::new(),
            last_id: first_id(),
            patience: PATIENCE,
        };
        client.greet(patience)?;
        Ok(client)
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

    /// How the device is.
    ///
    /// # Errors
    /// As any request: [`Error::Refused`], [`Error::Lost`], [`Error::Silent`], [`Error::Garbled`], [`Error::Confused`].
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
        match self.ask(&Request::DoorState)? {
            Response::Door(state) => Ok(state),
            _ => self.confused(),
        }
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
        let id = self.send(&Request::EventsSubscribe { from_seq })?;
        match self.answer(id, self.patience)? {
            Response::Done => {}
            _ => return self.confused(),
        }
        let mut done = false;
        Ok(std::iter::from_fn(move || {
            if done {
                return None;
            }
            let event = match self.answer_after_silence(id) {
                Ok(Response::Event(event)) => Ok(event),
                Ok(_) => self.confused(),
                Err(error) => Err(error),
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

    /// Ends the session. Dropping the client does as well, less politely.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn goodbye(mut self) -> Result<(), Error> {
        self.ask_done(&Request::Goodbye)
    }

    fn greet(&mut self, patience: Duration) -> Result<(), Error> {
        // Ends whatever the line holds of an earlier session.
        self.write(&[0])?;
        let hello = Request::Hello {
            lowest: VERSION_LOWEST,
            highest: VERSION_HIGHEST,
        };
        let deadline = Instant::now() + patience;
        loop {
            let id = self.send(&hello)?;
            let left = deadline.saturating_duration_since(Instant::now());
            let serial = self.line.is_serial();
            let wait = if serial { left.min(HELLO_AGAIN) } else { left };
            match self.answer(id, wait) {
                Ok(Response::Hello { version, device })
                    if (VERSION_LOWEST..=VERSION_HIGHEST).contains(&version) =>
                {
                    self.device = device.to_string();
                    return Ok(());
                }
                Ok(_) => return self.confused(),
                Err(Error::Silent { .. } | Error::Garbled { .. })
                    if serial && Instant::now() < deadline => {}
                Err(Error::Silent { target, .. }) => {
                    return Err(Error::Silent {
                        target,
                        after: patience,
                    });
                }
                Err(error) => return Err(error),
            }
        }
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

    /// Sends a request and waits for its answer; again if noise on a serial line destroyed
    /// either and asking twice does no harm.
    fn ask_patiently(&mut self, request: &Request, patience: Duration) -> Result<Response, Error> {
        let again = self.line.is_serial()
            && !matches!(
                request,
                Request::TemplateAdd { .. } | Request::PersonRemove { .. } | Request::Goodbye
            );
        let mut attempt = 1;
        loop {
            let id = self.send(request)?;
            match self.answer(id, patience) {
                Err(Error::Garbled { .. }) if again && attempt < ATTEMPTS => attempt += 1,
                answered => return answered,
            }
        }
    }

    fn send(&mut self, request: &Request) -> Result<u32, Error> {
        // Zero answers what could not be read.
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        let id = self.last_id;
        let packet = Packet { id, body: request };
        let mut encoder = mem::take(&mut self.encoder);
        let written = match encoder.encode(&packet) {
            Ok(frame) => self.write(frame),
            Err(error) => self.garbled(error),
        };
        self.encoder = encoder;
        written.map(|()| id)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.line
            .write_all(bytes)
            .and_then(|()| self.line.flush())
            .map_err(|source| self.lost(source))
    }

    /// The answer to a request, within `patience`; answers to earlier ones are skipped.
    fn answer(&mut self, id: u32, patience: Duration) -> Result<Response, Error> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(answer) = self.next_reply(id)? {
                return Ok(answer);
            }
            if left.is_zero() || !self.read(left)? && Instant::now() >= deadline {
                return self.silent(patience);
            }
        }
    }

    /// The next answer to a request however late, as long as the line is not silent for too long.
    fn answer_after_silence(&mut self, id: u32) -> Result<Response, Error> {
        loop {
            if let Some(answer) = self.next_reply(id)? {
                return Ok(answer);
            }
            if !self.read(LISTEN_PATIENCE)? {
                return self.silent(LISTEN_PATIENCE);
            }
        }
    }

    /// The next reply among the bytes already read that belongs to a request, if there is one.
    fn next_reply(&mut self, id: u32) -> Result<Option<Response>, Error> {
        let unread = mem::take(&mut self.unread);
        let mut input = unread.as_slice();
        let found = loop {
            match self.deframer.next::<Reply>(&mut input) {
                None => break Ok(None),
                Some(Ok(reply)) if reply.id == id => break self.accept(reply.body).map(Some),
                // The device could not read a frame of ours, or turned us away.
                Some(Ok(Reply {
                    id: 0,
                    body: Response::Refused(refusal),
                })) => break self.unnumbered(refusal).map(Some),
                Some(Ok(_)) => {}
                Some(Err(error)) => break self.garbled(error),
            }
        };
        self.unread = input.to_vec();
        found
    }

    fn accept(&self, response: Response) -> Result<Response, Error> {
        match response {
            Response::Refused(refusal) => Err(self.refused(refusal)),
            response => Ok(response),
        }
    }

    fn unnumbered(&self, refusal: Refusal) -> Result<Response, Error> {
        match refusal {
            Refusal::Malformed => self.garbled(FrameError::Message),
            refusal => Err(self.refused(refusal)),
        }
    }

    /// Reads what is there, waiting at most `patience`; false if nothing came.
    fn read(&mut self, patience: Duration) -> Result<bool, Error> {
        let mut buffer = [0; 8192];
        let patience = patience.max(Duration::from_millis(1));
        let read = self
            .line
            .set_patience(patience)
            .and_then(|()| self.line.read(&mut buffer));
        match read {
            Ok(0) => Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(len) => {
                self.unread.extend_from_slice(&buffer[..len]);
                Ok(true)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Ok(false),
                io::ErrorKind::Interrupted => Ok(true),
                _ => Err(self.lost(error)),
            },
        }
    }

    fn refused(&self, refusal: Refusal) -> Error {
        let target = self.target.clone();
        Error::Refused { target, refusal }
    }

    fn lost(&self, source: io::Error) -> Error {
        let target = self.target.clone();
        Error::Lost { target, source }
    }

    fn silent<T>(&self, after: Duration) -> Result<T, Error> {
        let target = self.target.clone();
        Err(Error::Silent { target, after })
    }

    fn garbled<T>(&self, error: FrameError) -> Result<T, Error> {
        let target = self.target.clone();
        Err(Error::Garbled { target, error })
    }

    fn confused<T>(&self) -> Result<T, Error> {
        let target = self.target.clone();
        Err(Error::Confused { target })
    }
}

/// Where to start counting requests: elsewhere than the last session on the same serial line did.
fn first_id() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // From 2^28 on all numbers are encoded in five bytes, so that equal sessions have equal lengths.
    now.map_or(0, |now| now.subsec_nanos()) + (1 << 28)
}
