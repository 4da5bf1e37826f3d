//! Embeddings as points of a plane, for the eye: principal components, and t-SNE started from them.
//!
//! Pearson 1901; van der Maaten & Hinton, "Visualizing Data using t-SNE", 2008, exact, with the step size of Belkina et
//! al. 2019. No random numbers: the same embeddings give the same map. Distances on a t-SNE map mean little beyond who is
//! whose neighbour.

use ndarray::{Array1, Array2, ArrayView1, Axis};

/// Most embeddings mapped: the work grows with their square.
pub const MOST: usize = 1_500;
/// Neighbours that count for each.
const PERPLEXITY: f64 = 30.0;
const ITERATIONS: usize = 600;
/// Iterations in which groups are pulled together first, and how strongly.
const EARLY: usize = 200;
const EXAGGERATION: f64 = 12.0;

/// A point for each row of `embeddings`.
pub type Points = Vec<[f64; 2]>;

/// The two directions in which the embeddings differ most.
#[must_use]
pub fn principal(embeddings: &Array2<f32>) -> Points {
    let (n, _) = embeddings.dim();
    if n == 0 {
        return vec![];
    }
    let mut centred = embeddings.mapv(f64::from);
    if let Some(mean) = centred.mean_axis(Axis(0)) {
        centred -= &mean;
    }
    let first = direction(&centred, None);
    let second = direction(&centred, Some(&first));
    let (x, y) = (centred.dot(&first), centred.dot(&second));
    x.iter().zip(&y).map(|(x, y)| [*x, *y]).collect()
}

/// The direction of most variance, square to `not`, by power iteration.
fn direction(centred: &Array2<f64>, not: Option<&Array1<f64>>) -> Array1<f64> {
    let dimension = centred.ncols();
    // Any start that is not square to the answer does; this one has no symmetry.
    let mut v: Array1<f64> = (0..dimension)
        .map(|i| 1.0 + (i as f64 * 0.7).sin())
        .collect();
    for _ in 0..100 {
        if let Some(not) = not {
            let along = v.dot(not);
            v.scaled_add(-along, not);
        }
        let next = centred.t().dot(&centred.dot(&v));
        let length = next.dot(&next).sqrt();
        if length < 1e-12 {
            // No variance is left: any direction is as good.
            return v;
        }
        v = next / length;
    }
    v
}

/// t-SNE of unit vectors.
#[must_use]
pub fn neighbours(embeddings: &Array2<f32>) -> Points {
    let n = embeddings.nrows();
    if n < 4 {
        return principal(embeddings);
    }
    let p = affinities(embeddings);
    let mut at = spread(&principal(embeddings));
    let mut speed: Points = vec![[0.0; 2]; n];
    let step = (n as f64 / EXAGGERATION / 4.0).max(10.0);
    for iteration in 0..ITERATIONS {
        let (pull, momentum) = match iteration < EARLY {
            true => (EXAGGERATION, 0.5),
            false => (1.0, 0.8),
        };
        let gradient = gradient(&p, &at, pull);
        for ((at, speed), gradient) in at.iter_mut().zip(&mut speed).zip(&gradient) {
            for axis in 0..2 {
                speed[axis] = momentum * speed[axis] - step * gradient[axis];
                at[axis] += speed[axis];
            }
        }
    }
    at
}

/// Principal components shrunk to the small cloud that t-SNE starts from.
fn spread(points: &Points) -> Points {
    let widest = points.iter().map(|p| p[0].abs()).fold(1e-12, f64::max);
    points
        .iter()
        .map(|p| p.map(|v| v / widest * 1e-2))
        .collect()
}

/// Symmetric joint probabilities of being neighbours; they sum to 1.
fn affinities(embeddings: &Array2<f32>) -> Array2<f64> {
    let n = embeddings.nrows();
    let squared = embeddings
        .dot(&embeddings.t())
        .mapv(|cosine| 2.0 * (1.0 - f64::from(cosine)).max(0.0));
    let perplexity = PERPLEXITY.min((n as f64 - 1.0) / 3.0);
    let mut p = Array2::zeros((n, n));
    for (i, mut row) in p.outer_iter_mut().enumerate() {
        let found = row_of(squared.row(i), i, perplexity.ln());
        row.assign(&found);
    }
    let sum = &p + &p.t();
    let total = 2.0 * n as f64;
    sum.mapv(|v: f64| (v / total).max(1e-12))
}

