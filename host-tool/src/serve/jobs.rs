//! Work that outlasts a request: a thread each, progress that anybody may watch, and an end that is kept a while.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::problem::Problem;
use crate::home::unix_ms_now;

/// Jobs under way at a time.
const AT_ONCE: usize = 4;
/// Jobs remembered, the ended ones among them.
const KEPT: usize = 100;

/// A job's number.
pub(super) type JobId = u64;

/// What a job is about; two jobs that name the same do not go on at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// Photos to templates, templates to classifier.
    Train,
    /// How good recognition is on a dataset.
    Evaluate,
    /// A bundle to a door.
    Push,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Stand {
    /// It goes on.
    Running,
    /// It ended well.
    Done,
    /// It failed.
    Failed,
    /// It was told to stop.
    Cancelled,
}

/// A job as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct Report {
    /// Its number.
    pub(super) id: JobId,
    /// What it does.
    pub(super) kind: Kind,
    /// The dataset or the door it is about.
    pub(super) about: String,
    /// Where it stands.
    pub(super) state: Stand,
    /// What it is doing, in words.
    pub(super) phase: String,
    /// Steps done of this phase.
    pub(super) done: u64,
    /// Steps of this phase; 0 where unknown.
    pub(super) total: u64,
    /// When it began, in milliseconds since 1970.
    pub(super) started_unix_ms: u64,
    /// When it ended, in milliseconds since 1970.
    pub(super) ended_unix_ms: Option<u64>,
    /// What came of it, once it is done.
    #[schema(value_type = Option<Object>)]
    pub(super) result: Option<Value>,
    /// Why it failed.
    pub(super) problem: Option<Problem>,
}

/// All jobs.
#[derive(Default)]
pub(super) struct Jobs {
    jobs: Mutex<BTreeMap<JobId, Arc<Job>>>,
    last: AtomicU64,
}

/// One job.
pub(super) struct Job {
    state: watch::Sender<Report>,
    cancelled: AtomicBool,
}

/// Why a job ended early.
pub(super) enum Ended {
    /// It was told to stop.
    Cancelled,
    /// It failed.
    Failed(Problem),
}

impl<E: Into<Problem>> From<E> for Ended {
    fn from(error: E) -> Ended {
        Ended::Failed(error.into())
    }
}

impl Jobs {
    /// Starts a job on a thread of its own.
    ///
    /// # Errors
    /// 409 if one like it goes on, 503 if too many do.
    pub(super) fn start(
        &self,
        kind: Kind,
        about: String,
        work: impl FnOnce(&Job) -> Result<Value, Ended> + Send + 'static,
    ) -> Result<Report, Problem> {
        let mut jobs = self.lock();
        let running = || jobs.values().filter(|job| job.is_running());
        if running().any(|job| job.state.borrow().about == about) {
            return Err(Problem::conflict(format!(
                "a job about {about} is under way: wait for it or cancel it"
            )));
        }
        if running().count() >= AT_ONCE {
            return Err(Problem::busy("too many jobs are under way"));
        }
        let report = Report {
            id: self.last.fetch_add(1, Ordering::Relaxed) + 1,
            kind,
            about,
            state: Stand::Running,
            phase: "starting".to_owned(),
            done: 0,
            total: 0,
            started_unix_ms: unix_ms_now(),
            ended_unix_ms: None,
            result: None,
            problem: None,
        };
        let job = Arc::new(Job {
            state: watch::Sender::new(report.clone()),
            cancelled: AtomicBool::new(false),
        });
        let own = Arc::clone(&job);
        thread::Builder::new()
            .name("job".to_owned())
            .spawn(move || own.run(work))
            .map_err(|error| Problem::internal(&error))?;
        jobs.insert(report.id, job);
        forget_old(&mut jobs);
        Ok(report)
    }

    pub(super) fn find(&self, id: JobId) -> Result<Arc<Job>, Problem> {
        let job = self.lock().get(&id).cloned();
        job.ok_or_else(|| Problem::not_found(format!("there is no job {id}")))
    }

    /// All that are remembered, the latest first.
    pub(super) fn all(&self) -> Vec<Report> {
        self.lock().values().rev().map(|job| job.report()).collect()
    }

    /// Whether one about this goes on.
    pub(super) fn is_about(&self, about: &str) -> bool {
        let jobs = self.lock();
        let mut running = jobs.values().filter(|job| job.is_running());
        running.any(|job| job.state.borrow().about == about)
    }

