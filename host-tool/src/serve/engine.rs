//! The networks, loaded once, on one thread that everybody shares: work is queued, and done in order.
//!
//! A panic in the work ends that work only: the networks are loaded anew. The queue is short, and who has to wait waits
//! without holding a thread.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    thread,
};

use facelatch_models::{embedding::SpaceId, mtcnn::DetectorConfig, zoo::Zoo};
use tokio::sync::{mpsc, oneshot};

use super::problem::Problem;
use crate::{
    Error,
    cache::Cache,
    embed::{Kind, MIN_FACE_PX, Networks, Outcome, Reader, detector_config},
};

/// Work waiting at most, beside the piece under way.
const QUEUE: usize = 32;

/// A way to the thread with the networks.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    queue: mpsc::Sender<Work>,
    space: SpaceId,
}

type Work = Box<dyn FnOnce(&mut Desk<'_>) + Send>;

/// What the work is done with.
pub(super) struct Desk<'a> {
    /// Detector and embedder.
    pub(super) networks: Networks,
    reader: &'a Reader<'a>,
}

impl Desk<'_> {
    /// Reads a photo, through the cache.
    pub(super) fn read(&mut self, path: &Path, bytes: &[u8], kind: Kind) -> Result<Outcome, Error> {
        self.reader.read_with(&mut self.networks, path, bytes, kind)
    }

    /// Has the cache forget a photo: one that is not kept.
    pub(super) fn forget(&self, sha256: [u8; 32]) -> Result<(), Error> {
        self.reader.forget(sha256)
    }
}

impl Engine {
    /// Loads the networks and starts the thread.
    ///
    /// # Errors
    /// As for [`Networks::load`].
    pub(super) fn start(zoo: Arc<Zoo>, cache: Cache) -> Result<Engine, Error> {
        let config = detector_config(MIN_FACE_PX);
        let space = Reader::new(&zoo, None, config)?.space().clone();
        let networks = Networks::load(&zoo, config)?;
        let (queue, work) = mpsc::channel(QUEUE);
        thread::Builder::new()
            .name("networks".to_owned())
            .spawn(move || {
                if let Err(error) = work_off(&zoo, cache, config, networks, work) {
                    log::error!("the networks' thread ended: {error}");
                }
            })
            .map_err(Error::storage("start", "a thread"))?;
        Ok(Engine { queue, space })
    }

    /// The embedding space of what it reads.
    pub(super) fn space(&self) -> &SpaceId {
        &self.space
    }

    /// Has work done, after what is queued before it.
    ///
    /// # Errors
    /// The work's own; a 500 if it panicked, or the thread has ended.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Desk<'_>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (work, done) = answered(work);
        self.queue.send(work).await.map_err(|_| gone())?;
        done.await.map_err(|_| gone())?
    }

    /// The same for a thread that may wait.
    ///
    /// # Errors
    /// As for [`Engine::run`].
    pub(super) fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Desk<'_>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (work, done) = answered(work);
        self.queue.blocking_send(work).map_err(|_| gone())?;
        done.blocking_recv().map_err(|_| gone())?
    }
}

fn answered<T: Send + 'static>(
    work: impl FnOnce(&mut Desk<'_>) -> Result<T, Problem> + Send + 'static,
) -> (Work, oneshot::Receiver<Result<T, Problem>>) {
    let (answer, done) = oneshot::channel();
    let work: Work = Box::new(move |desk: &mut Desk<'_>| {
        // Whoever asked may have gone.
        if !answer.is_closed() {
            let _ = answer.send(work(desk));
        }
    });
    (work, done)
}

/// The work panicked, and took its answer with it.
fn gone() -> Problem {
    Problem::internal(&"bug: work on the networks was not finished")
}

/// Ends when nobody can send work any more.
fn work_off(
    zoo: &Zoo,
    cache: Cache,
    config: DetectorConfig,
    networks: Networks,
    mut queue: mpsc::Receiver<Work>,
) -> Result<(), Error> {
    let reader = Reader::new(zoo, Some(cache), config)?;
    let mut desk = Desk {
        networks,
        reader: &reader,
    };
    while let Some(work) = queue.blocking_recv() {
        // After a panic nothing of the desk is used again.
        if catch_unwind(AssertUnwindSafe(|| work(&mut desk))).is_err() {
            desk.networks = Networks::load(zoo, config)?;
        }
    }
    Ok(())
}