/// One point's probabilities: a Gauss curve as wide as gives them the wanted entropy, found by bisection.
fn row_of(squared: ArrayView1<'_, f64>, own: usize, entropy: f64) -> Array1<f64> {
    let (mut low, mut high, mut precision) = (0.0, f64::INFINITY, 1.0);
    let mut p = Array1::zeros(squared.len());
    for _ in 0..60 {
        for (j, (p, d)) in p.iter_mut().zip(squared).enumerate() {
            *p = if j == own {
                0.0
            } else {
                f64::exp(-precision * d)
            };
        }
        let sum: f64 = p.sum();
        if sum > 0.0 {
            p /= sum;
        }
        let found: f64 = p
            .iter()
            .map(|p: &f64| if *p > 1e-300 { -p * p.ln() } else { 0.0 })
            .sum();
        if (found - entropy).abs() < 1e-5 {
            break;
        }
        if found > entropy {
            low = precision;
            precision = if high.is_finite() {
                0.5 * (low + high)
            } else {
                2.0 * low
            };
        } else {
            high = precision;
            precision = 0.5 * (low + high);
        }
    }
    p
}

fn gradient(p: &Array2<f64>, at: &Points, pull: f64) -> Points {
    let n = at.len();
    let mut near = vec![0.0f64; n * n];
    let mut sum = 0.0;
    for i in 0..n {
        for j in i + 1..n {
            let (dx, dy) = (at[i][0] - at[j][0], at[i][1] - at[j][1]);
            let q = 1.0 / (1.0 + dx * dx + dy * dy);
            near[i * n + j] = q;
            sum += 2.0 * q;
        }
    }
    let mut gradient: Points = vec![[0.0; 2]; n];
    for i in 0..n {
        for j in i + 1..n {
            let q = near[i * n + j];
            let force = 4.0 * (pull * p[[i, j]] - q / sum) * q;
            for axis in 0..2 {
                let part = force * (at[i][axis] - at[j][axis]);
                gradient[i][axis] += part;
                gradient[j][axis] -= part;
            }
        }
    }
    gradient
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three tight groups of ten, far from each other.
    fn groups() -> Array2<f32> {
        let mut all = Array2::zeros((30, 8));
        for i in 0..30 {
            all[[i, i / 10]] = 1.0f32;
            all[[i, 3 + i % 5]] = 0.1;
            let length = all.row(i).dot(&all.row(i)).sqrt();
            all.row_mut(i).mapv_inplace(|v| v / length);
        }
        all
    }

    fn apart(a: [f64; 2], b: [f64; 2]) -> f64 {
        (a[0] - b[0]).hypot(a[1] - b[1])
    }

    #[test]
    fn groups_stay_groups_and_the_map_is_the_same_every_time() {
        let embeddings = groups();
        for points in [principal(&embeddings), neighbours(&embeddings)] {
            for i in 0..30 {
                let nearest = (0..30).filter(|j| *j != i).min_by(|a, b| {
                    apart(points[i], points[*a]).total_cmp(&apart(points[i], points[*b]))
                });
                assert_eq!(nearest.map(|j| j / 10), Some(i / 10), "point {i}");
            }
        }
        assert_eq!(neighbours(&embeddings), neighbours(&embeddings));
    }

    #[test]
    fn the_first_direction_is_the_one_of_most_variance() {
        let embeddings = Array2::from_shape_fn((20, 3), |(i, axis)| match axis {
            1 => i as f32,
            2 => (i % 2) as f32,
            _ => 0.0,
        });
        let points = principal(&embeddings);
        let width = apart(points[0], points[19]);
        assert!((width - 19.0).abs() < 0.1, "{width}");
    }

    #[test]
    fn few_or_equal_embeddings_have_a_map() {
        for n in [0, 1, 3, 5] {
            let same = Array2::from_elem((n, 4), 0.5f32);
            let points = neighbours(&same);
            assert_eq!(points.len(), n);
            assert!(points.iter().flatten().all(|v| v.is_finite()), "{points:?}");
        }
    }
}
