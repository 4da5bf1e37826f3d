//! The known name nearest to a mistyped one, for messages that say "did you mean".
//!
//! Used for board names and for the keys of board and replay files.

/// The candidate with the fewest edits (insert, delete, change, swap of neighbours) from `asked`, if it is near enough
/// to be meant: at most a third of its length, and at least one edit is always allowed.
pub fn nearest<'a>(asked: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (edits(asked, name), name))
        .filter(|(edits, name)| *edits <= (name.chars().count() / 3).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Adds "did you mean" to serde's message about an unknown key, which lists the known ones in back-quotes:
/// ``unknown field `a`, expected one of `b`, `c` ``.
pub(crate) fn with_hint(message: &str) -> String {
    let Some((_, listed)) = message.split_once("unknown field") else {
        return message.to_string();
    };
    let mut quoted = listed.split('`').skip(1).step_by(2);
    let asked = quoted.next().unwrap_or_default();
    match nearest(asked, quoted) {
        Some(name) => format!("{}; did you mean `{name}`?", message.trim_end()),
        None => message.to_string(),
    }
}

/// Optimal string alignment distance: Levenshtein with swaps of neighbouring characters.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut cost = vec![0usize; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            cost[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = usize::from(a[i - 1] != b[j - 1]);
                let mut best = (cost[(i - 1) * width + j] + 1)
                    .min(cost[i * width + j - 1] + 1)
                    .min(cost[(i - 1) * width + j - 1] + change);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(cost[(i - 2) * width + j - 2] + 1);
                }
                best
            };
        }
    }
    cost[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["width_px", "height_px", "device"];
        let cases = [
            ("widht_px", Some("width_px")),
            ("width", None),
            ("heigth_px", Some("height_px")),
            ("devise", Some("device")),
            ("relay", None),
            ("", None),
        ];
        for (asked, want) in cases {
            assert_eq!(nearest(asked, known), want, "{asked}");
        }
    }

    #[test]
    fn hints_only_at_unknown_keys() {
        assert_eq!(
            with_hint("unknown field `devise`, expected one of `kind`, `device`"),
            "unknown field `devise`, expected one of `kind`, `device`; did you mean `device`?"
        );
        assert_eq!(
            with_hint("missing field `device`"),
            "missing field `device`"
        );
    }
}
