//! MTCNN face detection: image pyramid, P-Net, R-Net, O-Net, box calibration, non-maximum suppression, five landmarks.
//!
//! Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016.
//!
//! ```text
//! photo -> pyramid -> P-Net -> proposals -> 24 px crops -> R-Net -> refined -> 48 px crops -> O-Net -> faces    detect
//! known places -> boxes about them ----------------'                                                           follow
//! ```
//!
//! All coordinates are f32 in pixels, half open; crops are cut at whole pixels. Which of the faces matters, and
//! whether it is good enough, is decided by the callers.

use std::borrow::Cow;

use image::RgbImage;

use crate::{
    Error,
    image::{Rect, Region, resize_area},
    net::{Net, Output},
};

mod candidate;
mod follow;
mod nms;
mod pictures;

use candidate::Candidate;
use nms::{Overlap, Scored, suppress};
use pictures::Pictures;

/// P-Net looks at this many pixels ...
const CELL_PX: f64 = 12.0;
/// ... and moves by this many.
const STRIDE_PX: f64 = 2.0;
/// R-Net's and O-Net's input sides.
const CROP_PX: [u32; 2] = [24, 48];
/// Most proposals kept a pyramid level, then sent to R-Net, then to O-Net, best scores first. A photo of a crowd has
/// some hundreds; a picture made to hold many more cannot stop the door for longer than these take.
const MOST: [usize; 3] = [2000, 1000, 200];

/// A detected face, in pixels of the photo it was found in.
#[derive(Debug, Clone, PartialEq)]
pub struct Face {
    /// Bounding box; may reach outside the photo by a little.
    pub rect: Rect,
    /// O-Net's face probability, in [0, 1].
    pub score: f32,
    /// Left eye, right eye, nose, left mouth corner, right mouth corner, as seen in the photo.
    pub landmarks: [[f32; 2]; 5],
}

impl Face {
    /// This face with box and landmarks averaged, by score, over all finds that overlap it by half or more.
    ///
    /// O-Net often finds one face three times with scores that differ in the fifth digit; picking the best would make
    /// the crop jump by several pixels at a breath of noise. (Box voting: Gidaris & Komodakis, "Object detection via a
    /// multi-region & semantic segmentation-aware CNN model", 2015, section 5.)
    fn voted(&self, all: &[Face]) -> Face {
        let mut weight = 0.0;
        let mut rect = [0.0; 4];
        let mut landmarks = [[0.0; 2]; 5];
        for other in all.iter().filter(|o| self.rect.iou(&o.rect) >= 0.5) {
            let Rect { x, y, w, h } = other.rect;
            weight += other.score;
            for (sum, v) in rect.iter_mut().zip([x, y, w, h]) {
                *sum += other.score * v;
            }
            for (sum, v) in landmarks
                .iter_mut()
                .flatten()
                .zip(other.landmarks.iter().flatten())
            {
                *sum += other.score * v;
            }
        }
        // The face itself overlaps itself, and its score passed a threshold above 0.
        let [x, y, w, h] = rect.map(|sum| sum / weight);
        Face {
            rect: Rect { x, y, w, h },
            score: self.score,
            landmarks: landmarks.map(|point| point.map(|sum| sum / weight)),
        }
    }
}

impl Scored for Face {
    fn rect(&self) -> Rect {
        self.rect
    }

    fn score(&self) -> f32 {
        self.score
    }
}

/// What the detector looks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectorConfig {
    /// Smallest face looked for, in pixels of its shorter side (after scaling to `max_side_px`); at least 12.
    pub min_face_px: f32,
    /// Score thresholds of P-, R- and O-Net, each in (0, 1).
    pub thresholds: [f32; 3],
    /// Scale between two pyramid levels, in (0.3, 0.95).
    pub factor: f32,
    /// A photo whose longer side has more pixels is searched scaled down to this; 64 to 4096.
    pub max_side_px: u32,
}