    /// Tells every job to stop.
    pub(super) fn stop(&self) {
        self.lock().values().for_each(|job| job.cancel());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, Arc<Job>>> {
        // Every change is one call: a panic elsewhere left it whole.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget_old(jobs: &mut BTreeMap<JobId, Arc<Job>>) {
    while jobs.len() > KEPT {
        let Some(oldest) = jobs
            .iter()
            .find(|(_, job)| !job.is_running())
            .map(|(id, _)| *id)
        else {
            return;
        };
        jobs.remove(&oldest);
    }
}

impl Job {
    pub(super) fn report(&self) -> Report {
        self.state.borrow().clone()
    }

    /// Changes from now on; the first is how it stands.
    pub(super) fn watch(&self) -> watch::Receiver<Report> {
        let mut watched = self.state.subscribe();
        watched.mark_changed();
        watched
    }

    /// Asks it to stop; it does at its next step.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Begins a phase of so many steps.
    pub(super) fn phase(&self, phase: &str, total: u64) {
        self.state.send_modify(|report| {
            phase.clone_into(&mut report.phase);
            (report.done, report.total) = (0, total);
        });
    }

    /// So many steps of the phase are done.
    ///
    /// # Errors
    /// [`Ended::Cancelled`] if it was told to stop.
    pub(super) fn step(&self, done: u64) -> Result<(), Ended> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Ended::Cancelled);
        }
        self.state.send_modify(|report| report.done = done);
        Ok(())
    }

    fn is_running(&self) -> bool {
        self.state.borrow().state == Stand::Running
    }

    fn run(&self, work: impl FnOnce(&Job) -> Result<Value, Ended>) {
        // What panicked is not used again.
        let ended = catch_unwind(AssertUnwindSafe(|| work(self)))
            .unwrap_or_else(|_| Err(Ended::Failed(Problem::internal(&"bug: a job panicked"))));
        self.state.send_modify(|report| {
            report.ended_unix_ms = Some(unix_ms_now());
            match ended {
                Ok(result) => (report.state, report.result) = (Stand::Done, Some(result)),
                Err(Ended::Cancelled) => report.state = Stand::Cancelled,
                Err(Ended::Failed(problem)) => {
                    (report.state, report.problem) = (Stand::Failed, Some(problem));
                }
            }
        });
    }
}

impl Stand {
    /// The name of the event that tells it.
    pub(super) fn event(self) -> &'static str {
        match self {
            Stand::Running => "progress",
            Stand::Done => "done",
            Stand::Failed => "failed",
            Stand::Cancelled => "cancelled",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn ended(jobs: &Jobs, id: JobId) -> Report {
        let mut watched = jobs.find(id).expect("it was started").watch();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let ended = watched
                .wait_for(|report| report.state != Stand::Running)
                .await;
            ended.expect("the job is kept").clone()
        })
    }

    #[test]
    fn jobs_end_as_they_end() {
        let jobs = Jobs::default();
        let start = |about: &str, work: fn(&Job) -> Result<Value, Ended>| {
            jobs.start(Kind::Train, about.to_owned(), work)
                .expect("there is room")
                .id
        };
        let done = ended(
            &jobs,
            start("a", |job| {
                job.phase("counting", 2);
                job.step(2)?;
                Ok(Value::from(7))
            }),
        );
        assert_eq!(
            (done.state, done.result, done.done, done.total),
            (Stand::Done, Some(Value::from(7)), 2, 2)
        );
        let failed = ended(&jobs, start("b", |_| Err(Problem::conflict("no").into())));
        assert_eq!(
            (failed.state, failed.problem),
            (Stand::Failed, Some(Problem::conflict("no")))
        );
        let panicked = ended(&jobs, start("c", |_| panic!("as a bug would")));
        assert_eq!(panicked.state, Stand::Failed);
        assert_eq!(jobs.all().len(), 3);
        assert!(jobs.find(99).is_err());
    }

    #[test]
    fn one_job_a_subject_and_cancelled_when_asked() {
        let jobs = Jobs::default();
        let (go, wait) = channel::<()>();
        let first = jobs.start(Kind::Train, "a".into(), move |job| {
            // Until the test lets go of its end.
            let _ = wait.recv();
            job.step(1)?;
            Ok(Value::Null)
        });
        let first = first.expect("there is room").id;
        let again = jobs.start(Kind::Evaluate, "a".into(), |_| Ok(Value::Null));
        assert!(again.is_err_and(|problem| problem.detail().contains("under way")));
        assert!(jobs.is_about("a") && !jobs.is_about("b"));
        jobs.find(first).expect("it goes on").cancel();
        drop(go);
        assert_eq!(ended(&jobs, first).state, Stand::Cancelled);
        assert!(!jobs.is_about("a"));
        assert!(
            jobs.start(Kind::Train, "a".into(), |_| Ok(Value::Null))
                .is_ok()
        );
    }
}
