//! Asking whoever stands at the door for something: by event, light and buzzer.
//!
//! What is asked, and when, is decided elsewhere: `live`, `enroll`, `second`.

use facelatch_boards::{Pattern, Sound};
use facelatch_protocol::{EventKind, Prompt};

use super::{HEARD, Running};
use crate::audit::What;

impl Running {
    /// Asks for something, until something else is shown. False if it could not be put on record; then nothing is asked.
    pub(super) fn ask(&mut self, prompt: Prompt) -> bool {
        if !self.record(What::Event(EventKind::Prompt(prompt))) {
            return false;
        }
        // A denial that is still shown gives way.
        self.ready_at = None;
        self.show(pattern(prompt));
        let sound = sound(prompt);
        if sound != Sound::Silent {
            self.sound_shortly(sound);
        }
        true
    }

    /// A short sound, never over an alarm.
    pub(super) fn sound_shortly(&mut self, sound: Sound) {
        if self.door.sound() == Sound::Silent {
            self.quiet_at = Some(self.clock.now() + HEARD);
            self.sound(sound);
        }
    }
}

/// What the indicator shows for a prompt.
pub(super) fn pattern(prompt: Prompt) -> Pattern {
    match prompt {
        Prompt::LookStraight => Pattern::LookStraight,
        Prompt::TurnLeft => Pattern::TurnLeft,
        Prompt::TurnRight => Pattern::TurnRight,
        Prompt::LookUp => Pattern::LookUp,
        Prompt::LookDown => Pattern::LookDown,
        Prompt::ShowAdmin => Pattern::ShowAdmin,
        Prompt::EnterPin => Pattern::EnterPin,
        // No light says these: events do.
        Prompt::ComeNearer | Prompt::HoldStill => Pattern::Looking,
    }
}

fn sound(prompt: Prompt) -> Sound {
    match prompt {
        Prompt::TurnLeft => Sound::TurnLeft,
        Prompt::TurnRight => Sound::TurnRight,
        Prompt::LookStraight
        | Prompt::LookUp
        | Prompt::LookDown
        | Prompt::ComeNearer
        | Prompt::HoldStill
        | Prompt::ShowAdmin
        | Prompt::EnterPin => Sound::Silent,
    }
}