impl Default for DetectorConfig {
    fn default() -> Self {
        DetectorConfig {
            min_face_px: 40.0,
            thresholds: [0.6, 0.7, 0.7],
            factor: 0.709,
            max_side_px: 640,
        }
    }
}

impl DetectorConfig {
    /// Refuses settings outside their ranges.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the first one.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |name, expected, found: String| {
            Err(Error::Setting {
                name,
                expected,
                found,
            })
        };
        if !(self.min_face_px >= 12.0 && self.min_face_px <= 4096.0) {
            return refuse("min_face_px", "12 to 4096", self.min_face_px.to_string());
        }
        if let Some(t) = self.thresholds.iter().find(|&&t| !(t > 0.0 && t < 1.0)) {
            return refuse("a detector threshold", "between 0 and 1", t.to_string());
        }
        if !(self.factor > 0.3 && self.factor < 0.95) {
            return refuse("factor", "between 0.3 and 0.95", self.factor.to_string());
        }
        if !(64..=4096).contains(&self.max_side_px) {
            return refuse("max_side_px", "64 to 4096", self.max_side_px.to_string());
        }
        Ok(())
    }
}

/// The three networks and their settings.
#[derive(Debug)]
pub struct Detector {
    config: DetectorConfig,
    p: Net,
    r: Net,
    o: Net,
    pictures: Pictures,
    /// Crops that R-Net and O-Net were shown, of the last photo.
    shown: [usize; 2],
}

impl Detector {
    /// Puts P-, R- and O-Net together and runs each once: networks of other shapes are refused here.
    ///
    /// # Errors
    /// [`Error::Setting`], or [`Error::Network`] naming the network that does not fit.
    pub fn new(p: Net, r: Net, o: Net, config: DetectorConfig) -> Result<Detector, Error> {
        config.check()?;
        let mut detector = Detector {
            config,
            p,
            r,
            o,
            pictures: Pictures::default(),
            shown: [0; 2],
        };
        let unusable = |e: Error| match e {
            Error::Inference { name, why } => Error::Network {
                name,
                why: format!("it does not work as part of MTCNN: {why}"),
            },
            other => other,
        };
        let black = RgbImage::new(48, 48);
        let whole = [Region::whole(&black)];
        detector.propose(&black, (12, 12)).map_err(unusable)?;
        detector.refine(&black, &whole).map_err(unusable)?;
        detector.finish(&black, &whole).map_err(unusable)?;
        Ok(detector)
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &DetectorConfig {
        &self.config
    }

    /// How many crops R-Net and O-Net were shown for the last photo: most of what a photo costs beside its pyramid.
    #[must_use]
    pub fn crops_shown(&self) -> [usize; 2] {
        self.shown
    }

    /// Finds all faces, best score first. A photo too small for the smallest face has none.
    ///
    /// # Errors
    /// [`Error::Inference`] if a network fails.
    pub fn detect(&mut self, photo: &RgbImage) -> Result<Vec<Face>, Error> {
        let (photo, scale) = self.within_limit(photo);
        let proposals = self.proposals(&photo)?;
        let proposals = suppress(proposals, 0.7, Overlap::Union);
        Ok(enlarged(self.search(&photo, proposals)?, scale))
    }

    /// The photo, not larger than `max_side_px`, and what its pixels were scaled by.
    fn within_limit<'p>(&self, photo: &'p RgbImage) -> (Cow<'p, RgbImage>, [f32; 2]) {
        let (w, h) = photo.dimensions();
        let longer = w.max(h);
        if longer <= self.config.max_side_px {
            return (Cow::Borrowed(photo), [1.0; 2]);
        }
        let shrink = |side: u32| {
            let side = u64::from(side) * u64::from(self.config.max_side_px);
            // Rounded; at most max_side_px.
            ((side + u64::from(longer) / 2) / u64::from(longer)).max(1) as u32
        };
        let small = resize_area(photo, shrink(w), shrink(h));
        let scale = [
            w as f32 / small.width() as f32,
            h as f32 / small.height() as f32,
        ];
        (Cow::Owned(small), scale)
    }

