//! Embeddings: unit vectors in a named space, and the distance between them.
//!
//! Distances are cosine distances everywhere. Who is near enough is decided in `openset`, not here.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Names an embedding space: network, version, quantization and crop. Example: `facenet-512-1a2b3c4d5e6f7081`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpaceId(String);

impl SpaceId {
    /// Longest id, in bytes.
    pub const MAX_LEN: usize = 48;

    /// Parses an id: 1 to 48 characters of `[a-z0-9.-]`.
    ///
    /// # Errors
    /// [`Error::Network`] with the reason.
    pub fn parse(text: &str) -> Result<SpaceId, Error> {
        let refuse = |why: &str| Error::Network {
            name: text.chars().take(Self::MAX_LEN).collect(),
            why: format!("{why} in an embedding space's id"),
        };
        if text.is_empty() || text.len() > Self::MAX_LEN {
            return Err(refuse("1 to 48 characters are needed"));
        }
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
        if !text.bytes().all(allowed) {
            return Err(refuse("only a-z, 0-9, full stop and hyphen are allowed"));
        }
        Ok(SpaceId(text.to_owned()))
    }

    /// The space of the same network's own output, before the centre is taken off.
    ///
    /// # Errors
    /// [`Error::Network`] if this id leaves no room for the suffix.
    pub fn uncentred(&self) -> Result<SpaceId, Error> {
        SpaceId::parse(&format!("{}-uncentred", self.0))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Refuses values of another space.
    ///
    /// # Errors
    /// [`Error::Space`] if `found` is not this space.
    pub fn expect(&self, found: &SpaceId) -> Result<(), Error> {
        if self == found {
            return Ok(());
        }
        Err(Error::Space {
            expected: self.0.clone(),
            found: found.0.clone(),
        })
    }
}

impl fmt::Display for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SpaceId {
    type Error = Error;

    fn try_from(text: String) -> Result<SpaceId, Error> {
        SpaceId::parse(&text)
    }
}

impl From<SpaceId> for String {
    fn from(space: SpaceId) -> String {
        space.0
    }
}

/// A face as a unit vector of [`SpaceId`]'s dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    space: SpaceId,
    values: Vec<f32>,
}

impl Embedding {
    /// Normalises `values` to unit length (f64 sum in index order).
    ///
    /// # Errors
    /// [`Error::Inference`] if a value is not finite or all are zero.
    pub fn new(space: SpaceId, values: Vec<f32>) -> Result<Embedding, Error> {
        let square: f64 = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        let length = square.sqrt();
        if !length.is_finite() || length < f64::from(f32::MIN_POSITIVE) {
            return Err(Error::Inference {
                name: space.0,
                why: "the embedding is not a finite vector other than zero".to_owned(),
            });
        }
        #[allow(clippy::cast_possible_truncation)]
        let values = values
            .iter()
            .map(|&v| (f64::from(v) / length) as f32)
            .collect();
        Ok(Embedding { space, values })
    }

    /// The space.
    #[must_use]
    pub fn space(&self) -> &SpaceId {
        &self.space
    }

    /// The unit vector.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The unit vector, given away.
    #[must_use]
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// Cosine similarity in [-1, 1].
    ///
    /// # Errors
    /// [`Error::Space`] if the spaces or the dimensions differ.
    pub fn cosine(&self, other: &Embedding) -> Result<f32, Error> {
        self.space.expect(&other.space)?;
        check_dimension(&self.space, self.values.len(), other.values.len())?;
        Ok(cosine(&self.values, &other.values))
    }

    /// Cosine distance, 1 - cosine similarity, in [0, 2]: the distance all thresholds are in.
    ///
    /// # Errors
    /// [`Error::Space`] if the spaces or the dimensions differ.
    pub fn distance(&self, other: &Embedding) -> Result<f32, Error> {
        Ok(1.0 - self.cosine(other)?)
    }
}

