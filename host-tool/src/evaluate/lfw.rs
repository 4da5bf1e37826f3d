//! LFW's own protocol: pairs named by a file, in folds; each fold is judged with the threshold that was best on the others.
//!
//! ```text
//! pairs.txt = folds <tab> pairs of one kind in a fold
//!             then for each fold that many  NAME <tab> n <tab> m               one person's photos n and m
//!                        and that many      NAME <tab> n <tab> OTHER <tab> m   two people's
//! photo n of NAME = NAME/NAME_000n.jpg (or .png, .jpeg, .bmp, .webp)
//! ```
//!
//! Huang et al., "Labeled Faces in the Wild", 2007 ("view 2"). The figure is the mean of the folds' accuracies with its
//! standard error. A pair with a photo that has no face counts as wrong in both kinds: a door would not open for the one,
//! and nothing is proven by the other.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Error;

/// Two photos, and whether they show one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Person and photo number of each.
    pub photos: [(String, u32); 2],
    /// Whether the names are the same.
    pub genuine: bool,
}

/// The pairs of each fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folds(pub Vec<Vec<Pair>>);

/// A fold's distances: `None` where a photo has no face.
pub type Judged = Vec<(Option<f32>, bool)>;

/// How good the folds were judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FoldFigures {
    /// Mean share of pairs judged right.
    pub accuracy: f64,
    /// Its standard error over the folds.
    pub standard_error: f64,
    /// Each fold's share, in the file's order.
    pub folds: Vec<f64>,
    /// Pairs.
    pub pairs: usize,
    /// Pairs with a photo without a face.
    pub without_face: usize,
}

impl Folds {
    /// Parses a `pairs.txt`.
    ///
    /// # Errors
    /// [`Error::Input`] naming the line.
    pub fn parse(text: &str, path: &Path) -> Result<Folds, Error> {
        let wrong = |line: usize, why: &str| Error::Input {
            path: path.to_path_buf(),
            why: format!("line {}: {why}", line + 1),
        };
        let mut lines = text
            .lines()
            .enumerate()
            .filter(|(_, l)| !l.trim().is_empty());
        let (_, first) = lines.next().ok_or_else(|| wrong(0, "it is empty"))?;
        let numbers: Vec<usize> = first
            .split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect();
        let (folds, each) = match numbers[..] {
            [each] => (1, each),
            [folds, each] => (folds, each),
            _ => {
                return Err(wrong(
                    0,
                    "expected the number of folds and of pairs in each",
                ));
            }
        };
        if folds == 0 || each == 0 {
            return Err(wrong(0, "expected at least one fold of one pair"));
        }
        let mut found = Vec::new();
        for _ in 0..folds {
            let mut fold = Vec::new();
            for at in 0..2 * each {
                let (line, text) = lines
                    .next()
                    .ok_or_else(|| wrong(text.lines().count(), "pairs are missing"))?;
                let pair = Pair::parse(text)
                    .ok_or_else(|| wrong(line, "expected NAME n m, or NAME n OTHER m"))?;
                if pair.genuine != (at < each) {
                    let why = "each fold has pairs of one person first, then as many of two";
                    return Err(wrong(line, why));
                }
                fold.push(pair);
            }
            found.push(fold);
        }
        match lines.next() {
            Some((line, _)) => Err(wrong(line, "more pairs than the first line says")),
            None => Ok(Folds(found)),
        }
    }

    /// Every photo named, once each, in order.
    #[must_use]
    pub fn photos(&self) -> Vec<(String, u32)> {
        let all = self.0.iter().flatten().flat_map(|pair| &pair.photos);
        let mut photos: Vec<_> = all.cloned().collect();
        photos.sort_unstable();
        photos.dedup();
        photos
    }
}

impl Pair {
    fn parse(line: &str) -> Option<Pair> {
        let words: Vec<&str> = line.split('\t').map(str::trim).collect();
        let words = match words.len() {
            // Written with spaces by some copies.
            1 => line.split_whitespace().collect(),
            _ => words,
        };
        let photo = |name: &str, number: &str| Some((name.to_owned(), number.parse().ok()?));
        let photos = match words[..] {
            [name, n, m] => [photo(name, n)?, photo(name, m)?],
            [name, n, other, m] if name != other => [photo(name, n)?, photo(other, m)?],
            _ => return None,
        };
        Some(Pair {
            genuine: photos[0].0 == photos[1].0,
            photos,
        })
    }
}

/// Where the photo is.
///
/// # Errors
/// [`Error::Input`] if it is not there.
pub fn photo(dir: &Path, name: &str, number: u32) -> Result<PathBuf, Error> {
    let folder = dir.join(name);
    let path = |suffix| folder.join(format!("{name}_{number:04}.{suffix}"));
    let mut paths = ["jpg", "png", "jpeg", "bmp", "webp"].into_iter().map(path);
    paths
        .find(|path| path.is_file())
        .ok_or_else(|| Error::Input {
            path: path("jpg"),
            why: "it is named by the pairs and not there".to_owned(),
        })
}

