//! A random forest: trees that split on one number of the embedding at a time, grown on resampled examples.
//!
//! Breiman, "Random forests", Machine Learning 45, 2001: each tree on a bootstrap sample, each split the best of sqrt(dim)
//! numbers drawn anew, by Gini impurity over examples weighted so that classes weigh the same. A tree is a list in which the
//! left branch follows its split: walking only goes forward, so it ends, whatever a file holds.

use serde::{Deserialize, Serialize};

use super::{Examples, ForestConfig, random::Random};

/// The trees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forest {
    /// Numbers in the embeddings it takes.
    pub dimension: u32,
    /// Each tree's nodes, its root first.
    pub trees: Vec<Vec<Node>>,
}

/// A node of a tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Node {
    /// Below or at the threshold the next node follows, above it the one at `right`.
    Split {
        /// Which number of the embedding.
        feature: u32,
        /// Where it splits.
        threshold: f32,
        /// Place in the tree; after this one.
        right: u32,
    },
    /// Shares of the classes that have any; they sum to 1.
    Leaf(Vec<(u32, f32)>),
}

pub(super) fn fit(examples: &Examples, config: &ForestConfig) -> Forest {
    let balanced = examples.balanced();
    let tree = |index: u32| {
        let mut random = Random(config.seed.wrapping_add(u64::from(index) << 32));
        let n = examples.y.len();
        let mut drawn = vec![0u32; n];
        for _ in 0..n {
            drawn[random.below(n)] += 1;
        }
        let weight = drawn.iter().zip(&balanced).map(|(&d, w)| f64::from(d) * w);
        let mut grower = Grower {
            examples,
            weight: weight.collect(),
            tried: (examples.x.ncols() as f64).sqrt().ceil() as usize,
            random,
            nodes: Vec::new(),
        };
        let rows: Vec<usize> = (0..n).filter(|&i| drawn[i] > 0).collect();
        grower.grow(rows, config.depth);
        grower.nodes
    };
    Forest {
        // An embedding has some hundreds of numbers.
        dimension: examples.x.ncols() as u32,
        trees: (0..config.trees).map(tree).collect(),
    }
}

struct Grower<'a> {
    examples: &'a Examples,
    /// Of each example in this tree.
    weight: Vec<f64>,
    /// Numbers drawn for a split.
    tried: usize,
    random: Random,
    nodes: Vec<Node>,
}

struct Split {
    feature: usize,
    threshold: f32,
    /// Impurity that remains, weighted.
    impurity: f64,
}