/// Refuses vectors of another length under the same space id: only a damaged file has them.
pub(crate) fn check_dimension(space: &SpaceId, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Space {
        expected: format!("{space} with {expected} numbers"),
        found: format!("{found} numbers"),
    })
}

/// Cosine of two unit vectors of one length. Eight lanes in fixed order: fast, and the same bits on every machine.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    dot(a, b).clamp(-1.0, 1.0)
}

/// Sum of products of two vectors of one length, in the same order.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    let mut lanes = [0f32; 8];
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for i in 0..8 {
            lanes[i] += x[i] * y[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    let [l0, l1, l2, l3, l4, l5, l6, l7] = lanes;
    ((l0 + l4) + (l2 + l6)) + ((l1 + l5) + (l3 + l7)) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(id: &str) -> SpaceId {
        SpaceId::parse(id).unwrap()
    }

    #[test]
    fn space_ids_are_parsed() {
        struct Case(&'static str, bool);
        let cases = [
            Case("facenet-512-1a2b3c4d5e6f7081", true),
            Case("a", true),
            Case("v1.0", true),
            Case("123456789012345678901234567890123456789012345678", true),
            Case("1234567890123456789012345678901234567890123456789", false),
            Case("", false),
            Case("Facenet", false),
            Case("face net", false),
            Case("face/net", false),
            Case("gesicht-ä", false),
        ];
        for Case(text, good) in cases {
            assert_eq!(SpaceId::parse(text).is_ok(), good, "{text:?}");
            let json = serde_json::to_string(text).unwrap();
            assert_eq!(
                serde_json::from_str::<SpaceId>(&json).is_ok(),
                good,
                "{text:?} by serde"
            );
        }
    }

    #[test]
    fn embeddings_have_unit_length() {
        let e = Embedding::new(space("s"), vec![3.0, 4.0]).unwrap();
        assert_eq!(e.values(), [0.6, 0.8]);
        let tiny = Embedding::new(space("s"), vec![1e-30, 0.0]).unwrap();
        assert_eq!(tiny.values(), [1.0, 0.0]);
        for bad in [
            vec![],
            vec![0.0; 4],
            vec![1.0, f32::NAN],
            vec![f32::INFINITY, 1.0],
        ] {
            assert!(Embedding::new(space("s"), bad.clone()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn distances_are_of_one_space_only() {
        let a = Embedding::new(space("s"), vec![1.0, 0.0]).unwrap();
        let b = Embedding::new(space("s"), vec![0.0, 2.0]).unwrap();
        let opposite = Embedding::new(space("s"), vec![-5.0, 0.0]).unwrap();
        assert_eq!(a.distance(&a).unwrap(), 0.0);
        assert_eq!(a.distance(&b).unwrap(), 1.0);
        assert_eq!(a.distance(&opposite).unwrap(), 2.0);
        let other = Embedding::new(space("t"), vec![1.0, 0.0]).unwrap();
        assert!(matches!(a.distance(&other), Err(Error::Space { .. })));
        let longer = Embedding::new(space("s"), vec![1.0, 0.0, 0.0]).unwrap();
        assert!(matches!(a.distance(&longer), Err(Error::Space { .. })));
    }

    #[test]
    fn lanes_agree_with_a_plain_sum() {
        for length in [1, 7, 8, 9, 192, 512, 515] {
            let a: Vec<f32> = (0..length).map(|i| (i as f32 * 0.37).cos()).collect();
            let b: Vec<f32> = (0..length).map(|i| (i as f32 * 0.11).cos() + 0.1).collect();
            let a = Embedding::new(space("s"), a).unwrap();
            let b = Embedding::new(space("s"), b).unwrap();
            let plain: f64 = a
                .values()
                .iter()
                .zip(b.values())
                .map(|(&x, &y)| f64::from(x) * f64::from(y))
                .sum();
            let found = f64::from(a.cosine(&b).unwrap());
            assert!((plain - found).abs() < 1e-6, "{length}: {plain} {found}");
        }
    }
}
