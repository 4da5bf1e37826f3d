//! A relay that writes down what it did instead of moving a coil, and fails when told to.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::strikes::{Part, Strikes};
use crate::{Clock, Error, Latch, Relay, RelayFacts};

/// One change of the relay, or its state when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// When, on the board's monotonic clock.
    pub at: Duration,
    /// When, in wall time.
    pub unix_ms: u64,
    /// Whether the coil is energised from now on.
    pub on: bool,
    /// What the latch does from now on.
    pub latch: Latch,
}

impl Edge {
    /// `{"at_ms":1200,"unix_ms":1767225600000,"relay":"on","latch":"unlocked"}`.
    pub fn to_json(&self) -> String {
        format!(
            "{{\"at_ms\":{},\"unix_ms\":{},\"relay\":\"{}\",\"latch\":\"{}\"}}",
            self.at.as_millis(),
            self.unix_ms,
            if self.on { "on" } else { "off" },
            self.latch
        )
    }
}

/// What the relay did, oldest first; the first edge is the state at opening. Clones are the same timeline.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    edges: Arc<Mutex<Vec<Edge>>>,
    witness: Arc<Mutex<Option<Witness>>>,
}

struct Witness(Box<dyn FnMut(&Edge) + Send>);

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a witness")
    }
}

impl Timeline {
    /// All edges so far.
    pub fn edges(&self) -> Vec<Edge> {
        self.lock().clone()
    }

    /// Whether the coil is energised now.
    pub fn is_on(&self) -> bool {
        self.lock().last().is_some_and(|edge| edge.on)
    }

    /// Writes all edges so far to a file, one JSON object a line.
    ///
    /// # Errors
    ///
    /// [`Error::Record`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let mut text = String::new();
        for edge in self.edges() {
            text.push_str(&edge.to_json());
            text.push('\n');
        }
        std::fs::write(path, text).map_err(|source| Error::Record {
            path: path.to_path_buf(),
            source,
        })
    }

    /// Shows every edge from now on to `witness`, while whoever moves the relay waits: what else is true at that moment, such
    /// as what is on disk, it can see for itself.
    pub fn witnessed_by(&self, witness: impl FnMut(&Edge) + Send + 'static) {
        *self.witness() = Some(Witness(Box::new(witness)));
    }

    fn push(&self, edge: Edge) {
        self.lock().push(edge);
        if let Some(Witness(witness)) = &mut *self.witness() {
            witness(&edge);
        }
    }

    fn witness(&self) -> MutexGuard<'_, Option<Witness>> {
        // A witness that panicked is still one.
        self.witness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Edge>> {
        // Edges are pushed whole, so a poisoned list is still a true list.
        self.edges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The relay of a simulated board.
pub(crate) struct RecordedRelay {
    facts: RelayFacts,
    latch: Latch,
    moves: u64,
    fails_at: Option<u64>,
    strikes: Strikes,
    clock: Arc<dyn Clock>,
    timeline: Timeline,
    record: Option<(PathBuf, File)>,
}

impl RecordedRelay {
    pub(crate) fn open(
        facts: RelayFacts,
        fails_at: Option<u64>,
        strikes: Strikes,
        clock: Arc<dyn Clock>,
        record: Option<&Path>,
    ) -> Result<(RecordedRelay, Timeline), Error> {
        let record = match record {
            Some(path) => {
                let file = OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)
                    .map_err(|source| Error::Record {
                        path: path.to_path_buf(),
                        source,
                    })?;
                Some((path.to_path_buf(), file))
            }
            None => None,
        };
        let timeline = Timeline::default();
        let mut relay = RecordedRelay {
            latch: facts.safe,
            facts,
            moves: 0,
            fails_at,
            strikes,
            clock,
            timeline: timeline.clone(),
            record,
        };
        relay.note();
        Ok((relay, timeline))
    }

    /// Records the present state. A record that cannot be written must not keep a door from moving: it is logged.
    fn note(&mut self) {
        let edge = Edge {
            at: self.clock.now(),
            unix_ms: self.clock.unix_ms(),
            on: self.latch.energised(self.facts.safe),
            latch: self.latch,
        };
        self.timeline.push(edge);
        if let Some((path, file)) = &mut self.record
            && let Err(e) = writeln!(file, "{}", edge.to_json())
        {
            log::error!(
                "cannot write {}: {e}; the relay's record ends here",
                path.display()
            );
            self.record = None;
        }
    }

    fn fails(&mut self, problem: String) -> Error {
        self.turn(self.facts.safe);
        Error::RelayFailed {
            line: self.facts.line,
            problem,
        }
    }

    fn turn(&mut self, latch: Latch) {
        if self.latch != latch {
            self.latch = latch;
            self.note();
        }
    }
}

