//! How to train: the kind of classifier and its hyper-parameters, with their ranges. Kept with what was trained.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainConfig {
    /// Multinomial logistic regression.
    Softmax(Descent),
    /// Linear support vector machine, one against the rest, squared hinge loss.
    Svm(Descent),
    /// Random forest.
    Forest(ForestConfig),
    /// The nearest examples vote, nearer ones more.
    Knn {
        /// How many vote; 1 to [`TrainConfig::MOST_NEIGHBOURS`].
        k: u32,
    },
    /// The nearest person's mean.
    Centroid,
}

/// How far to minimise a regularised loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Descent {
    /// Inverse of L2 regularisation strength, as in scikit-learn; > 0.
    pub c: f64,
    /// Most optimiser iterations.
    pub max_iterations: u32,
    /// Stop when the largest gradient component has fallen to this part of what it was at the start; > 0. (Not a bound on
    /// the gradient itself, as scikit-learn's: with 1,000 people that starts below 1e-4 already.)
    pub tolerance: f64,
}

/// How trees are grown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForestConfig {
    /// Trees; 1 to [`ForestConfig::MOST_TREES`].
    pub trees: u32,
    /// Most splits on the way to a leaf; 1 to [`ForestConfig::DEEPEST`].
    pub depth: u32,
    /// Of the random numbers: the same seed gives the same forest.
    pub seed: u64,
}

/// Which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Multinomial logistic regression.
    Softmax,
    /// Linear support vector machine.
    Svm,
    /// Random forest.
    Forest,
    /// Nearest neighbours.
    Knn,
    /// Nearest centroid.
    Centroid,
}

impl Kind {
    /// All of them, the default first.
    pub const ALL: [Kind; 5] = [
        Kind::Softmax,
        Kind::Svm,
        Kind::Forest,
        Kind::Knn,
        Kind::Centroid,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Softmax => "softmax",
            Kind::Svm => "svm",
            Kind::Forest => "forest",
            Kind::Knn => "knn",
            Kind::Centroid => "centroid",
        }
    }

    /// Its default hyper-parameters.
    #[must_use]
    pub fn config(self) -> TrainConfig {
        match self {
            Kind::Softmax => TrainConfig::Softmax(Descent::default()),
            Kind::Svm => TrainConfig::Svm(Descent::default()),
            Kind::Forest => TrainConfig::Forest(ForestConfig::default()),
            Kind::Knn => TrainConfig::Knn { k: 3 },
            Kind::Centroid => TrainConfig::Centroid,
        }
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        Kind::Softmax.config()
    }
}

impl Default for Descent {
    fn default() -> Self {
        Descent {
            c: 10.0,
            max_iterations: 300,
            tolerance: 1e-3,
        }
    }
}

impl Default for ForestConfig {
    fn default() -> Self {
        ForestConfig {
            trees: 100,
            depth: 16,
            seed: 1,
        }
    }
}

impl ForestConfig {
    /// Most trees.
    pub const MOST_TREES: u32 = 1000;
    /// Deepest trees.
    pub const DEEPEST: u32 = 32;
}

impl TrainConfig {
    /// Most neighbours.
    pub const MOST_NEIGHBOURS: u32 = 100;

    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            TrainConfig::Softmax(_) => Kind::Softmax,
            TrainConfig::Svm(_) => Kind::Svm,
            TrainConfig::Forest(_) => Kind::Forest,
            TrainConfig::Knn { .. } => Kind::Knn,
            TrainConfig::Centroid => Kind::Centroid,
        }
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`Error::Training`] naming the setting.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::Training(why));
        match self {
            TrainConfig::Softmax(descent) | TrainConfig::Svm(descent) => {
                let positive = |v: f64| v > 0.0 && v.is_finite();
                match positive(descent.c) && positive(descent.tolerance) {
                    true => Ok(()),
                    false => refuse("c and the tolerance must be greater than 0".to_owned()),
                }
            }
            TrainConfig::Forest(forest) => {
                let trees = (1..=ForestConfig::MOST_TREES).contains(&forest.trees);
                let depth = (1..=ForestConfig::DEEPEST).contains(&forest.depth);
                match trees && depth {
                    true => Ok(()),
                    false => refuse(format!(
                        "a forest has 1 to {} trees of depth 1 to {}",
                        ForestConfig::MOST_TREES,
                        ForestConfig::DEEPEST
                    )),
                }
            }
            TrainConfig::Knn { k } => match (1..=TrainConfig::MOST_NEIGHBOURS).contains(k) {
                true => Ok(()),
                false => refuse(format!(
                    "k is from 1 to {}, not {k}",
                    TrainConfig::MOST_NEIGHBOURS
                )),
            },
            TrainConfig::Centroid => Ok(()),
        }
    }
}

impl fmt::Display for TrainConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().name())?;
        match self {
            TrainConfig::Softmax(descent) | TrainConfig::Svm(descent) => {
                write!(f, " c={}", descent.c)
            }
            TrainConfig::Forest(forest) => {
                write!(f, " trees={} depth={}", forest.trees, forest.depth)
            }
            TrainConfig::Knn { k } => write!(f, " k={k}"),
            TrainConfig::Centroid => Ok(()),
        }
    }
}