    /// The cascade from R-Net on. NMS thresholds are the paper authors' own: 0.5 within a level, 0.7 everywhere else.
    fn search(
        &mut self,
        photo: &RgbImage,
        mut proposals: Vec<Candidate>,
    ) -> Result<Vec<Face>, Error> {
        let [_, r_threshold, o_threshold] = self.config.thresholds;

        proposals.truncate(MOST[1]);

        let regions = regions(&proposals, photo);
        self.shown[0] = regions.len();
        let said = self.refine(photo, &regions)?;
        let mut refined = Vec::new();
        for (region, (score, offsets)) in regions.into_iter().zip(said) {
            if score > r_threshold {
                refined.push(Candidate::in_region(region, score, offsets));
            }
        }
        refined = suppress(refined, 0.7, Overlap::Union);
        refined.truncate(MOST[2]);

        let regions = self::regions(&refined, photo);
        self.shown[1] = regions.len();
        let said = self.finish(photo, &regions)?;
        let mut faces = Vec::new();
        for (region, (score, offsets, points)) in regions.into_iter().zip(said) {
            if score > o_threshold {
                let face = Candidate::in_region(region, score, offsets);
                faces.push(Face {
                    rect: face.calibrated().rect(),
                    score,
                    landmarks: face.points(points),
                });
            }
        }
        faces.retain(|f| f.landmarks.iter().flatten().all(|v| v.is_finite()));
        let kept = suppress(faces.clone(), 0.7, Overlap::Smaller);
        Ok(kept.iter().map(|face| face.voted(&faces)).collect())
    }

    /// P-Net over the pyramid.
    fn proposals(&mut self, photo: &RgbImage) -> Result<Vec<Candidate>, Error> {
        let mut all = Vec::new();
        for (w, h) in pyramid(photo.dimensions(), &self.config) {
            let mut found = self.propose(photo, (w, h))?;
            nms::keep_best(&mut found, MOST[0]);
            found = suppress(found, 0.5, Overlap::Union);
            let sx = photo.width() as f32 / w as f32;
            let sy = photo.height() as f32 / h as f32;
            all.extend(found.into_iter().map(|c| c.scaled(sx, sy)));
        }
        Ok(all)
    }

    /// Cells of one pyramid level that may hold a face.
    fn propose(&mut self, photo: &RgbImage, size: (u32, u32)) -> Result<Vec<Candidate>, Error> {
        let threshold = self.config.thresholds[0];
        let (w, h) = size;
        let level = self.pictures.level(photo, size);
        let [probability, boxes] = infer(&mut self.p, "P-Net", level, [1, h as usize, w as usize])?;
        let [_, rows, columns, _] = probability.shape();
        let mut found = Vec::new();
        for y in 0..rows {
            for x in 0..columns {
                let [_, score] = pixel("P-Net", &probability, 0, [y, x])?;
                if score >= threshold {
                    let left = (STRIDE_PX * x as f64) as f32;
                    let top = (STRIDE_PX * y as f64) as f32;
                    found.push(Candidate {
                        left,
                        top,
                        right: left + CELL_PX as f32,
                        bottom: top + CELL_PX as f32,
                        score,
                        offsets: pixel("P-Net", &boxes, 0, [y, x])?,
                    });
                }
            }
        }
        Ok(found)
    }

    /// R-Net on crops: of each score and box offsets.
    fn refine(
        &mut self,
        photo: &RgbImage,
        regions: &[Region],
    ) -> Result<Vec<(f32, [f32; 4])>, Error> {
        let mut said = Vec::with_capacity(regions.len());
        let side = CROP_PX[0] as usize;
        for regions in regions.chunks(self.r.batch([side, side])) {
            let crops = self.pictures.crops(photo, regions, CROP_PX[0]);
            let [probability, boxes] =
                infer(&mut self.r, "R-Net", crops, [regions.len(), side, side])?;
            for crop in 0..regions.len() {
                let [_, score] = alone("R-Net", &probability, crop)?;
                said.push((score, alone("R-Net", &boxes, crop)?));
            }
        }
        Ok(said)
    }

