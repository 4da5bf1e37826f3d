//! Is recognition equally good for everybody? Error rates of each group of people at one common threshold.
//!
//! The threshold is the one that gives FMR 1e-3 over everybody, as a door would be set; impostor pairs are counted
//! inside a group (two women, two men), because those are the pairs that are hard to tell apart.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    Error,
    evaluate::{
        interval::Rate,
        pairs::{Sample, all_pairs},
    },
};

/// Which group each person belongs to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Groups(BTreeMap<String, String>);

/// One group's figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupFigures {
    /// People of the group with a face.
    pub people: usize,
    /// Impostor pairs inside the group.
    pub impostor: u64,
    /// Genuine pairs.
    pub genuine: u64,
    /// False match rate at the common threshold.
    pub fmr: f64,
    /// Its exact 95 % interval (pairs share photos, so the true interval is wider).
    pub fmr_interval_95: [f64; 2],
    /// False non-match rate at the common threshold.
    pub fnmr: f64,
    /// Its exact 95 % interval (same reservation).
    pub fnmr_interval_95: [f64; 2],
}

impl Groups {
    /// Parses `person,group` lines; a first line saying exactly that is a heading, empty lines are skipped.
    ///
    /// # Errors
    /// [`Error::Input`] naming the line.
    pub fn parse(text: &str, path: &std::path::Path) -> Result<Groups, Error> {
        let mut groups = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || (index == 0 && line == "person,group") {
                continue;
            }
            let wrong = |why: &str| Error::Input {
                path: path.to_path_buf(),
                why: format!("line {}: {why}", index + 1),
            };
            let Some((person, group)) = line.split_once(',') else {
                return Err(wrong("expected person,group"));
            };
            let (person, group) = (person.trim(), group.trim());
            if person.is_empty() || group.is_empty() || group.contains(',') {
                return Err(wrong("expected person,group"));
            }
            if let Some(other) = groups.insert(person.to_owned(), group.to_owned())
                && other != group
            {
                return Err(wrong(&format!("{person} is already in group {other}")));
            }
        }
        Ok(Groups(groups))
    }

    /// The group of a person.
    #[must_use]
    pub fn of(&self, person: &str) -> Option<&str> {
        self.0.get(person).map(String::as_str)
    }

    /// Figures of every group at `threshold`.
    ///
    /// # Errors
    /// As for [`all_pairs`].
    pub fn figures(
        &self,
        samples: &[Sample<'_>],
        threshold: f32,
    ) -> Result<BTreeMap<String, GroupFigures>, Error> {
        let mut members: BTreeMap<&str, Vec<Sample<'_>>> = BTreeMap::new();
        for sample in samples {
            if let Some(group) = sample.person.and_then(|person| self.of(person)) {
                members.entry(group).or_default().push(*sample);
            }
        }
        let mut figures = BTreeMap::new();
        for (group, samples) in members {
            let distances = all_pairs(&samples)?;
            let (genuine, impostor) = distances.counts();
            let (false_matches, misses) = distances.errors(threshold);
            let fmr = Rate::new(false_matches as u64, impostor as u64);
            let fnmr = Rate::new(misses as u64, genuine as u64);
            let mut people: Vec<_> = samples.iter().filter_map(|s| s.person).collect();
            people.sort_unstable();
            people.dedup();
            figures.insert(
                group.to_owned(),
                GroupFigures {
                    people: people.len(),
                    impostor: fmr.trials,
                    genuine: fnmr.trials,
                    fmr: fmr.rate,
                    fmr_interval_95: fmr.interval_95,
                    fnmr: fnmr.rate,
                    fnmr_interval_95: fnmr.interval_95,
                },
            );
        }
        Ok(figures)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn reads_a_table_and_says_which_line_is_wrong() {
        let path = Path::new("groups.csv");
        let groups =
            Groups::parse("person,group\nada,women\n\n bob , men\n", path).expect("well formed");
        assert_eq!(
            (groups.of("ada"), groups.of("bob"), groups.of("eve")),
            (Some("women"), Some("men"), None)
        );
        for (text, line) in [
            ("ada", 1),
            ("person,group\nada,women,x", 2),
            ("a,x\nb,y\na,y", 3),
            ("a,", 1),
        ] {
            let error = Groups::parse(text, path).expect_err(text).to_string();
            assert!(error.contains(&format!("line {line}")), "{text:?}: {error}");
        }
    }
}
