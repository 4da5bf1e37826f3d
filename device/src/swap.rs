//! Opens a stored bundle, tests its networks, and hands it to the loop, which takes it between two frames; goes back if it
//! does not prove itself.
//!
//! Runs on a thread of its own with the bundle slots, because loading networks takes seconds: until the loop takes over,
//! the old ones serve. A bundle that cannot be opened, fails its test or does not fit the gallery is never committed.
//!
//! ```text
//! commit asked --> verify --> load, self-test --> Offer to the loop --> on trial on disk --> Adopt in the loop
//!                     any failure before it is on trial leaves everything as it was
//! loop: enough healthy frames --> Proven --> active on disk --> Confirm in the loop
//! loop: a frame fails         --> Failed --> the one before on disk --> load it --> GoBack in the loop
//! start: on trial too often, or it does not load --> the one before
//! ```

mod load;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, Sender, SyncSender, sync_channel},
    },
};

use facelatch_boards::Clock;
use facelatch_protocol::{
    BundleFault, BundleProgress, Digest, Refusal, Request, Response, RollbackReason, RolledBack,
    Trial, UpdateStatus,
};

pub use self::load::{Loader, Networks, Prepared};
use crate::{
    error::Error,
    hosts::Hosts,
    link::{Ask, Call, handlers},
    run::Input,
    store::{Candidate, Store},
};

/// What the loop is asked.
#[derive(Debug)]
pub enum Step {
    /// Could this be taken over? It is kept until the next step.
    Offer(Box<Prepared>),
    /// Take over what was offered: it is committed, and on trial.
    Adopt {
        /// What the store holds now.
        progress: BundleProgress,
    },
    /// The bundle on trial is the active one now.
    Confirm {
        /// What the store holds now.
        progress: BundleProgress,
    },
    /// The bundle on trial did not prove itself: take this instead.
    GoBack {
        /// What was there before.
        prepared: Box<Prepared>,
        /// What did not prove itself, and why.
        rolled_back: RolledBack,
        /// What the store holds now.
        progress: BundleProgress,
    },
}

/// What `swap` is asked.
#[derive(Debug)]
pub enum Order {
    /// By a host.
    Call(Box<Call>),
    /// By the loop: this bundle has judged enough frames.
    Proven(Digest),
    /// By the loop: judging a frame with this bundle failed.
    Failed {
        /// The bundle.
        digest: Digest,
        /// What failed.
        text: String,
    },
}

/// When a bundle has proved itself.
#[derive(Debug, Clone)]
pub struct TrialRules {
    /// Starts it may take.
    pub starts: u32,
    /// Frames it has to judge without a fault.
    pub frames: u32,
    /// How many are left; counted by the loop.
    pub frames_left: Arc<AtomicU32>,
}

/// The bundle slots with all that is needed to serve requests about them.
pub struct Swap {
    /// The slots.
    pub store: Store,
    /// Whose bundles are taken.
    pub hosts: Arc<Hosts>,
    loader: Loader,
    trial: TrialRules,
    audit: PathBuf,
    clock: Arc<dyn Clock>,
    loop_inbox: Sender<Input>,
}

/// What a [`Swap`] works with, beside the slots and the loader.
pub struct Around {
    /// Whose bundles are taken.
    pub hosts: Arc<Hosts>,
    /// When a bundle has proved itself.
    pub trial: TrialRules,
    /// Folder of the audit record.
    pub audit: PathBuf,
    /// For the time a bundle was taken back at.
    pub clock: Arc<dyn Clock>,
    /// The loop's inbox.
    pub loop_inbox: Sender<Input>,
}

impl Swap {
    /// Binds the slots to the loop.
    #[must_use]
    pub fn new(store: Store, loader: Loader, around: Around) -> Swap {
        let Around {
            hosts,
            trial,
            audit,
            clock,
            loop_inbox,
        } = around;
        Swap {
            store,
            hosts,
            loader,
            trial,
            audit,
            clock,
            loop_inbox,
        }
    }

    /// Serves until the link and the loop are gone.
    pub fn serve(mut self, orders: Receiver<Order>) {
        for order in orders {
            match order {
                Order::Call(call) if removes_somebody(&call) => {
                    // What is half received may hold them, too; only then the loop forgets them.
                    self.store.abort();
                    // Without a loop, the call is dropped and with it refused.
                    let _ = self.loop_inbox.send(Input::Call(call));
                }
                Order::Call(call) => {
                    let response = handlers::bundle(&mut self, call.ask);
                    // A session that gave up waiting needs no answer.
                    let _ = call.reply.send(response);
                }
                Order::Proven(digest) => self.proven(digest),
                Order::Failed { digest, text } => {
                    self.go_back(digest, RollbackReason::Networks, &text);
                }
            }
        }
    }

