//! How a pattern looks on a green and a red light. Pure: `pi/panel.rs` drives the lines.

use std::time::Duration;

use crate::Pattern;

/// What one light does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Light {
    Off,
    On,
    /// Half the period on, half off.
    Blink(Duration),
}

const SLOW: Light = Light::Blink(Duration::from_millis(1_000));
const FAST: Light = Light::Blink(Duration::from_millis(200));

/// Green and red for a pattern. Green alone and steady means one thing only: come in.
pub(crate) fn lights(pattern: Pattern) -> (Light, Light) {
    match pattern {
        Pattern::Starting => (SLOW, SLOW),
        Pattern::Ready => (Light::Off, Light::On),
        Pattern::Looking => (Light::Off, SLOW),
        Pattern::Granted => (Light::On, Light::Off),
        Pattern::Denied => (Light::Off, FAST),
        Pattern::Enrolling => (SLOW, Light::Off),
        Pattern::Fault => (FAST, FAST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_patterns_look_alike() {
        let all = [
            Pattern::Starting,
            Pattern::Ready,
            Pattern::Looking,
            Pattern::Granted,
            Pattern::Denied,
            Pattern::Enrolling,
            Pattern::Fault,
        ];
        for (i, a) in all.iter().enumerate() {
            for b in &all[..i] {
                assert_ne!(lights(*a), lights(*b), "{a:?} and {b:?}");
            }
        }
    }
}
