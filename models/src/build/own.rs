//! A user's own float network -> quantized QDQ ONNX, calibrated on the user's pictures.

use std::path::{Path, PathBuf};

use super::{
    Progress,
    calibrate::calibrate,
    equalize::equalize,
    export,
    inputs::{pixels, pyramid, variants},
    onnx::{self, Normalisation},
    quantize::quantize,
    reference, simplify,
};
use crate::{
    Error,
    image::{open, resize_area},
};

/// A quantized network and how close it stays to the float one.
#[derive(Debug, Clone)]
pub struct OwnNetwork {
    /// QDQ ONNX.
    pub bytes: Vec<u8>,
    /// Pictures used.
    pub pictures: usize,
    /// Pictures that could not be read, with the reason.
    pub skipped: Vec<(PathBuf, String)>,
    /// Lowest cosine of the int8 first output to the float one, over the pictures as they are.
    pub minimum_cosine: f64,
    /// Median of the same.
    pub median_cosine: f64,
}

/// Quantizes `bytes` (float ONNX, one image input), calibrated on `pictures`.
///
/// Each picture is scaled to the network's input size and also used mirrored, darker, brighter and blurred; for
/// networks of free input size it is used as an image pyramid.
///
/// # Errors
/// [`Error::Network`] if the network has an operator that is not supported, [`Error::Photo`] if no picture can be read.
pub fn quantize_own(
    name: &str,
    bytes: &[u8],
    normalisation: Normalisation,
    pictures: &[PathBuf],
    progress: &dyn Progress,
) -> Result<OwnNetwork, Error> {
    let graph = simplify::simplify(onnx::import(name, bytes, normalisation)?)?;
    let shape = graph.shapes()?[0];
    let (mut plain, mut inputs, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for path in pictures {
        let picture = match open(path) {
            Ok(picture) => picture,
            Err(e) => {
                skipped.push((path.clone(), e.to_string()));
                continue;
            }
        };
        if let (Some(h), Some(w)) = (shape.h, shape.w) {
            let sized = resize_area(&picture, w as u32, h as u32);
            plain.push(pixels(&sized));
            inputs.extend(variants(&sized).iter().map(pixels));
        } else {
            let levels = pyramid(&picture);
            plain.extend(levels.first().cloned());
            inputs.extend(levels);
        }
    }
    if plain.is_empty() {
        let what = pictures
            .first()
            .and_then(|p| p.parent())
            .unwrap_or(Path::new("."))
            .display()
            .to_string();
        return Err(Error::Photo {
            what,
            why: "no picture to calibrate on can be read".into(),
        });
    }
    let graph = equalize(graph, &plain, &|| {})?;
    progress.start("calibrating", inputs.len() as u64);
    let ranges = calibrate(&graph, &inputs, &|| progress.step())?;
    let quantized = quantize(&graph, &ranges)?;
    progress.start("measuring int8 against float", plain.len() as u64);
    let mut cosines = Vec::new();
    for picture in &plain {
        cosines.push(reference::parity(&graph, &quantized, picture)?);
        progress.step();
    }
    cosines.sort_by(f64::total_cmp);
    Ok(OwnNetwork {
        bytes: export::qdq(&quantized)?,
        pictures: plain.len(),
        skipped,
        minimum_cosine: cosines[0],
        median_cosine: cosines[cosines.len() / 2],
    })
}