    /// O-Net on crops.
    fn finish(&mut self, photo: &RgbImage, regions: &[Region]) -> Result<Vec<Finish>, Error> {
        let mut said = Vec::with_capacity(regions.len());
        let side = CROP_PX[1] as usize;
        for regions in regions.chunks(self.o.batch([side, side])) {
            let crops = self.pictures.crops(photo, regions, CROP_PX[1]);
            let [probability, boxes, landmarks] =
                infer(&mut self.o, "O-Net", crops, [regions.len(), side, side])?;
            for crop in 0..regions.len() {
                let [_, score] = alone("O-Net", &probability, crop)?;
                let offsets = alone("O-Net", &boxes, crop)?;
                said.push((score, offsets, alone("O-Net", &landmarks, crop)?));
            }
        }
        Ok(said)
    }
}

/// Faces of a photo that was scaled down, in pixels of the photo as it was.
fn enlarged(mut faces: Vec<Face>, [sx, sy]: [f32; 2]) -> Vec<Face> {
    for face in &mut faces {
        face.rect.x *= sx;
        face.rect.w *= sx;
        face.rect.y *= sy;
        face.rect.h *= sy;
        for [x, y] in &mut face.landmarks {
            *x *= sx;
            *y *= sy;
        }
    }
    faces
}

/// What O-Net says of a crop: score, box offsets, landmarks.
type Finish = (f32, [f32; 4], [f32; 10]);

/// What the next network is to look at.
fn regions(candidates: &[Candidate], photo: &RgbImage) -> Vec<Region> {
    let square = |c: &Candidate| c.calibrated().square().region(photo);
    candidates.iter().filter_map(square).collect()
}

/// The face a photo is about: largest area minus twice the squared distance of its centre from the photo's centre.
#[must_use]
pub fn main_face<'a>(faces: &'a [Face], photo: &RgbImage) -> Option<&'a Face> {
    let (cx, cy) = (photo.width() as f32 * 0.5, photo.height() as f32 * 0.5);
    let weight = |face: &Face| {
        let [x, y] = face.rect.centre();
        face.rect.area() - 2.0 * ((x - cx).powi(2) + (y - cy).powi(2))
    };
    faces.iter().max_by(|a, b| weight(a).total_cmp(&weight(b)))
}

/// Level sizes, largest first: the smallest face looked for covers one cell, then each level shrinks by `factor`
/// while a cell fits.
fn pyramid((w, h): (u32, u32), config: &DetectorConfig) -> Vec<(u32, u32)> {
    let mut scale = CELL_PX / f64::from(config.min_face_px);
    let mut sizes = Vec::new();
    while f64::from(w.min(h)) * scale >= CELL_PX {
        let side = |length: u32| (f64::from(length) * scale).ceil() as u32;
        sizes.push((side(w), side(h)));
        scale *= f64::from(config.factor);
    }
    sizes
}

