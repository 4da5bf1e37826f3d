//! What was measured of the embedding spaces that ship: how near strangers come, and the distances that follow.
//!
//! Measured on the impostor pairs of 1,107 photos of 595 people (Labeled Faces in the Wild, 30 % women), one photo against
//! one photo, by `facelatch calibrate DIR --splits 1 --json`, which reports the fit as `tail_here`, and `evaluate`. Whoever
//! changes a network or a centre measures again: a space is named by both, and a name not found here has no figures.
//! Called by `openset` and `calibrate`.

use crate::embedding::SpaceId;

/// Figures of one space.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    space: &'static str,
    /// Distances at which a tenth, 0.03, 0.01, 0.003 and 0.001 of strangers' pairs are nearer.
    pub(crate) body: [f32; 5],
    /// Scale and shape of the generalised Pareto distribution below the last.
    pub(crate) tail: [f32; 2],
    /// Largest distance of the gate for few people, without a calibration.
    pub(crate) max_distance: f32,
    /// See [`crate::openset::Gate::distance_per_decade`].
    pub(crate) distance_per_decade: f32,
}

const ALL: &[Measured] = &[
    // Between the false match rates 1e-2, 1e-3, 1e-4 and 1e-5 are 0.116, 0.086 and 0.085.
    Measured {
        space: "facenet-512-8ae262ba0655f498",
        body: [0.8148, 0.7203, 0.6485, 0.5852, 0.5328],
        tail: [0.0426, -0.084],
        max_distance: 0.48,
        distance_per_decade: 0.09,
    },
    // 0.106, 0.076 and 0.054.
    Measured {
        space: "mobilefacenet-192-01f9b1e680d4d149",
        body: [0.8048, 0.7164, 0.6523, 0.5925, 0.5458],
        tail: [0.041, -0.161],
        max_distance: 0.49,
        distance_per_decade: 0.07,
    },
    // 0.105, 0.075 and 0.061.
    Measured {
        space: "fused-704-fa9e27dda23011e4",
        body: [0.8164, 0.7311, 0.6687, 0.6088, 0.5637],
        tail: [0.0389, -0.111],
        max_distance: 0.51,
        distance_per_decade: 0.07,
    },
];

impl Measured {
    /// The figures of a space; `None` if nobody measured it.
    pub(crate) fn of(space: &SpaceId) -> Option<&'static Measured> {
        ALL.iter().find(|measured| measured.space == space.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    #[test]
    fn every_space_that_ships_was_measured() {
        let manifest = Manifest::parse(include_str!("../zoo/manifest.toml")).unwrap();
        let profiles = manifest
            .embedders()
            .map(|name| manifest.profile(name).unwrap());
        let spaces: Vec<String> = profiles.map(|p| p.space.to_string()).collect();
        let measured: Vec<&str> = ALL.iter().map(|m| m.space).collect();
        assert_eq!(spaces, measured);
    }
}
