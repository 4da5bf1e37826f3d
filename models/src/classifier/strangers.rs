//! Made-up strangers for a classifier whose operator brought no photos of unknown people.
//!
//! Three look-alikes of every person, at cosine 0.4 from the person's mean in a random direction, which is as near as
//! one stranger in some hundreds comes; and the point half-way between each person and the next. The random numbers
//! are seeded and the arithmetic is plain, so training is repeatable. Real "none" photos are better.

use super::random::Random;

/// Cosine between a person's mean and their look-alikes.
const LIKENESS: f64 = 0.4;
const LOOK_ALIKES: usize = 3;
/// Fewest strangers made up: one person alone still gets a crowd.
const FEWEST: usize = 30;

/// Unit rows of `dimension` numbers, one after the other; `rows` and `classes` are the examples of people 1..=people.
pub(super) fn make(rows: &[f32], classes: &[usize], people: usize, dimension: usize) -> Vec<f32> {
    let means = means(rows, classes, people, dimension);
    let mut random = Random(0x0fac_e1a7_c4ed_0001);
    let each = LOOK_ALIKES.max(FEWEST.div_ceil(people));
    let mut strangers: Vec<f32> = Vec::with_capacity(people * (each + 1) * dimension);
    let narrow = |values: Vec<f64>| values.into_iter().map(|v| v as f32);
    for (i, mean) in means.iter().enumerate() {
        for _ in 0..each {
            let other = direction_away_from(mean, &mut random);
            let away = (1.0 - LIKENESS * LIKENESS).sqrt();
            let alike = mean.iter().zip(&other);
            strangers.extend(narrow(unit(alike.map(|(m, o)| LIKENESS * m + away * o))));
        }
        if people > 1 {
            let next = &means[(i + 1) % people];
            strangers.extend(narrow(unit(mean.iter().zip(next).map(|(a, b)| a + b))));
        }
    }
    strangers
}

/// Unit mean of the examples of each person, who is class 1 to `people`; class 0 has none.
pub(super) fn means(
    rows: &[f32],
    classes: &[usize],
    people: usize,
    dimension: usize,
) -> Vec<Vec<f64>> {
    let mut sums = vec![vec![0.0; dimension]; people];
    for (row, &class) in rows.chunks_exact(dimension).zip(classes) {
        let Some(person) = class.checked_sub(1) else {
            continue;
        };
        for (sum, v) in sums[person].iter_mut().zip(row) {
            *sum += f64::from(*v);
        }
    }
    sums.into_iter().map(|s| unit(s.into_iter())).collect()
}

/// Scaled to length 1; zero stays zero.
fn unit(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    let length = values.iter().map(|v| v * v).sum::<f64>().sqrt();
    if length > 0.0 {
        values.iter_mut().for_each(|v| *v /= length);
    }
    values
}

/// A random unit vector at a right angle to a unit vector.
fn direction_away_from(mean: &[f64], random: &mut Random) -> Vec<f64> {
    let values: Vec<f64> = mean.iter().map(|_| random.normal()).collect();
    let along: f64 = values.iter().zip(mean).map(|(r, m)| r * m).sum();
    unit(values.iter().zip(mean).map(|(r, m)| r - along * m))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_are_as_near_as_stated() {
        let dimension = 64;
        let axis = |a: usize| (0..dimension).map(move |i| if i == a { 1.0 } else { 0.0 });
        let rows: Vec<f32> = axis(0).chain(axis(5)).collect();
        let strangers = make(&rows, &[1, 2], 2, dimension);
        let strangers: Vec<&[f32]> = strangers.chunks_exact(dimension).collect();
        assert_eq!(strangers.len(), 2 * (FEWEST / 2 + 1));
        for (i, stranger) in strangers.iter().enumerate() {
            let length: f32 = stranger.iter().map(|v| v * v).sum();
            assert!((length - 1.0).abs() < 1e-5);
            let (person, place) = (i / 16, i % 16);
            let cosine = stranger[[0, 5][person]];
            let expected = if place == 15 { 0.5f64.sqrt() } else { LIKENESS };
            assert!((f64::from(cosine) - expected).abs() < 1e-6, "{i}: {cosine}");
        }
    }
}