/// Runs `[n, h, w]` pictures through a network with `N` outputs.
fn infer<'a, const N: usize>(
    net: &'a mut Net,
    role: &str,
    pixels: &[u8],
    shape: [usize; 3],
) -> Result<[Output<'a>; N], Error> {
    let mut outputs = net.infer(pixels, shape)?.iter();
    let first: [Option<Output<'a>>; N] = std::array::from_fn(|_| outputs.next());
    if outputs.next().is_some() || first.iter().any(Option::is_none) {
        return Err(unfit(role, format!("it has not {N} outputs")));
    }
    // Each is there, as just seen.
    Ok(first.map(|output| output.expect("an output")))
}

/// The `N` channels of one pixel.
fn pixel<const N: usize>(
    role: &str,
    output: &Output<'_>,
    image: usize,
    [y, x]: [usize; 2],
) -> Result<[f32; N], Error> {
    let values = output.pixel(image, y, x).and_then(|v| v.try_into().ok());
    values.ok_or_else(|| misshapen(role, output))
}

/// The `N` numbers an output has for one crop.
fn alone<const N: usize>(role: &str, output: &Output<'_>, crop: usize) -> Result<[f32; N], Error> {
    let [_, rows, columns, _] = output.shape();
    match [rows, columns] {
        [1, 1] => pixel(role, output, crop, [0, 0]),
        _ => Err(misshapen(role, output)),
    }
}

fn misshapen(role: &str, output: &Output<'_>) -> Error {
    unfit(
        role,
        format!("an output has the shape {:?}", output.shape()),
    )
}

fn unfit(role: &str, why: String) -> Error {
    Error::Inference {
        name: role.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked() {
        let good = DetectorConfig::default();
        assert!(good.check().is_ok());
        #[rustfmt::skip]
        let bad = [
            DetectorConfig { min_face_px: 11.9, ..good },
            DetectorConfig { min_face_px: f32::NAN, ..good },
            DetectorConfig { min_face_px: f32::INFINITY, ..good },
            DetectorConfig { thresholds: [0.0, 0.7, 0.7], ..good },
            DetectorConfig { thresholds: [0.6, 1.0, 0.7], ..good },
            DetectorConfig { thresholds: [0.6, 0.7, f32::NAN], ..good },
            DetectorConfig { factor: 1.0, ..good },
            DetectorConfig { factor: 0.3, ..good },
            DetectorConfig { max_side_px: 0, ..good },
        ];
        for config in bad {
            assert!(
                matches!(config.check(), Err(Error::Setting { .. })),
                "{config:?}"
            );
        }
    }

    #[test]
    fn pyramids_end_where_a_cell_no_longer_fits() {
        struct Case {
            photo: (u32, u32),
            min_face_px: f32,
            sizes: &'static [(u32, u32)],
        }
        #[rustfmt::skip]
        let cases = [
            Case { photo: (640, 480), min_face_px: 240.0, sizes: &[(32, 24), (23, 18), (17, 13)] },
            Case { photo: (60, 60), min_face_px: 60.0, sizes: &[(12, 12)] },
            Case { photo: (59, 600), min_face_px: 60.0, sizes: &[] },
            Case { photo: (0, 0), min_face_px: 12.0, sizes: &[] },
        ];
        for case in cases {
            let config = DetectorConfig {
                min_face_px: case.min_face_px,
                ..DetectorConfig::default()
            };
            assert_eq!(pyramid(case.photo, &config), case.sizes, "{:?}", case.photo);
        }
    }

    #[test]
    fn finds_of_one_face_vote() {
        let face = |x: f32, score| Face {
            rect: Rect {
                x,
                y: 0.0,
                w: 100.0,
                h: 100.0,
            },
            score,
            landmarks: [[x, 1.0]; 5],
        };
        let all = [
            face(10.0, 0.5),
            face(20.0, 0.75),
            face(30.0, 0.75),
            face(90.0, 0.9),
        ];
        let voted = all[1].voted(&all);
        assert_eq!(
            voted.rect,
            Rect {
                x: 21.25,
                y: 0.0,
                w: 100.0,
                h: 100.0
            }
        );
        assert_eq!(voted.landmarks, [[21.25, 1.0]; 5]);
        assert_eq!(voted.score, 0.75);
        assert_eq!(all[3].voted(&all), all[3]);
    }

    #[test]
    fn the_main_face_is_large_and_central() {
        let photo = RgbImage::new(250, 250);
        let face = |x, y, side| Face {
            rect: Rect {
                x,
                y,
                w: side,
                h: side,
            },
            score: 0.9,
            landmarks: [[0.0; 2]; 5],
        };
        let central = face(85.0, 85.0, 80.0);
        let larger_aside = face(0.0, 0.0, 90.0);
        let small_central = face(115.0, 115.0, 20.0);
        let faces = [larger_aside, central.clone(), small_central];
        assert_eq!(main_face(&faces, &photo), Some(&central));
        assert_eq!(main_face(&[], &photo), None);
    }
}