/// Judges each fold with the threshold that is best on all others; with one fold, on itself.
#[must_use]
pub fn figures(folds: &[Judged]) -> FoldFigures {
    let accuracies: Vec<f64> = (0..folds.len())
        .map(|held_out| {
            let others = folds.iter().enumerate();
            let others = others.filter(|(i, _)| *i != held_out || folds.len() == 1);
            let threshold = best_threshold(others.flat_map(|(_, fold)| fold));
            share_right(&folds[held_out], threshold)
        })
        .collect();
    let n = accuracies.len() as f64;
    let mean = accuracies.iter().sum::<f64>() / n;
    let squares: f64 = accuracies.iter().map(|a| (a - mean).powi(2)).sum();
    let without_face = |fold: &Judged| fold.iter().filter(|(d, _)| d.is_none()).count();
    FoldFigures {
        accuracy: mean,
        standard_error: match accuracies.len() {
            1 => 0.0,
            _ => (squares / (n - 1.0) / n).sqrt(),
        },
        folds: accuracies,
        pairs: folds.iter().map(Vec::len).sum(),
        without_face: folds.iter().map(without_face).sum(),
    }
}

/// The middle of the distances between which most pairs are judged right.
fn best_threshold<'a>(pairs: impl Iterator<Item = &'a (Option<f32>, bool)>) -> f32 {
    let mut known: Vec<(f32, bool)> = pairs
        .filter_map(|(d, genuine)| Some(((*d)?, *genuine)))
        .collect();
    known.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Accepted below the threshold: none at first, so every impostor is right.
    let mut right = known.iter().filter(|(_, genuine)| !genuine).count();
    let (mut best, mut threshold) = (right, 0.0);
    for (i, (distance, genuine)) in known.iter().enumerate() {
        right = if *genuine { right + 1 } else { right - 1 };
        let next = known.get(i + 1).map_or(distance + 1e-3, |(next, _)| *next);
        if right > best && next > *distance {
            best = right;
            threshold = 0.5 * (distance + next);
        }
    }
    threshold
}

fn share_right(fold: &Judged, threshold: f32) -> f64 {
    let right = |(distance, genuine): &&(Option<f32>, bool)| {
        distance.is_some_and(|distance| (distance < threshold) == *genuine)
    };
    fold.iter().filter(right).count() as f64 / fold.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "2\t1\nAda\t1\t4\nAda\t1\tBob\t2\nBob\t1\t2\nEve\t1\tBob\t3\n";

    #[test]
    fn a_file_of_pairs_is_read_and_its_mistakes_are_named() {
        let path = Path::new("pairs.txt");
        let folds = Folds::parse(TEXT, path).expect("well formed");
        assert_eq!(folds.0.len(), 2);
        assert_eq!(
            folds.0[1][1],
            Pair {
                photos: [("Eve".to_owned(), 1), ("Bob".to_owned(), 3)],
                genuine: false,
            }
        );
        assert_eq!(folds.photos().len(), 6);
        let spaces = TEXT.replace('\t', " ");
        assert_eq!(Folds::parse(&spaces, path).expect("spaces"), folds);
        for (text, says) in [
            ("", "line 1"),
            ("x", "line 1"),
            ("1 1\nAda 1 2\nBob 1 2", "line 3: each fold"),
            ("1 1\nAda 1 2", "pairs are missing"),
            ("1 1\nAda 1 2\nAda one Bob 2", "line 3: expected NAME"),
            ("1 1\nAda 1 2\nAda 1 Bob 2\nEve 1 2", "line 4: more pairs"),
        ] {
            let error = Folds::parse(text, path).expect_err(text).to_string();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_fold_is_judged_by_the_others_threshold() {
        // Best on the first: anything in (0.4, 0.6); on the second: (0.1, 0.2).
        let first = vec![(Some(0.4), true), (Some(0.6), false)];
        let second = vec![(Some(0.1), true), (Some(0.2), false)];
        let found = figures(&[first.clone(), second]);
        assert_eq!(found.folds, [0.5, 0.5]);
        assert_eq!((found.accuracy, found.standard_error), (0.5, 0.0));
        let lost = vec![
            (None, true),
            (None, false),
            (Some(0.3), true),
            (Some(0.7), false),
        ];
        let found = figures(&[first, lost]);
        assert_eq!(found.folds, [1.0, 0.5]);
        assert_eq!((found.without_face, found.pairs), (2, 6));
        assert_eq!(found.standard_error, 0.25);
    }
}