impl Grower<'_> {
    /// Adds the tree of these rows, at least one.
    fn grow(&mut self, rows: Vec<usize>, depth: u32) {
        let first = self.examples.y[rows[0]];
        let pure = rows.iter().all(|&i| self.examples.y[i] == first);
        let split = (!pure && depth > 0)
            .then(|| self.best_split(&rows))
            .flatten();
        let Some(Split {
            feature, threshold, ..
        }) = split
        else {
            self.nodes.push(self.leaf(&rows));
            return;
        };
        let goes_left = |&i: &usize| self.examples.x[[i, feature]] <= threshold;
        let (left, right) = rows.into_iter().partition(goes_left);
        let here = self.nodes.len();
        self.nodes.push(Node::Leaf(Vec::new()));
        self.grow(left, depth - 1);
        self.nodes[here] = Node::Split {
            feature: feature as u32,
            threshold,
            right: self.nodes.len() as u32,
        };
        self.grow(right, depth - 1);
    }

    fn leaf(&self, rows: &[usize]) -> Node {
        let mut shares: Vec<(u32, f64)> = Vec::new();
        for &i in rows {
            let class = self.examples.y[i] as u32;
            match shares.binary_search_by_key(&class, |(class, _)| *class) {
                Ok(at) => shares[at].1 += self.weight[i],
                Err(at) => shares.insert(at, (class, self.weight[i])),
            }
        }
        let sum: f64 = shares.iter().map(|(_, share)| share).sum();
        let share = |(class, share): (u32, f64)| (class, (share / sum) as f32);
        Node::Leaf(shares.into_iter().map(share).collect())
    }

    /// The best of some numbers drawn; `None` if none of them tells the rows apart.
    fn best_split(&mut self, rows: &[usize]) -> Option<Split> {
        let dimension = self.examples.x.ncols();
        let mut best: Option<Split> = None;
        for _ in 0..self.tried {
            let feature = self.random.below(dimension);
            if let Some(split) = self.split_at(feature, rows)
                && best.as_ref().is_none_or(|b| split.impurity < b.impurity)
            {
                best = Some(split);
            }
        }
        best
    }

    /// The best threshold on one number: half-way between two neighbours, where the weighted Gini impurity of both sides,
    /// sum - squares / sum, is least.
    fn split_at(&self, feature: usize, rows: &[usize]) -> Option<Split> {
        let y = &self.examples.y;
        let mut sorted: Vec<(f32, usize)> = rows
            .iter()
            .map(|&i| (self.examples.x[[i, feature]], i))
            .collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut right = Side::new(self.examples.classes);
        for &(_, i) in &sorted {
            right.add(y[i], self.weight[i]);
        }
        let mut left = Side::new(self.examples.classes);
        let mut best: Option<Split> = None;
        for pair in sorted.windows(2) {
            let &[(value, i), (next, _)] = pair else {
                continue;
            };
            left.add(y[i], self.weight[i]);
            right.add(y[i], -self.weight[i]);
            let threshold = value + 0.5 * (next - value);
            // Rounding may put the half-way point on the upper one.
            if value == next || threshold >= next {
                continue;
            }
            let impurity = left.impurity() + right.impurity();
            if best.as_ref().is_none_or(|b| impurity < b.impurity) {
                best = Some(Split {
                    feature,
                    threshold,
                    impurity,
                });
            }
        }
        best
    }
}

/// Weights of the classes on one side of a split.
struct Side {
    classes: Vec<f64>,
    sum: f64,
    squares: f64,
}

impl Side {
    fn new(classes: usize) -> Side {
        Side {
            classes: vec![0.0; classes],
            sum: 0.0,
            squares: 0.0,
        }
    }

    fn add(&mut self, class: usize, weight: f64) {
        let had = &mut self.classes[class];
        self.squares += (2.0 * *had + weight) * weight;
        *had += weight;
        self.sum += weight;
    }

    fn impurity(&self) -> f64 {
        match self.sum > 0.0 {
            true => self.sum - self.squares / self.sum,
            false => 0.0,
        }
    }
}

