//! Where training starts: the principal axes of the training embeddings, each scaled by a power of its variance.
//!
//! A face network's embeddings fill few of their dimensions, so that as many axes as they fill lose nothing; a small negative
//! power (partial whitening) lets rare directions, which tell people apart, count a little more.

use ndarray::{Array2, ArrayView2, Axis};

use crate::Error;

/// Variances below this part of the sum count as this: directions of mere noise are not blown up.
const LEAST_VARIANCE: f64 = 1e-4;
/// Axes with less of the largest one's variance are no directions of the data.
const NOTHING: f64 = 1e-12;
/// Most sweeps over all pairs of rows; about ten do.
const SWEEPS: usize = 40;

/// `dims` rows over the columns of `x` (`[n, dim]`, unit rows): the axes of largest variance, the first first, divided by
/// variance^`whitening`. The mean is not taken off: a head has no bias, and the network's centre is off already.
pub(super) fn axes(x: ArrayView2<f64>, dims: usize, whitening: f64) -> Result<Array2<f64>, Error> {
    let moments = x.t().dot(&x) / x.nrows().max(1) as f64;
    let (variances, axes) = eigen(moments);
    let filled = variances
        .iter()
        .filter(|&&v| v > NOTHING * variances[0])
        .count();
    if filled < dims {
        return Err(Error::Training(format!(
            "{} templates fill {filled} dimensions: ask for at most as many, or enroll more photos",
            x.nrows()
        )));
    }
    let sum: f64 = variances.iter().sum();
    let scale = |v: f64| (v / sum).max(LEAST_VARIANCE).powf(-whitening);
    let mut start = axes.slice_move(ndarray::s![..dims, ..]);
    for (mut row, &variance) in start.axis_iter_mut(Axis(0)).zip(&variances) {
        row *= scale(variance);
    }
    // So that steps mean the same whatever the power: rows of length 1 on average.
    let length = (start.iter().map(|v| v * v).sum::<f64>() / dims as f64).sqrt();
    Ok(start / length)
}

/// Eigenvalues of a symmetric matrix without negative ones, largest first, and unit eigenvectors as rows: one-sided Jacobi
/// (Hestenes 1958). Rotations make the rows orthogonal; then G M = S V^T, and as M is symmetric, its rows are those of V.
fn eigen(mut m: Array2<f64>) -> (Vec<f64>, Array2<f64>) {
    let n = m.nrows();
    let mut squares: Vec<f64> = m.rows().into_iter().map(|r| r.dot(&r)).collect();
    let least = squares.iter().fold(0.0, |most: f64, &s| most.max(s)) * f64::EPSILON * f64::EPSILON;
    for _ in 0..SWEEPS {
        let mut turned = false;
        for p in 0..n {
            for q in p + 1..n {
                let (mut a, mut b) = m.multi_slice_mut((ndarray::s![p, ..], ndarray::s![q, ..]));
                let both = a.dot(&b);
                let small = (squares[p] * squares[q]).sqrt();
                if squares[p].min(squares[q]) <= least || both.abs() <= 1e-14 * small {
                    continue;
                }
                turned = true;
                let zeta = (squares[q] - squares[p]) / (2.0 * both);
                let t = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                let cos = 1.0 / t.hypot(1.0);
                let sin = cos * t;
                for (x, y) in a.iter_mut().zip(b.iter_mut()) {
                    (*x, *y) = (cos * *x - sin * *y, sin * *x + cos * *y);
                }
                squares[p] = a.dot(&a);
                squares[q] = b.dot(&b);
            }
        }
        if !turned {
            break;
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| squares[j].total_cmp(&squares[i]));
    let mut axes = m.select(Axis(0), &order);
    let values: Vec<f64> = order.iter().map(|&i| squares[i].sqrt()).collect();
    for (mut row, &value) in axes.axis_iter_mut(Axis(0)).zip(&values) {
        if value > 0.0 {
            row /= value;
        }
    }
    (values, axes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(n: usize, dim: usize, spread: impl Fn(usize) -> f64) -> Array2<f64> {
        let mut random = crate::classifier::random::Random(7);
        let mut x = Array2::from_shape_fn((n, dim), |(_, j)| random.normal() * spread(j));
        for mut row in x.rows_mut() {
            let length = row.dot(&row).sqrt();
            row /= length;
        }
        x
    }

    #[test]
    fn eigenvectors_are_those_of_the_matrix() {
        let x = rows(60, 20, |j| 1.0 / (1.0 + j as f64));
        let m = x.t().dot(&x);
        let (values, axes) = eigen(m.clone());
        assert!(values.is_sorted_by(|a, b| a >= b));
        for (value, axis) in values.iter().zip(axes.rows()) {
            let left = m.dot(&axis) - &(&axis * *value);
            assert!(left.iter().all(|v| v.abs() < 1e-9), "{value}");
        }
        let gram = axes.dot(&axes.t()) - Array2::<f64>::eye(20);
        assert!(gram.iter().all(|v| v.abs() < 1e-9));
    }

    #[test]
    fn as_many_axes_as_the_data_fill_keep_every_cosine() {
        // Five of twelve dimensions are filled.
        let x = rows(40, 12, |j| if j < 5 { 1.0 } else { 0.0 });
        let start = axes(x.view(), 5, 0.0).unwrap();
        let y = x.dot(&start.t());
        let lost = x.dot(&x.t()) - y.dot(&y.t());
        assert!(lost.iter().all(|v| v.abs() < 1e-9));
        let why = axes(x.view(), 6, 0.0).unwrap_err().to_string();
        assert!(why.contains("5 dimensions"), "{why}");
    }
}