impl Relay for RecordedRelay {
    fn set(&mut self, latch: Latch) -> Result<(), Error> {
        let this = self.moves;
        self.moves += 1;
        if self.fails_at.is_some_and(|n| this >= n) {
            return Err(self.fails(format!("injected fault at move {this}")));
        }
        if self.strikes.meet(Part::Relay).is_some() {
            return Err(self.fails("injected fault before the move".to_string()));
        }
        self.turn(latch);
        if self.strikes.meet(Part::Relay).is_some() {
            return Err(self.fails("injected fault after the move".to_string()));
        }
        Ok(())
    }

    fn latch(&self) -> Latch {
        self.latch
    }

    fn safe(&self) -> Latch {
        self.facts.safe
    }
}

impl Drop for RecordedRelay {
    fn drop(&mut self) {
        self.turn(self.facts.safe);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::ManualClock;
    use crate::{Level, RelayDriver, relay::contract};

    fn facts(safe: Latch) -> RelayFacts {
        RelayFacts {
            driver: RelayDriver::Recorded,
            line: 17,
            active: Level::High,
            safe,
        }
    }

    fn none() -> Strikes {
        Strikes::default()
    }

    #[test]
    fn keeps_the_contract_fail_secure_and_fail_safe() {
        for safe in [Latch::Locked, Latch::Unlocked] {
            let clock = Arc::new(ManualClock::starting_at(0));
            let (mut relay, timeline) = RecordedRelay::open(facts(safe), None, none(), clock, None)
                .expect("nothing to open");
            contract::holds(&mut relay, &|| timeline.is_on());
        }
    }

    #[test]
    fn records_changes_with_their_times_and_rests_when_dropped() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let record = dir.path().join("relay.jsonl");
        let clock = ManualClock::starting_at(1_000);
        let (mut relay, timeline) = RecordedRelay::open(
            facts(Latch::Locked),
            None,
            none(),
            Arc::new(clock.clone()),
            Some(&record),
        )
        .expect("a new file");
        clock.advance(Duration::from_millis(500));
        relay.set(Latch::Unlocked).expect("healthy");
        relay.set(Latch::Unlocked).expect("healthy");
        clock.advance(Duration::from_millis(3_000));
        drop(relay);
        let want = "{\"at_ms\":0,\"unix_ms\":1000,\"relay\":\"off\",\"latch\":\"locked\"}\n\
                    {\"at_ms\":500,\"unix_ms\":1500,\"relay\":\"on\",\"latch\":\"unlocked\"}\n\
                    {\"at_ms\":3500,\"unix_ms\":4500,\"relay\":\"off\",\"latch\":\"locked\"}\n";
        assert_eq!(
            std::fs::read_to_string(&record).expect("written as it happened"),
            want
        );
        let copy = dir.path().join("copy.jsonl");
        timeline.write(&copy).expect("a new file");
        assert_eq!(
            std::fs::read_to_string(&copy).expect("written at once"),
            want
        );
    }

    #[test]
    fn an_injected_fault_leaves_the_coil_at_rest() {
        let clock = Arc::new(ManualClock::starting_at(0));
        let (mut relay, timeline) =
            RecordedRelay::open(facts(Latch::Locked), Some(1), none(), clock, None)
                .expect("nothing to open");
        relay.set(Latch::Unlocked).expect("the first move works");
        assert!(timeline.is_on());
        for _ in 0..2 {
            let message = relay
                .set(Latch::Unlocked)
                .expect_err("injected")
                .to_string();
            assert!(message.contains("line 17"), "{message}");
            assert!(!timeline.is_on());
            assert_eq!(relay.latch(), Latch::Locked);
        }
    }
}
