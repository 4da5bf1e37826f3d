//! Threads that work on one job together: a static split, a barrier between steps, spinning a little before sleeping.
//!
//! A run takes a few milliseconds in a hundred steps, so waking a thread for each would cost more than the step; but a
//! door's processor has other work, and spinning on while another program holds the core costs a whole time slice. So a
//! waiting thread looks for some microseconds, then sleeps.

use std::{
    hint,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::Error;

/// Looks before a thread sleeps: some 10 to 40 microseconds.
const LOOKS: u32 = 1000;

/// What the workers do together. `work` runs once on each of them, at the same time.
pub(crate) trait Job: Send + Sync {
    /// Worker `worker`'s share; everyone calls `barrier` equally often.
    fn work(&self, worker: usize, barrier: &Barrier);
}

/// A caller and the threads that help it.
#[derive(Debug)]
pub(crate) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// One job at a time.
    turn: Mutex<()>,
}

#[derive(Debug)]
struct Shared {
    /// One for each job given, and one when the workers are to end.
    rounds: Event,
    job: Mutex<Slot>,
    barrier: Barrier,
}

struct Slot {
    job: Option<Arc<dyn Job>>,
    closing: bool,
}

impl Workers {
    /// The caller and `threads - 1` helpers.
    ///
    /// # Errors
    /// [`Error::Setting`] if the system gives no more threads.
    pub(crate) fn new(threads: usize) -> Result<Workers, Error> {
        let shared = Arc::new(Shared {
            rounds: Event::default(),
            job: Mutex::new(Slot {
                job: None,
                closing: false,
            }),
            barrier: Barrier::new(threads),
        });
        let mut workers = Workers {
            shared,
            threads: Vec::new(),
            turn: Mutex::new(()),
        };
        for worker in 1..threads {
            let shared = Arc::clone(&workers.shared);
            let thread = thread::Builder::new()
                .name(format!("int8-{worker}"))
                .spawn(move || serve(&shared, worker))
                .map_err(|error| Error::Setting {
                    name: "FACELATCH_THREADS",
                    found: threads.to_string(),
                    expected: format!("fewer: the system refused a thread ({error})"),
                })?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// How many work on a job.
    pub(crate) fn count(&self) -> usize {
        self.threads.len() + 1
    }

    /// Does a job; returns when all workers have done their share.
    pub(crate) fn run(&self, job: &Arc<impl Job + 'static>) {
        if self.threads.is_empty() {
            // Nobody to wait for: callers on several threads need no turns.
            take_part(&Barrier::new(1), &**job, 0);
            return;
        }
        let _turn = lock(&self.turn);
        let helped: Arc<dyn Job> = job.clone();
        lock(&self.shared.job).job = Some(helped);
        self.shared.rounds.announce();
        take_part(&self.shared.barrier, &**job, 0);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        lock(&self.shared.job).closing = true;
        self.shared.rounds.announce();
        for thread in self.threads.drain(..) {
            // A worker that panicked has broken the barrier, which its caller was told.
            let _ = thread.join();
        }
    }
}

fn serve(shared: &Shared, worker: usize) {
    let mut seen = 0;
    loop {
        seen = shared.rounds.after(seen, || false);
        let job = {
            let slot = lock(&shared.job);
            if slot.closing {
                return;
            }
            slot.job.clone()
        };
        if let Some(job) = job {
            take_part(&shared.barrier, &*job, worker);
        }
    }
}

/// Works, and waits until all have: the job's memory is free again when its caller goes on.
fn take_part(barrier: &Barrier, job: &dyn Job, worker: usize) {
    let guard = BreakOnPanic(barrier);
    job.work(worker, barrier);
    barrier.wait();
    drop(guard);
}

struct BreakOnPanic<'a>(&'a Barrier);

impl Drop for BreakOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.broken.store(true, Ordering::SeqCst);
            self.0.turns.announce();
        }
    }
}

/// Where all workers wait for the last.
#[derive(Debug)]
pub(crate) struct Barrier {
    workers: usize,
    arrived: AtomicUsize,
    turns: Event,
    broken: AtomicBool,
}

impl Barrier {
    fn new(workers: usize) -> Barrier {
        Barrier {
            workers,
            arrived: AtomicUsize::new(0),
            turns: Event::default(),
            broken: AtomicBool::new(false),
        }
    }

    /// Returns when all workers have called it.
    ///
    /// # Panics
    /// If another worker panicked: it will never come.
    pub(crate) fn wait(&self) {
        if self.workers == 1 {
            return;
        }
        let turn = self.turns.count();
        // Before the last arrival counts, everyone has read the turn.
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.workers {
            self.arrived.store(0, Ordering::Release);
            self.turns.announce();
        } else {
            self.turns
                .after(turn, || self.broken.load(Ordering::SeqCst));
        }
        assert!(
            !self.broken.load(Ordering::SeqCst),
            "another worker panicked"
        );
    }
}

/// Something that happens again and again, counted; waiters look, then sleep.
#[derive(Debug, Default)]
struct Event {
    count: AtomicUsize,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Event {
    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn announce(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        // Either the sleeper sees the new count, or we see the sleeper: both orders are sequentially consistent.
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let _guard = lock(&self.lock);
            self.wake.notify_all();
        }
    }

    /// Waits until the count is no longer `seen`, or `given_up`; returns the count.
    fn after(&self, seen: usize, given_up: impl Fn() -> bool) -> usize {
        for _ in 0..LOOKS {
            if self.count() != seen || given_up() {
                return self.count();
            }
            hint::spin_loop();
        }
        let mut guard = lock(&self.lock);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while self.count() == seen && !given_up() {
            guard = self
                .wake
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        drop(guard);
        self.count()
    }
}

/// What the locks guard is valid at every moment, so a panic elsewhere is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slot(closing: {})", self.closing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every step adds to the sum of the step before, which only holds if all have finished it.
    struct Sums {
        steps: Vec<AtomicUsize>,
        workers: usize,
        wrong: AtomicUsize,
    }

    impl Job for Sums {
        fn work(&self, _: usize, barrier: &Barrier) {
            for (at, step) in self.steps.iter().enumerate() {
                step.fetch_add(1, Ordering::Relaxed);
                barrier.wait();
                if self.steps[..=at]
                    .iter()
                    .any(|s| s.load(Ordering::Relaxed) % self.workers != 0)
                {
                    self.wrong.fetch_add(1, Ordering::Relaxed);
                }
                barrier.wait();
            }
        }
    }

    #[test]
    fn nobody_passes_a_barrier_early() {
        for count in 1..=4 {
            let workers = Workers::new(count).unwrap();
            assert_eq!(workers.count(), count);
            let job = Arc::new(Sums {
                steps: (0..50).map(|_| AtomicUsize::new(0)).collect(),
                workers: count,
                wrong: AtomicUsize::new(0),
            });
            for round in 1..=20 {
                workers.run(&job);
                assert_eq!(job.wrong.load(Ordering::Relaxed), 0);
                let done = |s: &AtomicUsize| s.load(Ordering::Relaxed) == round * count;
                assert!(job.steps.iter().all(done));
            }
        }
    }

    struct Fails;

    impl Job for Fails {
        fn work(&self, worker: usize, barrier: &Barrier) {
            assert_ne!(worker, 1, "worker 1 fails");
            barrier.wait();
        }
    }

    #[test]
    fn a_failed_worker_stops_the_others_instead_of_hanging_them() {
        let workers = Workers::new(3).unwrap();
        let job = Arc::new(Fails);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| workers.run(&job)));
        assert!(caught.is_err());
    }
}
