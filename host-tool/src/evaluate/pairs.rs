//! All pairs of photos: the distances of genuine (same person) and impostor (two people) pairs.
//!
//! No photo is paired with itself, and no pair counts twice. Photos of unknown people ("none") may show one person
//! twice without saying so: they make impostor pairs with known people and no pairs with each other.

use facelatch_models::embedding::Embedding;
use ndarray::{Array2, Axis, Slice};

use crate::{Error, evaluate::verification::Distances};

/// One embedded face and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// The person, `None` for an unknown one.
    pub person: Option<&'a str>,
    /// The face.
    pub embedding: &'a Embedding,
}

/// Rows of the similarity matrix made at a time: bounds memory to 256 x samples.
const BLOCK: usize = 256;

/// Distances of all pairs.
///
/// # Errors
/// [`facelatch_models::Error::Space`] if the embeddings are of two spaces.
pub fn all_pairs(samples: &[Sample<'_>]) -> Result<Distances, Error> {
    let matrix = stack(samples)?;
    let (mut genuine, mut impostor) = (Vec::new(), Vec::new());
    let mut start = 0;
    while start < samples.len() {
        let end = (start + BLOCK).min(samples.len());
        let rows = matrix.slice_axis(Axis(0), Slice::from(start..end));
        let cosines = rows.dot(&matrix.slice_axis(Axis(0), Slice::from(start..)).t());
        for (i, first) in samples[start..end].iter().enumerate() {
            for (j, second) in samples[start..].iter().enumerate().skip(i + 1) {
                let distance = 1.0 - cosines[[i, j]];
                match (first.person, second.person) {
                    (Some(a), Some(b)) if a == b => genuine.push(distance),
                    (None, None) => {}
                    (Some(_), Some(_)) | (Some(_), None) | (None, Some(_)) => {
                        impostor.push(distance)
                    }
                }
            }
        }
        start = end;
    }
    Ok(Distances::new(genuine, impostor))
}

fn stack(samples: &[Sample<'_>]) -> Result<Array2<f32>, Error> {
    let Some(first) = samples.first() else {
        return Ok(Array2::zeros((0, 0)));
    };
    let dimension = first.embedding.values().len();
    let mut matrix = Array2::zeros((samples.len(), dimension));
    for (sample, mut row) in samples.iter().zip(matrix.rows_mut()) {
        if sample.embedding.space() != first.embedding.space()
            || sample.embedding.values().len() != dimension
        {
            return Err(Error::Models(facelatch_models::Error::Space {
                expected: first.embedding.space().as_str().to_owned(),
                found: sample.embedding.space().as_str().to_owned(),
            }));
        }
        row.assign(&ndarray::ArrayView1::from(sample.embedding.values()));
    }
    Ok(matrix)
}