impl Forest {
    pub(super) fn check(&self, classes: usize) -> Result<(), &'static str> {
        if self.dimension == 0 || self.trees.is_empty() {
            return Err("it has no trees");
        }
        for tree in &self.trees {
            if tree.is_empty() {
                return Err("a tree has no root");
            }
            for (place, node) in tree.iter().enumerate() {
                match node {
                    Node::Split {
                        feature,
                        threshold,
                        right,
                    } => {
                        let forward = *right as usize > place + 1 && (*right as usize) < tree.len();
                        if *feature >= self.dimension || !threshold.is_finite() || !forward {
                            return Err("a split leads nowhere");
                        }
                    }
                    Node::Leaf(shares) => {
                        let sum: f32 = shares.iter().map(|(_, share)| share).sum();
                        let sound = |(class, share): &(u32, f32)| {
                            (*class as usize) < classes && (0.0..=1.0).contains(share)
                        };
                        if !shares.iter().all(sound) || (sum - 1.0).abs() > 1e-3 {
                            return Err("a leaf's shares are no probabilities");
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The mean of the trees' leaves; `None` if a tree leads nowhere.
    pub(super) fn probabilities(&self, values: &[f32], classes: usize) -> Option<Vec<f32>> {
        let mut sums = vec![0.0f32; classes];
        for tree in &self.trees {
            for (class, share) in leaf(tree, values)? {
                *sums.get_mut(*class as usize)? += share;
            }
        }
        let sum: f32 = sums.iter().sum();
        sums.iter_mut().for_each(|share| *share /= sum);
        sum.is_normal().then_some(sums)
    }
}

fn leaf<'t>(tree: &'t [Node], values: &[f32]) -> Option<&'t [(u32, f32)]> {
    let mut at = 0;
    // Each step goes forward; a list that does not is left.
    for _ in 0..=tree.len() {
        match tree.get(at)? {
            Node::Leaf(shares) => return Some(shares),
            Node::Split {
                feature,
                threshold,
                right,
            } => {
                let above = *values.get(*feature as usize)? > *threshold;
                at = if above { *right as usize } else { at + 1 };
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    /// Class 1 where both numbers are above a half, class 2 where only the first is, class 0 elsewhere.
    fn quadrants() -> Examples {
        let grid = |i: usize| (i as f32 + 0.5) / 10.0;
        let points: Vec<[f32; 2]> = (0..100).map(|i| [grid(i % 10), grid(i / 10)]).collect();
        let class = |p: &[f32; 2]| match (p[0] > 0.5, p[1] > 0.5) {
            (true, true) => 1,
            (true, false) => 2,
            (false, _) => 0,
        };
        Examples {
            y: points.iter().map(class).collect(),
            x: Array2::from_shape_vec((100, 2), points.concat()).unwrap(),
            classes: 3,
        }
    }

    #[test]
    fn a_tree_finds_the_borders() {
        let config = ForestConfig {
            trees: 20,
            depth: 4,
            seed: 5,
        };
        let forest = fit(&quadrants(), &config);
        forest.check(3).unwrap();
        for (point, class) in [
            ([0.8, 0.9], 1),
            ([0.8, 0.1], 2),
            ([0.1, 0.2], 0),
            ([0.2, 0.9], 0),
        ] {
            let found = forest.probabilities(&point, 3).unwrap();
            assert!(found[class] > 0.8, "{point:?}: {found:?}");
            assert!((found.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
        assert_eq!(
            fit(&quadrants(), &config),
            forest,
            "the same seed, the same trees"
        );
        let other = ForestConfig { seed: 6, ..config };
        assert_ne!(fit(&quadrants(), &other), forest);
    }

    #[test]
    fn damage_is_refused_and_never_loops() {
        let leaf = || Node::Leaf(vec![(0, 1.0)]);
        let split = |feature, threshold, right| Node::Split {
            feature,
            threshold,
            right,
        };
        let cases = [
            ("no root", vec![vec![]]),
            ("no trees", vec![]),
            ("back to itself", vec![vec![split(0, 0.5, 0), leaf()]]),
            ("to its own left", vec![vec![split(0, 0.5, 1), leaf()]]),
            ("out of the tree", vec![vec![split(0, 0.5, 2), leaf()]]),
            (
                "no such number",
                vec![vec![split(2, 0.5, 2), leaf(), leaf()]],
            ),
            (
                "no threshold",
                vec![vec![split(0, f32::NAN, 2), leaf(), leaf()]],
            ),
            ("no such class", vec![vec![Node::Leaf(vec![(3, 1.0)])]]),
            ("too much", vec![vec![Node::Leaf(vec![(0, 0.7), (1, 0.7)])]]),
            ("nothing", vec![vec![Node::Leaf(vec![])]]),
        ];
        for (what, trees) in cases {
            let forest = Forest {
                dimension: 2,
                trees,
            };
            assert!(forest.check(3).is_err(), "{what}");
            // Unchecked use ends, in a value or in none.
            let _ = forest.probabilities(&[0.9, 0.9], 3);
        }
    }
}
