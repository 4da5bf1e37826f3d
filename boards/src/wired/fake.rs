//! Lines that are made up, for tests: levels as on a chip, one holder each, and what a line was driven to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::{After, Edge, Input, Lines, Output};
use crate::{Level, Pull};

/// A chip; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Chip(Arc<Mutex<BTreeMap<u32, Line>>>);

#[derive(Default)]
struct Line {
    is_held: bool,
    is_kept: bool,
    /// What it was driven to.
    driven: Vec<Level>,
    /// What it reads whatever drives it.
    shorted: Option<Level>,
    /// What an input reads, and its edges.
    seen: Option<Level>,
    edges: VecDeque<(Level, Duration)>,
    /// Pulled low through its open drain.
    is_drained: bool,
    /// The most lines that were pulled low when this one was.
    drained_with: usize,
    /// By keys that are down.
    connected: BTreeSet<u32>,
    is_broken: bool,
    reads: u64,
}

impl Line {
    fn level(&self) -> Level {
        let driven = self.shorted.or(self.seen).or(self.driven.last().copied());
        driven.unwrap_or(Level::Low)
    }
}

impl Chip {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<u32, Line>> {
        self.0.lock().expect("no test panics while it looks")
    }

    fn with<T>(&self, line: u32, with: impl FnOnce(&mut Line) -> T) -> T {
        with(self.lines().entry(line).or_default())
    }

    /// Low if anything that it is connected to is pulled low.
    pub(crate) fn level(&self, line: u32) -> Level {
        let mut lines = self.lines();
        let (mut net, mut reached) = (BTreeSet::new(), vec![line]);
        while let Some(line) = reached.pop() {
            if net.insert(line) {
                reached.extend(&lines.entry(line).or_default().connected);
            }
        }
        match net.iter().any(|line| lines[line].is_drained) {
            true => Level::Low,
            false => lines[&line].level(),
        }
    }

    /// A key goes down.
    pub(crate) fn connect(&self, row: u32, column: u32) {
        self.with(row, |line| line.connected.insert(column));
        self.with(column, |line| line.connected.insert(row));
    }

    /// It comes up.
    pub(crate) fn part(&self, row: u32, column: u32) {
        self.with(row, |line| line.connected.remove(&column));
        self.with(column, |line| line.connected.remove(&row));
    }

    /// How many lines have been pulled low at once.
    pub(crate) fn most_drained(&self) -> usize {
        let lines = self.lines();
        lines
            .values()
            .map(|line| line.drained_with)
            .max()
            .unwrap_or(0)
    }

    /// The line cannot be moved any more, and tells no edge.
    pub(crate) fn break_off(&self, line: u32) {
        self.with(line, |line| line.is_broken = true);
    }

    /// It is had again.
    pub(crate) fn mend(&self, line: u32) {
        self.with(line, |line| line.is_broken = false);
    }

    /// Waits until an input has been read that much more often.
    pub(crate) fn wait_for_reads(&self, line: u32, more: u64) {
        let reads = || self.with(line, |line| line.reads);
        let enough = reads() + more;
        while reads() < enough {
            std::thread::yield_now();
        }
    }

    pub(crate) fn history(&self, line: u32) -> Vec<Level> {
        self.with(line, |line| line.driven.clone())
    }

    pub(crate) fn kept(&self) -> Vec<u32> {
        let lines = self.lines();
        lines
            .iter()
            .filter(|(_, line)| line.is_kept)
            .map(|(number, _)| *number)
            .collect()
    }

    pub(crate) fn short(&self, line: u32, level: Level) {
        self.with(line, |line| line.shorted = Some(level));
    }

    /// Somebody outside moves an input.
    pub(crate) fn drive(&self, line: u32, level: Level, at: Duration) {
        self.with(line, |line| {
            line.seen = Some(level);
            line.edges.push_back((level, at));
        });
    }

    fn claim(&self, line: u32) -> Result<(), String> {
        match self.with(line, |line| std::mem::replace(&mut line.is_held, true)) {
            true => Err("it is held by another".to_string()),
            false => Ok(()),
        }
    }
}

struct Held {
    chip: Chip,
    line: u32,
    active: Level,
    after: After,
}

/// A line with an open drain.
struct Drain {
    chip: Chip,
    line: u32,
}

impl Output for Drain {
    fn set(&mut self, on: bool) -> Result<(), String> {
        let mut lines = self.chip.lines();
        let this = lines.entry(self.line).or_default();
        if this.is_broken {
            return Err(format!("line {} is gone", self.line));
        }
        this.is_drained = on;
        let drained = lines.values().filter(|line| line.is_drained).count();
        let this = lines.entry(self.line).or_default();
        this.drained_with = this.drained_with.max(drained);
        Ok(())
    }

    fn is_on(&mut self) -> Result<bool, String> {
        Ok(self.chip.level(self.line) == Level::Low)
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.chip.with(self.line, |line| {
            line.is_held = false;
            line.is_drained = false;
        });
    }
}

impl Lines for Chip {
    fn output(&self, line: u32, active: Level, after: After) -> Result<Box<dyn Output>, String> {
        self.claim(line)?;
        let mut held = Held {
            chip: self.clone(),
            line,
            active,
            after,
        };
        held.set(false)?;
        Ok(Box::new(held))
    }

    fn drain(&self, line: u32) -> Result<Box<dyn Output>, String> {
        self.claim(line)?;
        Ok(Box::new(Drain {
            chip: self.clone(),
            line,
        }))
    }

    fn input(
        &self,
        line: u32,
        active: Level,
        pull: Pull,
        _: Option<Duration>,
    ) -> Result<Box<dyn Input>, String> {
        self.claim(line)?;
        self.with(line, |line| {
            line.seen.get_or_insert(match pull {
                Pull::Up => Level::High,
                Pull::Down | Pull::Off => Level::Low,
            });
        });
        Ok(Box::new(Held {
            chip: self.clone(),
            line,
            active,
            after: After::Free,
        }))
    }
}

impl Output for Held {
    fn set(&mut self, on: bool) -> Result<(), String> {
        let level = match on {
            true => self.active,
            false => self.active.opposite(),
        };
        self.chip.with(self.line, |line| line.driven.push(level));
        Ok(())
    }

    fn is_on(&mut self) -> Result<bool, String> {
        Ok(self.chip.level(self.line) == self.active)
    }
}

impl Input for Held {
    fn edge(&mut self) -> Result<Option<Edge>, String> {
        let edge = self.chip.with(self.line, |line| match line.is_broken {
            true => Err(format!("line {} is gone", self.line)),
            false => Ok(line.edges.pop_front()),
        })?;
        Ok(edge.map(|(level, at)| Edge {
            active: level == self.active,
            at,
        }))
    }

    fn is_active(&mut self) -> Result<bool, String> {
        self.chip.with(self.line, |line| line.reads += 1);
        Ok(self.chip.level(self.line) == self.active)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.chip.with(self.line, |line| {
            line.is_held = false;
            line.is_kept = self.after == After::Kept;
        });
    }
}
