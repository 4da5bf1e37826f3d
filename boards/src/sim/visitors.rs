//! The queue of visitors in front of a simulated camera: sent by a program or a test, taken by the replay camera.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use image::RgbImage;

/// What a visitor looks like.
#[derive(Clone, Debug, PartialEq)]
pub enum Picture {
    /// A photo on disk, opened when its turn comes.
    File(PathBuf),
    /// Pixels at hand.
    Pixels(RgbImage),
    /// Somebody who moves.
    Moving(Moving),
}

/// Somebody who moves, and may watch the indicator while they do. Clones are the same person.
#[derive(Clone)]
pub struct Moving(Arc<Mutex<dyn FnMut() -> Option<RgbImage> + Send>>);

impl Moving {
    /// `look` makes the next frame, in the camera's thread, when the door asks for one; `None` when they have gone.
    pub fn new(look: impl FnMut() -> Option<RgbImage> + Send + 'static) -> Moving {
        Moving(Arc::new(Mutex::new(look)))
    }

    /// The next frame of them.
    pub fn next(&self) -> Option<RgbImage> {
        let mut look = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        look()
    }
}

impl fmt::Debug for Moving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Moving")
    }
}

impl PartialEq for Moving {
    fn eq(&self, other: &Moving) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Somebody, or something, in front of the camera.
#[derive(Clone, Debug, PartialEq)]
pub struct Visitor {
    /// What the camera sees.
    pub picture: Picture,
    /// Name for records and in [`crate::Frame::label`].
    pub label: String,
    /// How many frames; if `None`, the board file's `frames_per_photo`, or as many as somebody who moves makes.
    pub frames: Option<u32>,
    /// Factor on every pixel value; 1.0 changes nothing.
    pub brightness: f32,
}

impl Visitor {
    /// A photo on disk, labelled with its name without ending.
    pub fn photo(path: impl Into<PathBuf>) -> Visitor {
        let path = path.into();
        let label = path
            .file_stem()
            .map(|s| s.to_string_lossy().into_owned())
            .unwrap_or_default();
        Visitor {
            picture: Picture::File(path),
            label,
            frames: None,
            brightness: 1.0,
        }
    }

    /// Somebody who moves.
    pub fn moving(label: &str, who: Moving) -> Visitor {
        Visitor {
            picture: Picture::Moving(who),
            label: label.to_owned(),
            frames: None,
            brightness: 1.0,
        }
    }
}

/// A photo that could not be shown, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The photo.
    pub photo: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Visitor>,
    on_stage: bool,
    finished: bool,
    skipped: Vec<Skipped>,
}

/// What [`Visitors::next`] brought.
pub(super) enum Next {
    Visitor(Visitor),
    Nobody,
    Finished,
}

/// Who comes to a simulated camera. Clones are the same queue.
#[derive(Clone, Debug, Default)]
pub struct Visitors {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Visitors {
    /// Puts a visitor at the end of the queue.
    pub fn arrive(&self, visitor: Visitor) {
        self.lock().queue.push_back(visitor);
        self.shared.1.notify_all();
    }

    /// Nobody else will come: when the queue has been played, the camera has ended.
    pub fn finish(&self) {
        self.lock().finished = true;
        self.shared.1.notify_all();
    }

    /// How many visitors wait or are being shown; the frames of the gap after a visitor belong to it.
    pub fn left(&self) -> usize {
        let state = self.lock();
        state.queue.len() + usize::from(state.on_stage)
    }

    /// The photos that could not be shown so far.
    pub fn skipped(&self) -> Vec<Skipped> {
        self.lock().skipped.clone()
    }

    /// Waits in real time, at most `limit`, until everybody has been shown. `false` if the time was not enough.
    pub fn wait_until_shown(&self, limit: Duration) -> bool {
        let (_state, waited) = self
            .shared
            .1
            .wait_timeout_while(self.lock(), limit, |s| s.on_stage || !s.queue.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    /// The next visitor; waits for one in real time, at most `limit`.
    pub(super) fn next(&self, limit: Duration) -> Next {
        let (mut state, _) = self
            .shared
            .1
            .wait_timeout_while(self.lock(), limit, |s| s.queue.is_empty() && !s.finished)
            .unwrap_or_else(PoisonError::into_inner);
        match state.queue.pop_front() {
            Some(visitor) => {
                state.on_stage = true;
                Next::Visitor(visitor)
            }
            None if state.finished => Next::Finished,
            None => Next::Nobody,
        }
    }

    pub(super) fn left_the_stage(&self) {
        self.lock().on_stage = false;
        self.shared.1.notify_all();
    }

    pub(super) fn skip(&self, skipped: Skipped) {
        log::warn!(
            "replay: {} skipped: {}",
            skipped.photo.display(),
            skipped.problem
        );
        self.lock().skipped.push(skipped);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each field is changed in one step, so a poisoned state is still whole.
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