    /// Makes the received bundle the one in use, on trial.
    ///
    /// # Errors
    /// Why not; then the bundle in use is still the one before.
    pub fn commit(&mut self, sha256: Digest) -> Result<(), Refusal> {
        if self.store.in_use().is_some_and(|id| id.digest == sha256) {
            return self.store.settle().map_err(|e| logged(e).refusal());
        }
        let trusted = self.hosts.trusted();
        let candidate = self
            .store
            .verify(sha256, trusted.as_ref())
            .map_err(|e| logged(e).refusal())?;
        let loaded_before = self.loader.loaded;
        let offered = self.try_candidate(&candidate);
        if offered.is_err() {
            self.loader.loaded = loaded_before;
            self.store.abort();
        }
        offered?;
        self.trial
            .frames_left
            .store(self.trial.frames, Ordering::SeqCst);
        let progress = self.store.progress();
        if let Err(refusal) = self.ask(Step::Adopt { progress }) {
            self.go_back(sha256, RollbackReason::Gallery, &refusal.to_string());
            return Err(refusal);
        }
        self.taken_over(sha256);
        Ok(())
    }

    /// Up to the moment it is on trial on disk.
    fn try_candidate(&mut self, candidate: &Candidate) -> Result<(), Refusal> {
        let prepared = self
            .loader
            .open(&mut self.store, candidate.id)
            .map_err(|e| refusal(&logged(e)))?;
        self.ask(Step::Offer(Box::new(prepared)))?;
        match self.store.commit(candidate) {
            Ok(_) => Ok(()),
            // Half of the change is on the disk, and it is the half that counts.
            Err(error) if self.store.in_use() == Some(candidate.id) => {
                log::warn!("bundle {}: {error}", candidate.id.digest);
                Ok(())
            }
            Err(error) => Err(logged(error).refusal()),
        }
    }

    /// The people of a bundle are in the gallery: here they are not kept.
    fn taken_over(&mut self, digest: Digest) {
        if let Err(error) = self.store.forget_personal(digest) {
            log::error!("people of bundle {digest} taken over are still there too: {error}");
        }
    }

    fn proven(&mut self, digest: Digest) {
        if self.store.on_trial().is_none_or(|id| id.digest != digest) {
            return;
        }
        if let Err(error) = self.store.confirm() {
            // It stays on trial, and proves itself again after the next start.
            log::error!("bundle {digest} has proved itself, but is not confirmed: {error}");
            return;
        }
        let progress = self.store.progress();
        if let Err(refusal) = self.ask(Step::Confirm { progress }) {
            log::error!("bundle {digest}: the loop did not confirm it: {refusal}");
        }
    }

    /// Back to the bundle before.
    fn go_back(&mut self, digest: Digest, reason: RollbackReason, text: &str) {
        if self.store.on_trial().is_none_or(|id| id.digest != digest) {
            return;
        }
        log::error!("bundle {digest} {reason}: {text}; going back");
        let unix_ms = self.clock.unix_ms();
        let gone_back = self
            .store
            .roll_back(reason, text, unix_ms)
            .map_err(Error::from)
            .and_then(|_| match self.store.in_use() {
                Some(before) => self.loader.open(&mut self.store, before),
                None => self.loader.without_bundle(),
            });
        let rolled_back = self.store.rolled_back().cloned();
        let step = gone_back.map(|prepared| (Box::new(prepared), rolled_back));
        match step {
            Ok((prepared, Some(rolled_back))) => {
                let progress = self.store.progress();
                let back = Step::GoBack {
                    prepared,
                    rolled_back,
                    progress,
                };
                if let Err(refusal) = self.ask(back) {
                    log::error!("the loop did not go back: {refusal}");
                }
            }
            Ok((_, None)) => log::error!("going back left no trace"),
            Err(error) => log::error!("going back failed, the door stays at rest: {error}"),
        }
    }

    fn ask(&self, step: Step) -> Result<(), Refusal> {
        let (reply, answer): (SyncSender<_>, _) = sync_channel(1);
        self.loop_inbox
            .send(Input::Swap(Box::new(step), reply))
            .map_err(|_| Refusal::Stopping)?;
        answer.recv().map_err(|_| Refusal::Stopping)?
    }

    /// Where everything stands.
    #[must_use]
    pub fn progress(&self) -> Response {
        Response::Bundle(self.store.progress())
    }

    /// How the last update went.
    #[must_use]
    pub fn update_status(&self) -> UpdateStatus {
        let frames_left = self.trial.frames_left.load(Ordering::SeqCst);
        UpdateStatus {
            trial: self.store.on_trial().map(|id| Trial { id, frames_left }),
            rolled_back: self.store.rolled_back().cloned(),
            highest_counter: self.store.highest_counter(),
            keys_serial: self.hosts.trusted().map(|keys| keys.serial),
        }
    }

    /// Folder of the audit record.
    #[must_use]
    pub fn audit_folder(&self) -> &Path {
        &self.audit
    }
}

fn removes_somebody(call: &Call) -> bool {
    matches!(call.ask, Ask::Request(Request::PersonRemove { .. }))
}

/// What the peer is told about a bundle that cannot be opened.
fn refusal(error: &Error) -> Refusal {
    match error {
        Error::Store(error) => error.refusal(),
        Error::Storage { .. } => Refusal::Storage,
        Error::Models(facelatch_models::Error::Space { .. }) => Refusal::Bundle(BundleFault::Space),
        _ => Refusal::Bundle(BundleFault::SelfTest),
    }
}

fn logged<E: std::fmt::Display>(error: E) -> E {
    log::warn!("bundle refused: {error}");
    error
}
