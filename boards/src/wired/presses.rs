//! Edges of a button's line to presses. Pure: `panel.rs` brings the edges.

use std::time::Duration;

use crate::Press;

/// Remembers when the button went down.
#[derive(Debug, Default)]
pub(super) struct Presses {
    down_at: Option<Duration>,
}

impl Presses {
    /// One edge; a press when it ends one. Two edges of the same kind mean that the one between was lost: a second
    /// "down" starts anew, a lone "up" is nothing.
    pub(super) fn edge(&mut self, down: bool, at: Duration) -> Option<Press> {
        if down {
            self.down_at = Some(at);
            return None;
        }
        let down_at = self.down_at.take()?;
        Some(Press {
            held: at.saturating_sub(down_at),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_press_is_a_down_and_the_next_up() {
        let ms = Duration::from_millis;
        let edges = [
            (false, 5, None),
            (true, 10, None),
            (false, 250, Some(240)),
            (false, 260, None),
            (true, 300, None),
            (true, 400, None),
            (false, 450, Some(50)),
        ];
        let mut presses = Presses::default();
        for (down, at, want) in edges {
            let got = presses.edge(down, ms(at)).map(|p| p.held);
            assert_eq!(got, want.map(ms), "edge at {at} ms");
        }
    }
}
