//! The bounded way of events from the loop to one listening session: never blocks the loop, and says what was missed.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use facelatch_protocol::{Event, EventKind};

/// Events a listener may lag behind before it misses some.
const CAPACITY: usize = 256;

/// Takes events for one listener.
#[derive(Debug)]
pub struct EventSink {
    sender: SyncSender<Event>,
    missed: u64,
}

impl EventSink {
    pub(super) fn new() -> (EventSink, Receiver<Event>) {
        let (sender, receiver) = sync_channel(CAPACITY);
        (EventSink { sender, missed: 0 }, receiver)
    }

    /// Hands over an event, or counts it as missed if the listener is too slow; never blocks.
    ///
    /// False when the listener is gone: drop the sink then.
    #[must_use]
    pub fn send(&mut self, event: &Event) -> bool {
        if self.missed > 0 {
            let gap = Event {
                kind: EventKind::Missed { count: self.missed },
                ..event.clone()
            };
            match self.sender.try_send(gap) {
                Ok(()) => self.missed = 0,
                Err(TrySendError::Full(_)) => {
                    self.missed += 1;
                    return true;
                }
                Err(TrySendError::Disconnected(_)) => return false,
            }
        }
        match self.sender.try_send(event.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.missed += 1;
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use facelatch_protocol::DoorState;

    use super::*;

    fn event(seq: u64) -> Event {
        Event {
            seq,
            unix_ms: seq,
            kind: EventKind::Door(DoorState::Locked),
        }
    }

    #[test]
    fn a_slow_listener_is_told_how_many_it_missed() {
        let (mut sink, receiver) = EventSink::new();
        let full = CAPACITY as u64;
        for seq in 1..=full + 3 {
            assert!(sink.send(&event(seq)));
        }
        let kept: Vec<_> = receiver.try_iter().map(|event| event.seq).collect();
        assert_eq!(kept, (1..=full).collect::<Vec<_>>());

        assert!(sink.send(&event(full + 4)));
        let gap = receiver.try_recv().unwrap();
        assert_eq!(
            (gap.seq, gap.kind),
            (full + 4, EventKind::Missed { count: 3 })
        );
        assert_eq!(receiver.try_recv().unwrap(), event(full + 4));
    }

    #[test]
    fn a_gone_listener_is_noticed() {
        let (mut sink, receiver) = EventSink::new();
        assert!(sink.send(&event(1)));
        drop(receiver);
        assert!(!sink.send(&event(2)));
    }
}
