//! A classifier's bytes: in the workspace, in bundles and in doors.
//!
//! ```text
//! "FLC2" | Classifier as postcard          what is written
//! space, people, weights, biases           what was written first, as postcard without a mark: softmax; still read
//! ```
//!
//! The first form begins with the length of a space's name, which is below 'F'.

use serde::{Deserialize, Serialize};

use super::Classifier;
use crate::{Error, embedding::SpaceId};

const MARK: &[u8] = b"FLC2";

/// The first form.
#[derive(Debug, Serialize, Deserialize)]
struct First {
    space: SpaceId,
    people: Vec<String>,
    weights: Vec<f32>,
    biases: Vec<f32>,
}

impl Classifier {
    /// Reads a stored classifier; `None` if it is none, or [`Classifier::validate`] refuses it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Classifier> {
        let classifier = match bytes.strip_prefix(MARK) {
            Some(rest) => whole(rest)?,
            None => {
                let first: First = whole(bytes)?;
                Classifier::softmax(first.space, first.people, first.weights, first.biases)
            }
        };
        classifier.validate().is_ok().then_some(classifier)
    }

    /// The bytes to store.
    ///
    /// # Errors
    /// [`Error::Training`] if there is no memory for them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        postcard::to_extend(self, MARK.to_vec())
            .map_err(|error| Error::Training(format!("the classifier cannot be stored: {error}")))
    }
}

fn whole<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        Ok((_, _)) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let space = SpaceId::parse("s-2").unwrap();
        let people = vec!["ada".to_owned()];
        let (weights, biases) = (vec![0.5, -0.5, 0.25, 0.75], vec![0.0, 0.5]);
        let first = First {
            space: space.clone(),
            people: people.clone(),
            weights: weights.clone(),
            biases: biases.clone(),
        };
        let expected = Classifier::softmax(space, people, weights, biases);
        let old = postcard::to_allocvec(&first).unwrap();
        assert_eq!(Classifier::from_bytes(&old), Some(expected.clone()));
        let new = expected.to_bytes().unwrap();
        assert_eq!(Classifier::from_bytes(&new), Some(expected));
        for bytes in [&old, &new] {
            assert_eq!(Classifier::from_bytes(&bytes[..bytes.len() - 1]), None);
            assert_eq!(Classifier::from_bytes(&[&bytes[..], &[0]].concat()), None);
        }
        assert_eq!(Classifier::from_bytes(b""), None);
        assert_eq!(Classifier::from_bytes(MARK), None);
    }
}
