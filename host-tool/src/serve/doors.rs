//! Doors as the server sees them: which one is meant, a session with it, and one watching thread a door for everybody who
//! listens to its events.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use facelatch_protocol::PublicKey;
use serde::Serialize;
use tokio::sync::broadcast;
use utoipa::ToSchema;

use super::problem::Problem;
use crate::{
    Error,
    client::Client,
    cmd::{door, events::EventReport},
    doors::Door,
    home::Home,
};

/// Events remembered of each door, for those who begin to listen.
const REMEMBERED: usize = 200;
/// Events a slow listener may be behind before it misses some.
const BEHIND: usize = 256;
/// How long to wait before a door that was lost is called again.
const CALL_AGAIN: Duration = Duration::from_secs(5);

/// What a listener is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    /// Something happened at the door.
    Event(Arc<EventReport>),
    /// The line to the door came up or went down.
    Line(Line),
}

/// Whether the door is heard.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct Line {
    /// Whether it is.
    pub(super) connected: bool,
    /// Why not.
    pub(super) why: Option<String>,
}

/// The doors of a workspace.
pub(super) struct Doors {
    home: Home,
    watched: Mutex<BTreeMap<PublicKey, Arc<Watch>>>,
}

/// A door that is watched.
struct Watch {
    heard: Mutex<Heard>,
    tell: broadcast::Sender<Told>,
}

#[derive(Default)]
struct Heard {
    recent: VecDeque<Arc<EventReport>>,
    line: Option<Line>,
    /// Whether a thread watches.
    is_watched: bool,
}

impl Doors {
    pub(super) fn new(home: Home) -> Doors {
        Doors {
            home,
            watched: Mutex::default(),
        }
    }

    /// All doors this host is paired with.
    pub(super) fn all(&self) -> Result<Vec<Door>, Error> {
        self.home.doors().all()
    }

    /// The door of this name, or whose key begins so.
    ///
    /// # Errors
    /// 404 if there is none, 409 if there are several.
    pub(super) fn find(&self, named: &str) -> Result<Door, Problem> {
        let mut found = self.home.doors().named(named)?;
        match (found.pop(), found.is_empty()) {
            (Some(door), true) => Ok(door),
            (Some(_), false) => Err(Problem::conflict(format!(
                "several doors are called {named}: give the key"
            ))),
            (None, _) => Err(Problem::not_found(format!(
                "this host is paired with no door {named}"
            ))),
        }
    }

    /// A session with a door, and what is known of it.
    ///
    /// # Errors
    /// As for [`door::open`].
    pub(super) fn open(&self, named: &str) -> Result<(Client, Door), Problem> {
        let known = self.find(named)?;
        open(&self.home, &known)
    }

    /// What the door tells from now on, after what is remembered from event `from` on.
    ///
    /// # Errors
    /// As for [`Doors::find`]; 500 if no thread can be started.
    pub(super) fn listen(
        &self,
        named: &str,
        from: u64,
    ) -> Result<(Vec<Told>, broadcast::Receiver<Told>), Problem> {
        let door = self.find(named)?;
        let watch = {
            let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(
                watched
                    .entry(door.key)
                    .or_insert_with(|| Arc::new(Watch::new())),
            )
        };
        let mut heard = watch.lock();
        let line = heard.line.clone().map(Told::Line);
        let events = heard.recent.iter().filter(|event| event.seq >= from);
        let before = line
            .into_iter()
            .chain(events.cloned().map(Told::Event))
            .collect();
        let told = watch.tell.subscribe();
        if !heard.is_watched {
            let (home, own) = (self.home.clone(), Arc::clone(&watch));
            thread::Builder::new()
                .name("door events".to_owned())
                .spawn(move || own.run(&home, &door))
                .map_err(|error| Problem::internal(&error))?;
            heard.is_watched = true;
        }
        Ok((before, told))
    }
}

/// A session with exactly this door, whoever answers where it was.
fn open(home: &Home, known: &Door) -> Result<(Client, Door), Problem> {
    let place = known.targets.first().map_or(&known.name, |place| place);
    let (client, door) = door::open(home, place)?;
    match door.key == known.key {
        true => Ok((client, door)),
        false => Err(Problem::conflict(format!(
            "another door was reached last at {place}"
        ))),
    }
}

impl Watch {
    fn new() -> Watch {
        Watch {
            heard: Mutex::default(),
            tell: broadcast::Sender::new(BEHIND),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        // What is remembered for show may lack an event after a panic, no more.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches until nobody listens.
    fn run(&self, home: &Home, door: &Door) {
        loop {
            let why = match self.follow(home, door) {
                Ok(()) => return,
                Err(problem) => problem.detail().to_owned(),
            };
            self.line(Line {
                connected: false,
                why: Some(why),
            });
            if self.ends() {
                return;
            }
            thread::sleep(CALL_AGAIN);
        }
    }

    /// Follows the door's events until nobody listens.
    ///
    /// # Errors
    /// The line was lost.
    fn follow(&self, home: &Home, door: &Door) -> Result<(), Problem> {
        let (client, _) = open(home, door)?;
        let from = self.lock().recent.back().map_or(1, |event| event.seq + 1);
        let events = client.events(from)?;
        self.line(Line {
            connected: true,
            why: None,
        });
        for event in events {
            let event = Arc::new(EventReport::from(event?));
            let mut heard = self.lock();
            heard.recent.push_back(Arc::clone(&event));
            if heard.recent.len() > REMEMBERED {
                heard.recent.pop_front();
            }
            // Told while it is locked, so that who begins to listen hears it once. Nobody may listen.
            let _ = self.tell.send(Told::Event(event));
            drop(heard);
            if self.ends() {
                return Ok(());
            }
        }
        Err(Problem::conflict("the door ended the session"))
    }

    fn line(&self, line: Line) {
        let mut heard = self.lock();
        heard.line = Some(line.clone());
        // Nobody may listen.
        let _ = self.tell.send(Told::Line(line));
    }

    /// True, and noted, if nobody listens any more.
    fn ends(&self) -> bool {
        let mut heard = self.lock();
        if self.tell.receiver_count() > 0 {
            return false;
        }
        heard.is_watched = false;
        heard.line = None;
        true
    }
}
