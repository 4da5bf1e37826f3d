//! The loop: one thread owns camera frames, networks, people, door and relay, and does one thing after the other.
//!
//! ```text
//! Camera -> Frame -> motion -> quality -> Detector -> [Face] -> track -> quality -> align -> Crop -> Embedder -> Embedding
//!        -> identify -> Verdict -> vote -> Decision -> live -> policy -> door.step -> Action -> Relay
//!                                                                                    (+ audit, + indicator)
//! ```
//!
//! Frames, calls from the link and steps of a bundle's commit arrive in one inbox; between two of them the loop waits.
//! Every error becomes a `door::Event::Fault`: there is one road to the relay. From pixels to a decision is
//! in `see`, what follows from an event in `act`, changes of people in `people`. Started by `lib`.

mod act;
mod ask;
mod enrolling;
mod flag;
mod inputs;
mod lockdown;
mod pairing;
pub(crate) mod people;
mod schedule;
mod second;
mod see;
mod visit;
mod watched;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender},
    },
    time::{Duration, Instant},
};

use facelatch_boards::{Capture, Clock, Frame, Panel};
use facelatch_models::{calibrate::Calibration, classifier::Classifier};
use facelatch_policy::PinAnswer;
use facelatch_protocol::{BundleProgress, Digest, PersonId, Refusal};

use crate::{
    config::Config,
    door::{self, Cause, Mode, State},
    enroll::Enrollment,
    events::Events,
    gallery::Gallery,
    guard::Guard,
    hosts::Hosts,
    identify::Matcher,
    link::{Call, handlers},
    live::Liveness,
    motion::Motion,
    policy::{self, Facts, InForce, Ruling},
    swap::{Networks, Order, Prepared, Step},
    track::Tracker,
    vote::{Decision, Outcome, Vote},
};

use self::visit::Visit;
pub(crate) use self::{
    lockdown::is_on as lockdown_was_on, schedule::Hours, second::Second, visit::Visits,
};

/// The longest the loop sleeps: how late it notices a stop signal.
const NAP: Duration = Duration::from_millis(100);
/// How long the indicator shows a denial.
const DENIED_SHOWN: Duration = Duration::from_secs(2);
/// How long a face's sound is heard.
const HEARD: Duration = Duration::from_millis(600);
/// Damaged frames in a row that make a camera count as broken.
const DAMAGED_IN_A_ROW: u32 = 20;

/// What arrives in the loop's inbox.
#[derive(Debug)]
pub enum Input {
    /// A request from the link.
    Call(Box<Call>),
    /// The camera's answer; `Err` with `None` if its driver panicked.
    Capture(Result<Capture, Option<facelatch_boards::Error>>),
    /// A step of a bundle's commit.
    Swap(Box<Step>, SyncSender<Result<(), Refusal>>),
    /// What a typed PIN is.
    Pin {
        /// Number of the question.
        number: u64,
        /// The answer.
        answer: PinAnswer,
    },
    /// Stop now.
    Stop,
}

/// When the loop ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StopAfter {
    /// Never.
    #[default]
    Never,
    /// When the replay is over.
    Replay,
    /// After so many frames.
    Frames(u64),
}

/// Everything the loop owns. Dropping it, by return or by panic, drops the relay, which rests in its safe state.
pub(crate) struct Running {
    pub(crate) config: Config,
    pub(crate) board: String,
    pub(crate) data: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) relay: Guard,
    pub(crate) panel: Panel,
    pub(crate) rules: door::Rules,
    pub(crate) networks: Networks,
    pub(crate) classifier: Option<Classifier>,
    pub(crate) calibration: Option<Calibration>,
    pub(crate) policy: Option<InForce>,
    pub(crate) hours: Hours,
    pub(crate) gallery: Gallery,
    pub(crate) visits: Visits,
    pub(crate) second: Second,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) show_codes: bool,
    pub(crate) matcher: Option<Matcher>,
    pub(crate) motion: Motion,
    pub(crate) tracker: Tracker,
    pub(crate) vote: Vote,
    pub(crate) liveness: Liveness,
    pub(crate) enrollment: Enrollment,
    pub(crate) door: State,
    pub(crate) started: bool,
    pub(crate) stopping: bool,
    pub(crate) events: Events,
    pub(crate) progress: BundleProgress,
    pub(crate) offered: Option<Box<Prepared>>,
    pub(crate) updates: Updates,
    pub(crate) frames: u64,
    pub(crate) damaged: u32,
    /// When the camera was asked for the frame that it has not answered yet.
    pub(crate) camera_asked: Option<Instant>,
    pub(crate) last_fault: Option<facelatch_protocol::Fault>,
    pub(crate) label: Option<String>,
    pub(crate) ready_at: Option<Duration>,
    pub(crate) quiet_at: Option<Duration>,
    pub(crate) retry_at: Duration,
}

