//! Which bundles there are, in two copies: the newer sound one holds. Reading and writing them; what they mean is `store`'s.
//!
//! ```text
//! facelatch bundles 2
//! generation 17                          grows with every change
//! highest 5                              the highest counter ever committed
//! starts 2                               of the bundle on trial
//! trial <digest> 5 personal              or `taken`: its personal parts were taken over and are gone
//! active <digest> 4 taken
//! previous -
//! rolled-back <digest> 3 1700000000000 self-test the embeddings differ
//! crc32 0badcafe                         of all lines before
//! ```

use std::io;

use facelatch_protocol::{BundleId, Digest, RollbackReason, RolledBack, Text};

use super::{
    Error,
    disk::{Disk, read_small, replace},
};

/// The two copies, in the order they are written in.
pub(super) const NAMES: [&str; 2] = ["state", "state.copy"];
const TITLE: &str = "facelatch bundles 2";
/// More than any state takes.
const MAX_LEN: u64 = 2048;
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// Everything that is remembered about stored bundles.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    /// Grows with every change.
    pub(super) generation: u64,
    /// The highest counter ever committed; 0 before the first.
    pub(super) highest: u64,
    /// How often the bundle on trial was started.
    pub(super) starts: u32,
    pub(super) trial: Option<Stored>,
    pub(super) active: Option<Stored>,
    pub(super) previous: Option<Stored>,
    pub(super) rolled_back: Option<RolledBack>,
}

/// A bundle whose parts are all there, but for personal ones that were taken over elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) id: BundleId,
    pub(super) is_taken: bool,
}

impl State {
    /// The bundle on trial, else the active one.
    pub(super) fn in_use(&self) -> Option<Stored> {
        self.trial.or(self.active)
    }

    /// Goes back: from the trial to the active bundle, or from that to the previous one.
    pub(super) fn drop_in_use(&mut self) {
        self.starts = 0;
        if self.trial.take().is_none() {
            self.active = self.previous.take();
        }
    }

    /// The bundles it names.
    pub(super) fn stored(&self) -> impl Iterator<Item = Stored> {
        [self.trial, self.active, self.previous]
            .into_iter()
            .flatten()
    }
}

/// Reads the state, and whether both copies hold it.
///
/// # Errors
/// [`Error::StateDamaged`] if there is no sound copy though there was one once, [`Error::Storage`] if neither can be read.
pub(super) fn load(disk: &dyn Disk) -> Result<(State, bool), Error> {
    let copies = NAMES.map(|name| read_small(disk, name, MAX_LEN + 1));
    let parsed = copies.each_ref().map(|copy| match copy {
        Ok(Some(bytes)) => parse(bytes),
        Ok(None) | Err(_) => None,
    });
    let in_sync = parsed[0].is_some() && parsed[0] == parsed[1];
    let newest = match parsed {
        [Some(first), Some(second)] if second.generation > first.generation => Some(second),
        [first, second] => first.or(second),
    };
    if let Some(state) = newest {
        return Ok((state, in_sync));
    }
    let failed = Error::storage("read which bundle is in use");
    let mut is_new = true;
    for copy in copies {
        match copy {
            Ok(copy) => is_new &= copy.is_none(),
            Err(source) => return Err(failed(source)),
        }
    }
    let names = disk.list().map_err(failed)?;
    if is_new && !names.iter().any(|name| name.ends_with(".head")) {
        Ok((State::default(), false))
    } else {
        Err(Error::StateDamaged)
    }
}

/// Writes both copies, one after the other: at every moment one of them is whole.
///
/// # Errors
/// Whatever the system reports; then the old or the new state will be read.
pub(super) fn save(disk: &mut dyn Disk, state: &State) -> io::Result<()> {
    let text = text(state);
    NAMES
        .iter()
        .try_for_each(|name| replace(disk, name, text.as_bytes()))
}

