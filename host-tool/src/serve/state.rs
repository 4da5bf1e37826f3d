//! What all requests share, and how they reach threads that may block.

use std::sync::{Arc, Mutex, PoisonError};

use facelatch_models::zoo::Zoo;
use tokio::sync::{Semaphore, watch};

use super::{
    Settings,
    datasets::Datasets,
    doors::Doors,
    engine::Engine,
    jobs::Jobs,
    journal::Journal,
    limits::Limits,
    names::UserId,
    problem::Problem,
    recognise::Judges,
    token::{Sessions, Token},
};
use crate::{Error, home::Home};

/// The server's parts.
pub(super) struct App {
    /// The workspace: keys and doors.
    pub(super) home: Home,
    pub(super) zoo: Arc<Zoo>,
    pub(super) datasets: Arc<Datasets>,
    pub(super) engine: Engine,
    pub(super) judges: Judges,
    pub(super) jobs: Jobs,
    pub(super) doors: Doors,
    pub(super) journal: Journal,
    pub(super) limits: Limits,
    pub(super) token: Token,
    pub(super) sessions: Sessions,
    /// Names the server may be called by.
    pub(super) names: Vec<String>,
    /// Requests that hold photos in memory.
    pub(super) uploads: Arc<Semaphore>,
    stopping: Mutex<watch::Sender<bool>>,
}

pub(super) type Shared = Arc<App>;

impl App {
    pub(super) fn start(settings: Settings) -> Result<App, Error> {
        let Settings {
            home,
            zoo,
            names,
            limits,
            token,
            ..
        } = settings;
        let zoo = Arc::new(zoo);
        Ok(App {
            datasets: Arc::new(Datasets::new(&home)),
            engine: Engine::start(Arc::clone(&zoo), home.cache())?,
            zoo,
            judges: Judges::default(),
            jobs: Jobs::default(),
            doors: Doors::new(home.clone()),
            journal: Journal::open(&home)?,
            uploads: Arc::new(Semaphore::new(limits.uploads)),
            sessions: Sessions::default(),
            stopping: Mutex::new(watch::Sender::new(false)),
            home,
            limits,
            token,
            names,
        })
    }

    /// Ends streams, and tells jobs to stop.
    pub(super) fn stop(&self) {
        self.stopping
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send_replace(true);
        self.jobs.stop();
    }

    /// True once the server stops.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .subscribe()
    }

    /// The dataset, if there is one.
    ///
    /// # Errors
    /// 404.
    pub(super) fn dataset(&self, user: &UserId) -> Result<(), Problem> {
        match self.datasets.exists(user) {
            true => Ok(()),
            false => Err(Problem::not_found(format!(
                "there is no dataset {user}: upload a photo to make it"
            ))),
        }
    }
}

/// Does work that may wait for disk or network on a thread for such work.
///
/// # Errors
/// The work's own; 500 if it panicked.
pub(super) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Into<Problem> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(panicked) => Err(Problem::internal(&format!("bug: {panicked}"))),
    }
}
