//! What was measured of the embedding spaces that ship: how near strangers come, and the distances that follow.
//!
//! Measured on the impostor pairs of 1,107 photos of 595 people (Labeled Faces in the Wild, 30 % women), one photo against
//! one photo, by `facelatch calibrate DIR --splits 1 --json`, which reports the fit as `tail_here`, and `evaluate`. Whoever
//! changes a network or a centre measures again: a space is named by both, and a name not found here has no figures.
//! Called by `openset` and `calibrate`.

use crate::embedding::SpaceId;

/// [`Measured::distance_per_decade`] of a space nobody measured.
pub(crate) const PER_DECADE: f32 = 0.09;

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
    /// How much nearer a template must be for a tenth of the strangers to match by chance.
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
    // 0.106, 0.076 and 0.064.
    Measured {
        space: "mobilefacenet-192-08bd52f15117a605",
        body: [0.785_394_3, 0.6994, 0.6369, 0.5782, 0.5309],
        tail: [0.0372, -0.08],
        max_distance: 0.48,
        distance_per_decade: 0.07,
    },
    // 0.104, 0.073 and 0.059.
    Measured {
        space: "fused-704-ad8571046f381ff1",
        body: [0.8025, 0.7184, 0.6568, 0.5974, 0.5529],
        tail: [0.04, -0.136],
        max_distance: 0.5,
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
