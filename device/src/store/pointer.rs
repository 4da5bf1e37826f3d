//! The text of the pointer file: which bundle is active, and which one to go back to.
//!
//! ```text
//! facelatch bundles 1
//! active 1f0e...
//! previous -
//! ```

use facelatch_protocol::{BundleId, Digest};

const TITLE: &str = "facelatch bundles 1";

/// The pointer file's text.
pub(super) fn text(active: Option<BundleId>, previous: Option<BundleId>) -> String {
    let digest = |id: Option<BundleId>| id.map_or("-".to_owned(), |id| id.digest.to_string());
    format!(
        "{TITLE}\nactive {}\nprevious {}\n",
        digest(active),
        digest(previous)
    )
}

/// Active and previous bundle.
pub(super) type Pointer = (Option<Digest>, Option<Digest>);

/// Reads the pointer file; `None` if it is damaged.
pub(super) fn parse(text: &[u8]) -> Option<Pointer> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('\n')?;
    let mut lines = text.split('\n');
    let digest = |line: &str, key: &str| match line.strip_prefix(key)? {
        "-" => Some(None),
        digits => Digest::parse(digits).map(Some),
    };
    if lines.next()? != TITLE {
        return None;
    }
    let active = digest(lines.next()?, "active ")?;
    let previous = digest(lines.next()?, "previous ")?;
    lines.next().is_none().then_some((active, previous))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> Option<BundleId> {
        Some(BundleId {
            digest: Digest([byte; 32]),
            counter: 7,
        })
    }

    #[test]
    fn what_is_written_is_read() {
        for (active, previous) in [(None, None), (id(1), None), (id(1), id(2))] {
            let want = (active.map(|id| id.digest), previous.map(|id| id.digest));
            assert_eq!(parse(text(active, previous).as_bytes()), Some(want));
        }
    }

    #[test]
    fn any_cut_or_changed_pointer_is_noticed() {
        let whole = text(id(0xab), id(2));
        for len in 0..whole.len() {
            assert_eq!(parse(&whole.as_bytes()[..len]), None, "{len} bytes");
        }
        let strange = [
            whole.replace("bundles 1", "bundles 2"),
            whole.replace("previous", "former"),
            whole.replace("ab", "gg"),
            format!("{whole}more\n"),
        ];
        for text in strange {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
