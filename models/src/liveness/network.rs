//! A network that says how likely a face is alive: a slot, filled by who brings one (`facelatch models add --role liveness`).
//!
//! None ships. Its score is one more passive cue: it can refuse a face, and let nothing pass that another cue refuses. Loaded
//! by `zoo`, run by the device's loop and `facelatch pad report`, which measures it on recorded clips.

use image::RgbImage;
use serde::Serialize;

use crate::{
    Error,
    align::{CropSpec, align},
    manifest::Classes,
    mtcnn::Face,
    net::Net,
};

/// What the network makes of one look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Score {
    /// Probability of a living face, in [0, 1].
    pub live: f32,
    /// Below this it is refused.
    pub threshold: f32,
}

/// A loaded liveness network.
#[derive(Debug)]
pub struct LivenessNet {
    net: Net,
    crop: CropSpec,
    classes: Classes,
}

impl LivenessNet {
    /// Puts a network to use that reads crops `[1, h, w, 3]` of this kind.
    ///
    /// # Errors
    /// [`Error::Network`] if its input has another size, or its first output no such class.
    pub fn new(net: Net, crop: CropSpec, classes: Classes) -> Result<LivenessNet, Error> {
        let wanted = [Some(crop.height() as usize), Some(crop.width() as usize)];
        if net.input_size() != wanted {
            return Err(Error::Network {
                name: net.name().to_owned(),
                why: format!(
                    "its input is {:?} high and wide, the manifest says {wanted:?}",
                    net.input_size()
                ),
            });
        }
        let mut network = LivenessNet { net, crop, classes };
        let grey =
            RgbImage::from_pixel(network.crop.width(), network.crop.height(), [127; 3].into());
        network.judge(&grey)?;
        Ok(network)
    }

    /// What it makes of a face in a frame.
    ///
    /// # Errors
    /// [`Error::Inference`] if the network fails, or gives what is no probability.
    pub fn score(&mut self, frame: &RgbImage, face: &Face) -> Result<Score, Error> {
        let crop = align(frame, face, &self.crop);
        self.judge(&crop.0)
    }

    fn judge(&mut self, crop: &RgbImage) -> Result<Score, Error> {
        let shape = [1, crop.height() as usize, crop.width() as usize];
        let name = self.net.name().to_owned();
        let outputs = self.net.infer(crop.as_raw(), shape)?;
        let first = outputs.get(0).and_then(|output| output.pixel(0, 0, 0));
        let live = first.and_then(|classes| probability(classes, self.classes));
        match live {
            Some(live) => Ok(Score {
                live,
                threshold: self.classes.threshold,
            }),
            None => Err(Error::Inference {
                name,
                why: format!(
                    "its first output has no probability at place {}",
                    self.classes.live
                ),
            }),
        }
    }
}

/// The probability of the living class; `None` if there is none.
fn probability(outputs: &[f32], classes: Classes) -> Option<f32> {
    let live = *outputs.get(classes.live)?;
    let probability = match classes.softmax {
        // Less the largest, so that nothing overflows.
        true => {
            let most = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = outputs.iter().map(|v| (v - most).exp()).sum();
            (live - most).exp() / sum
        }
        false => live,
    };
    // Rounding may put a probability a little beyond its end.
    (-1e-3..=1.001)
        .contains(&probability)
        .then(|| probability.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_become_probabilities_or_nothing() {
        struct Case(&'static str, &'static [f32], usize, bool, Option<f32>);
        let cases = [
            Case("as it is", &[0.1, 0.9], 1, false, Some(0.9)),
            Case("the other class", &[0.1, 0.9], 0, false, Some(0.1)),
            Case("equal logits", &[3.0, 3.0, 3.0, 3.0], 2, true, Some(0.25)),
            Case("large logits", &[900.0, 0.0], 0, true, Some(1.0)),
            Case("no such class", &[0.5], 1, false, None),
            Case("no outputs", &[], 0, true, None),
            Case("logits without softmax", &[4.0, -3.0], 0, false, None),
            Case("not a number", &[f32::NAN, 0.0], 0, false, None),
            Case("not a number among logits", &[f32::NAN, 0.0], 1, true, None),
            Case("infinite", &[f32::INFINITY, 0.0], 0, true, None),
        ];
        let mut failures = vec![];
        for Case(what, outputs, live, softmax, expected) in cases {
            let classes = Classes {
                live,
                softmax,
                threshold: 0.5,
            };
            let found = probability(outputs, classes);
            let same = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1e-6,
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            if !same {
                failures.push(format!("{what}: {found:?}"));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }
}
