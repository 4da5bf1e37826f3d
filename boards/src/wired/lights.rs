//! How a pattern looks on a green and a red light, and a sound on a buzzer. Pure: `panel.rs` drives the lines.

use std::time::Duration;

use crate::{Pattern, Sound};

/// What one light, or the buzzer, does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Light {
    Off,
    On,
    /// Half the period on, half off.
    Blink(Duration),
}

const SLOW: Light = Light::Blink(Duration::from_millis(1_000));
const MEDIUM: Light = Light::Blink(Duration::from_millis(500));
const FAST: Light = Light::Blink(Duration::from_millis(200));

/// Green and red for a pattern. Green alone and steady means one thing only: come in.
pub(super) fn lights(pattern: Pattern) -> (Light, Light) {
    match pattern {
        Pattern::Starting => (SLOW, SLOW),
        Pattern::Ready => (Light::Off, Light::On),
        Pattern::Looking => (Light::Off, SLOW),
        Pattern::Granted => (Light::On, Light::Off),
        Pattern::Denied => (Light::Off, FAST),
        Pattern::Enrolling => (SLOW, Light::Off),
        Pattern::Fault => (FAST, FAST),
        Pattern::LockedDown => (SLOW, Light::On),
        Pattern::Alarm => (FAST, Light::On),
        Pattern::LookStraight => (FAST, Light::Off),
        Pattern::TurnLeft => (MEDIUM, Light::Off),
        Pattern::TurnRight => (Light::Off, MEDIUM),
        Pattern::LookUp => (MEDIUM, Light::On),
        Pattern::LookDown => (MEDIUM, SLOW),
        Pattern::ShowAdmin => (SLOW, FAST),
        Pattern::EnterPin => (FAST, SLOW),
        Pattern::LockedOut => (MEDIUM, MEDIUM),
    }
}

/// The buzzer for a sound.
pub(super) fn buzzer(sound: Sound) -> Light {
    match sound {
        Sound::Silent => Light::Off,
        Sound::Granted => Light::On,
        Sound::Denied => FAST,
        Sound::CloseDoor => SLOW,
        Sound::Alarm => Light::Blink(Duration::from_millis(500)),
        // Heard for 600 ms: once for left, twice for right.
        Sound::TurnLeft => Light::Blink(Duration::from_millis(800)),
        Sound::TurnRight => Light::Blink(Duration::from_millis(400)),
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
            Pattern::LockedDown,
            Pattern::Alarm,
            Pattern::LookStraight,
            Pattern::TurnLeft,
            Pattern::TurnRight,
            Pattern::LookUp,
            Pattern::LookDown,
            Pattern::ShowAdmin,
            Pattern::EnterPin,
            Pattern::LockedOut,
        ];
        for (i, a) in all.iter().enumerate() {
            for b in &all[..i] {
                assert_ne!(lights(*a), lights(*b), "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn no_two_sounds_sound_alike() {
        let all = [
            Sound::Silent,
            Sound::Granted,
            Sound::Denied,
            Sound::CloseDoor,
            Sound::Alarm,
            Sound::TurnLeft,
            Sound::TurnRight,
        ];
        for (i, a) in all.iter().enumerate() {
            for b in &all[..i] {
                assert_ne!(buzzer(*a), buzzer(*b), "{a:?} and {b:?}");
            }
        }
    }
}
