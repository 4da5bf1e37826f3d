//! What a number of trials can prove: exact (Clopper-Pearson) bounds of an error rate.
//!
//! Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial", 1934.
//! With no error in n trials the upper 95 % bound of the two-sided interval is 1 - 0.025^(1/n), about 3.7/n.

use serde::Serialize;

/// An error rate with what it was measured from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    /// Errors seen.
    pub errors: u64,
    /// Trials made.
    pub trials: u64,
    /// errors / trials; 0 without trials.
    pub rate: f64,
    /// Lower and upper bound of the exact two-sided 95 % interval, assuming independent trials.
    pub interval_95: [f64; 2],
}

impl Rate {
    /// `errors` of `trials`, with `errors <= trials`.
    #[must_use]
    pub fn new(errors: u64, trials: u64) -> Rate {
        let rate = if trials == 0 {
            0.0
        } else {
            errors as f64 / trials as f64
        };
        Rate {
            errors,
            trials,
            rate,
            interval_95: clopper_pearson(errors, trials, 0.05),
        }
    }
}

/// Exact two-sided interval for a proportion at confidence 1 - `alpha`; `[0, 1]` without trials.
#[must_use]
pub fn clopper_pearson(errors: u64, trials: u64, alpha: f64) -> [f64; 2] {
    if trials == 0 {
        return [0.0, 1.0];
    }
    let lower = if errors == 0 {
        0.0
    } else {
        // The p at which `errors` or more are seen with probability alpha / 2.
        bisect(|p| 1.0 - binomial_cdf(errors - 1, trials, p) < alpha / 2.0)
    };
    let upper = if errors >= trials {
        1.0
    } else {
        // The p at which `errors` or fewer are seen with probability alpha / 2.
        bisect(|p| binomial_cdf(errors, trials, p) > alpha / 2.0)
    };
    [lower, upper]
}

/// The p in [0, 1] where `below` turns from true to false.
fn bisect(below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

/// P(X <= k) for X ~ Binomial(n, p), p strictly inside (0, 1); the terms are summed as logarithms.
fn binomial_cdf(k: u64, n: u64, p: f64) -> f64 {
    let (ln_p, ln_q) = (p.ln(), (-p).ln_1p());
    let mut ln_term = n as f64 * ln_q;
    let mut sum = ln_term.exp();
    for i in 1..=k {
        ln_term += ((n - i + 1) as f64 / i as f64).ln() + ln_p - ln_q;
        sum += ln_term.exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden bounds from sums of exact binomial coefficients (`math.comb`) and bisection in Python.
    #[test]
    fn bounds_match_the_beta_quantiles() {
        struct Case {
            errors: u64,
            trials: u64,
            expected: [f64; 2],
        }
        let cases = [
            Case {
                errors: 0,
                trials: 50,
                expected: [0.0, 0.071_121_736],
            },
            Case {
                errors: 50,
                trials: 50,
                expected: [0.928_878_264, 1.0],
            },
            Case {
                errors: 1,
                trials: 25,
                expected: [0.001_012_200, 0.203_516_914],
            },
            Case {
                errors: 5,
                trials: 100,
                expected: [0.016_431_879, 0.112_834_911],
            },
            Case {
                errors: 0,
                trials: 0,
                expected: [0.0, 1.0],
            },
        ];
        let mut failures = Vec::new();
        for case in &cases {
            let found = clopper_pearson(case.errors, case.trials, 0.05);
            if (0..2).any(|i| (found[i] - case.expected[i]).abs() > 2e-9) {
                failures.push(format!(
                    "{} of {}: expected {:?}, found {found:?}",
                    case.errors, case.trials, case.expected
                ));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn many_trials_do_not_underflow_to_nonsense() {
        let [low, high] = clopper_pearson(610, 610_000, 0.05);
        assert!(low > 0.000_92 && low < 0.001, "{low}");
        assert!(high > 0.001 && high < 0.001_09, "{high}");
    }
}
