//! Outputs that blink: a thread holds the lines and toggles them, since GPIO lines have no clock of their own.
//!
//! The thread sleeps unless something blinks. Dropping the [`Blinker`] ends it with everything off.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Output, lights::Light};

/// Some lines, and what each of them does.
pub(super) struct Blinker {
    wanted: Option<Sender<Vec<Light>>>,
    failed: Receiver<String>,
    thread: Option<JoinHandle<()>>,
}

impl Blinker {
    /// Takes over lines that are off.
    pub(super) fn start(mut lines: Vec<Box<dyn Output>>) -> Result<Blinker, String> {
        let (wanted, lights) = channel();
        let (failures, failed) = channel();
        let thread = thread::Builder::new()
            .name("lights".to_owned())
            .spawn(move || {
                if let Err(problem) = blink(&mut lines, &lights) {
                    // Nobody asks any more: nobody needs to know.
                    let _ = failures.send(problem);
                }
            })
            .map_err(|e| e.to_string())?;
        Ok(Blinker {
            wanted: Some(wanted),
            failed,
            thread: Some(thread),
        })
    }

    /// One light a line, in the order of [`Blinker::start`].
    pub(super) fn show(&self, lights: Vec<Light>) -> Result<(), String> {
        if let Ok(problem) = self.failed.try_recv() {
            return Err(problem);
        }
        let sent = self.wanted.as_ref().map(|wanted| wanted.send(lights));
        match sent {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err("its thread is gone".to_owned()),
        }
    }
}

impl Drop for Blinker {
    fn drop(&mut self) {
        self.wanted = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the lights' thread had panicked");
        }
    }
}

/// Until nobody wants anything any more; then all is off.
fn blink(lines: &mut [Box<dyn Output>], wanted: &Receiver<Vec<Light>>) -> Result<(), String> {
    let mut lights = vec![Light::Off; lines.len()];
    let mut began = Instant::now();
    loop {
        let since = began.elapsed();
        for (line, light) in lines.iter_mut().zip(&lights) {
            line.set(light.is_on(since))?;
        }
        let next = lights.iter().filter_map(|light| light.next_change(since));
        let news = match next.min() {
            Some(at) => wanted.recv_timeout(at.saturating_sub(began.elapsed())),
            None => wanted.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match news {
            Ok(new) => {
                lights = new;
                began = Instant::now();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    lines.iter_mut().try_for_each(|line| line.set(false))
}

impl Light {
    /// Whether it is lit so long after it began.
    fn is_on(self, since: Duration) -> bool {
        match self {
            Light::Off => false,
            Light::On => true,
            Light::Blink(period) => since.as_nanos() % period.as_nanos() < period.as_nanos() / 2,
        }
    }

    /// When it changes next, since it began.
    fn next_change(self, since: Duration) -> Option<Duration> {
        let Light::Blink(period) = self else {
            return None;
        };
        let half = period / 2;
        let halves = since.as_nanos() / half.as_nanos();
        // Wraps after centuries.
        Some(half.saturating_mul(u32::try_from(halves + 1).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blinking_light_is_on_for_the_first_half_of_each_period() {
        let ms = Duration::from_millis;
        let light = Light::Blink(ms(200));
        let moments = [
            (0, true, 100),
            (99, true, 100),
            (100, false, 200),
            (199, false, 200),
            (200, true, 300),
            (1_050, true, 1_100),
        ];
        for (since, on, next) in moments {
            assert_eq!(light.is_on(ms(since)), on, "{since} ms");
            assert_eq!(light.next_change(ms(since)), Some(ms(next)), "{since} ms");
        }
        assert!(Light::On.is_on(ms(5)) && !Light::Off.is_on(ms(5)));
        assert_eq!(Light::On.next_change(ms(5)), None);
    }
}