fn text(state: &State) -> String {
    let stored = |stored: Option<Stored>| match stored {
        Some(Stored { id, is_taken }) => {
            let parts = if is_taken { "taken" } else { "personal" };
            format!("{} {} {parts}", id.digest, id.counter)
        }
        None => "-".to_owned(),
    };
    let rolled_back = state.rolled_back.as_ref().map(|rolled_back| {
        let RolledBack {
            id,
            unix_ms,
            reason,
            text,
        } = rolled_back;
        let (digest, counter) = (id.digest, id.counter);
        format!("{digest} {counter} {unix_ms} {reason} {text}")
    });
    let body = format!(
        "{TITLE}\ngeneration {}\nhighest {}\nstarts {}\ntrial {}\nactive {}\nprevious {}\nrolled-back {}\n",
        state.generation,
        state.highest,
        state.starts,
        stored(state.trial),
        stored(state.active),
        stored(state.previous),
        rolled_back.as_deref().unwrap_or("-"),
    );
    let crc = CRC.checksum(body.as_bytes());
    format!("{body}crc32 {crc:08x}\n")
}

/// Reads a copy; `None` if it is not exactly what [`text`] writes.
fn parse(bytes: &[u8]) -> Option<State> {
    let whole = std::str::from_utf8(bytes).ok()?;
    let mut lines = whole.split('\n').skip(1);
    let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix(' ');
    let state = State {
        generation: value("generation")?.parse().ok()?,
        highest: value("highest")?.parse().ok()?,
        starts: value("starts")?.parse().ok()?,
        trial: stored(value("trial")?)?,
        active: stored(value("active")?)?,
        previous: stored(value("previous")?)?,
        rolled_back: rolled_back(value("rolled-back")?)?,
    };
    // Title, checksum and every letter: there is one way to write a state.
    (text(&state) == whole).then_some(state)
}

fn stored(value: &str) -> Option<Option<Stored>> {
    if value == "-" {
        return Some(None);
    }
    let mut words = value.split(' ');
    let id = id(&mut words)?;
    let is_taken = words.next()? == "taken";
    Some(Some(Stored { id, is_taken }))
}

fn rolled_back(value: &str) -> Option<Option<RolledBack>> {
    if value == "-" {
        return Some(None);
    }
    let mut words = value.splitn(5, ' ');
    let id = id(&mut words)?;
    let unix_ms = words.next()?.parse().ok()?;
    let word = words.next()?;
    let reason = [
        RollbackReason::SelfTest,
        RollbackReason::Networks,
        RollbackReason::Gallery,
        RollbackReason::Unproven,
    ]
    .into_iter()
    .find(|reason| reason.as_str() == word)?;
    Some(Some(RolledBack {
        id,
        unix_ms,
        reason,
        text: Text::cut(words.next()?),
    }))
}

fn id<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<BundleId> {
    Some(BundleId {
        digest: Digest::parse(words.next()?)?,
        counter: words.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(byte: u8, is_taken: bool) -> Option<Stored> {
        let id = BundleId {
            digest: Digest([byte; 32]),
            counter: u64::MAX - u64::from(byte),
        };
        Some(Stored { id, is_taken })
    }

    fn full(reason: RollbackReason, text: &str) -> State {
        State {
            generation: u64::MAX,
            highest: u64::MAX,
            starts: u32::MAX,
            trial: stored(0xab, false),
            active: stored(1, true),
            previous: stored(2, true),
            rolled_back: Some(RolledBack {
                id: stored(3, true).unwrap().id,
                unix_ms: u64::MAX,
                reason,
                text: Text::cut(text),
            }),
        }
    }

    #[test]
    fn what_is_written_is_read_and_short_enough() {
        let long = "ä".repeat(48);
        let states = [
            State::default(),
            full(RollbackReason::SelfTest, ""),
            full(RollbackReason::Networks, " a  b "),
            full(RollbackReason::Gallery, "two\nlines"),
            full(RollbackReason::Unproven, &long),
        ];
        for state in states {
            let text = text(&state);
            assert!(text.len() as u64 <= MAX_LEN, "{} bytes", text.len());
            assert_eq!(parse(text.as_bytes()), Some(state), "{text}");
        }
    }

    #[test]
    fn any_cut_or_changed_state_is_noticed() {
        let whole = text(&full(RollbackReason::SelfTest, "crop 3 differs")).into_bytes();
        for at in 0..whole.len() {
            assert_eq!(parse(&whole[..at]), None, "{at} bytes");
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(parse(&changed), None, "byte {at}, bit {bit}");
            }
        }
        assert_eq!(parse(&[&whole[..], b"\n"].concat()), None);
    }
}