/// What the loop knows of the bundle in use.
pub(crate) struct Updates {
    /// The one on trial, until it has proved itself or failed.
    pub(crate) on_trial: Option<Digest>,
    /// Healthy frames it still has to judge.
    pub(crate) frames_left: Arc<AtomicU32>,
    /// Where that is told.
    pub(crate) orders: Sender<Order>,
}

/// The loop's ends: where things arrive, where frames are asked for, and when to stop.
pub(crate) struct Ends {
    pub(crate) inbox: Receiver<Input>,
    pub(crate) camera: Sender<()>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) stop_after: StopAfter,
    /// The clock moves by frames alone: never wait for it.
    pub(crate) manual_clock: bool,
}

impl Running {
    /// Runs until told to stop. The relay is in its safe state when this returns.
    pub(crate) fn run(mut self, ends: &Ends) {
        let interval = match ends.manual_clock {
            true => Duration::ZERO,
            false => Duration::from_millis(self.config.camera.frame_interval_ms),
        };
        // Frames are paced by real time: it decides nothing, and a manual clock moves only with them.
        let mut frame_due = Some(Instant::now());
        while !ends.stop.load(Ordering::SeqCst) && !self.stopping {
            if frame_due.is_some_and(|due| Instant::now() >= due) {
                frame_due = None;
                self.camera_asked = Some(Instant::now());
                if ends.camera.send(()).is_err() {
                    self.fault(Cause::Camera, "the camera's thread is gone");
                }
            }
            match ends.inbox.recv_timeout(self.nap(frame_due)) {
                Ok(Input::Call(call)) => {
                    let reply = call.reply.clone();
                    let response = handlers::device(&mut self, *call);
                    // A session that gave up waiting needs no answer.
                    let _ = reply.send(response);
                }
                Ok(Input::Capture(capture)) => {
                    let arrived = Instant::now();
                    self.camera_asked = None;
                    let pause = self.capture(capture, ends.stop_after);
                    frame_due = Some(arrived + pause.unwrap_or(interval));
                }
                Ok(Input::Swap(step, reply)) => {
                    let _ = reply.send(self.swap(*step));
                }
                Ok(Input::Pin { number, answer }) => self.pin_checked(number, answer),
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => self.stopping = true,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.tick();
        }
        self.stopping = true;
        self.step(door::Event::Stop);
        self.relay.close();
    }

    /// How long to wait for input: until the next frame or the door's next change is due.
    fn nap(&self, frame_due: Option<Instant>) -> Duration {
        let frame = frame_due.map(|due| due.saturating_duration_since(Instant::now()));
        let now = self.clock.now();
        let door = [self.door.deadline(), self.ready_at, self.quiet_at];
        let door = door.into_iter().flatten();
        door.map(|at| at.saturating_sub(now))
            .chain(frame)
            .fold(NAP, Duration::min)
    }

    /// What a camera answered; returns how long to leave it alone if it is broken.
    fn capture(
        &mut self,
        capture: Result<Capture, Option<facelatch_boards::Error>>,
        stop_after: StopAfter,
    ) -> Option<Duration> {
        let retry = Some(Duration::from_millis(self.config.camera.retry_ms));
        match capture {
            Ok(Capture::Frame(frame)) => {
                self.damaged = 0;
                self.camera_works();
                self.guarded_frame(&frame);
                self.frames += 1;
                self.stopping |= stop_after == StopAfter::Frames(self.frames);
                None
            }
            Ok(Capture::Waiting) => {
                self.camera_works();
                self.visitor(None);
                None
            }
            Ok(Capture::Ended) => {
                self.visitor(None);
                if stop_after == StopAfter::Never {
                    self.fault(Cause::Camera, "the replay is over");
                }
                self.stopping |= stop_after != StopAfter::Never;
                retry
            }
            Err(Some(error)) if error.is_one_frame() && self.damaged < DAMAGED_IN_A_ROW => {
                log::warn!("{error}");
                self.damaged += 1;
                None
            }
            Err(Some(error)) => {
                self.fault(Cause::Camera, &error.to_string());
                retry
            }
            Err(None) => {
                self.fault(Cause::Camera, "the camera's driver panicked");
                retry
            }
        }
    }

    fn camera_works(&mut self) {
        if !self.started {
            self.started = true;
            self.step(door::Event::Start);
            self.ledger_is_whole();
        }
        self.step(door::Event::Recovered(Cause::Camera));
    }

    /// A frame whose judging fails or panics is a fault of the networks; the next good frame ends it.
    fn guarded_frame(&mut self, frame: &Frame) {
        // What a panic leaves behind is a vote or a matcher of one frame; both are begun again.
        match catch_unwind(AssertUnwindSafe(|| self.frame(frame))) {
            Ok(Ok(judged)) => {
                self.step(door::Event::Recovered(Cause::Networks));
                if judged {
                    self.healthy();
                }
            }
            Ok(Err(error)) => self.failed(&error.to_string()),
            Err(_) => {
                self.matcher = None;
                self.failed("judging a frame panicked");
            }
        }
    }

    /// The networks judged a frame: a bundle on trial comes nearer to its end.
    fn healthy(&mut self) {
        let Some(digest) = self.updates.on_trial else {
            return;
        };
        let left = self.updates.frames_left.load(Ordering::SeqCst);
        let left = left.saturating_sub(1);
        self.updates.frames_left.store(left, Ordering::SeqCst);
        if left == 0 {
            self.updates.on_trial = None;
            // Without its thread nothing is confirmed: it proves itself again after the next start.
            let _ = self.updates.orders.send(Order::Proven(digest));
        }
    }

    /// The networks failed: the door is at rest, and a bundle on trial has not proved itself.
    fn failed(&mut self, why: &str) {
        self.fault(Cause::Networks, why);
        if let Some(digest) = self.updates.on_trial.take() {
            let text = why.to_owned();
            let _ = self.updates.orders.send(Order::Failed { digest, text });
        }
    }

    /// From decision to door.
    fn decided(&mut self, decision: &Decision, latency: Duration) {
        self.visited(decision, latency);
    }

    /// What holds now of somebody who was recognised, or was not.
    fn ruled(&self, decision: &Decision, visit: &Visit) -> Ruling {
        let id = match &decision.outcome {
            Outcome::Granted { person } => PersonId::parse(person).ok(),
            Outcome::Denied(_) => None,
        };
        let facts = Facts {
            enrolled: id.as_ref().is_some_and(|id| self.gallery.contains(id)),
            enrolling: self.enrollment.is_open(),
            lockdown: self.door.lockdown(),
            allowed: id.map_or(Ok(policy::FREE), |id| self.allowed(&id)),
            policy_lost: self.hours.policy_lost,
            deny_listed: self.sees_deny_listed(),
        };
        self.held_back(policy::rule(decision, facts), visit)
    }

    /// Time passed.
    fn tick(&mut self) {
        self.watched();
        let now = self.clock.now();
        // Before time locks the door: a leaf that was opened in time counts as such.
        self.inputs();
        self.keep_hours();
        if self.door.deadline().is_some_and(|until| now >= until) {
            self.step(door::Event::Tick);
        }
        if self.ready_at.is_some_and(|at| now >= at) {
            self.ready_at = None;
            if self.door.mode() != Mode::Stopped {
                self.indicate(self.door.mode().pattern());
            }
        }
        if self.quiet_at.is_some_and(|at| now >= at) {
            self.quiet_at = None;
            self.sound(self.door.sound());
        }
        self.visits_tick(now);
        self.keys(now);
        self.button();
        self.enrollment_tick();
        if now >= self.retry_at {
            self.retry_at = now + Duration::from_millis(self.config.camera.retry_ms);
            self.retry();
        }
    }
}
