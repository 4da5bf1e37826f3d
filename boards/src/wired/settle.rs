//! Levels and edges of a contact's line to changes worth telling. Pure: `panel.rs` brings both.

use std::time::Duration;

/// What was told of a contact, and a level that does not agree with it yet.
#[derive(Debug)]
pub(super) struct Settle {
    debounce: Duration,
    told: Option<bool>,
    other_since: Option<Duration>,
}

impl Settle {
    pub(super) fn new(debounce: Duration) -> Settle {
        Settle {
            debounce,
            told: None,
            other_since: None,
        }
    }

    /// A debounced edge: told at once if it is news.
    pub(super) fn edge(&mut self, on: bool) -> Option<bool> {
        self.other_since = None;
        (self.told.replace(on) != Some(on)).then_some(on)
    }

    /// The level as it is read now: told if it has been another than the one told for as long as bounce lasts, which heals a
    /// lost edge. The first one is told at once.
    pub(super) fn level(&mut self, on: bool, now: Duration) -> Option<bool> {
        match self.told {
            None => self.edge(on),
            Some(told) if told == on => {
                self.other_since = None;
                None
            }
            Some(_) => {
                let since = *self.other_since.get_or_insert(now);
                match now.saturating_sub(since) >= self.debounce {
                    true => self.edge(on),
                    false => None,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_told_when_it_stays_and_an_edge_at_once() {
        let ms = Duration::from_millis;
        let mut settle = Settle::new(ms(50));
        let levels = [
            (false, 0, Some(false)),
            (true, 10, None),
            (false, 20, None),
            (true, 30, None),
            (true, 79, None),
            (true, 80, Some(true)),
            (true, 200, None),
            (false, 210, None),
        ];
        for (on, at, want) in levels {
            assert_eq!(settle.level(on, ms(at)), want, "level at {at} ms");
        }
        assert_eq!(settle.edge(false), Some(false));
        assert_eq!(settle.edge(false), None);
        assert_eq!(settle.edge(true), Some(true));
        assert_eq!(settle.level(true, ms(300)), None);
    }
}
