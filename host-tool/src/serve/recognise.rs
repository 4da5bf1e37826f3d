//! Who is in a photo: the door's own rule on every face, with what a client of the API wants to know besides.

use std::{
    collections::BTreeMap,
    fs,
    io::Cursor,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use facelatch_models::{embedding::Embedding, mtcnn::Face};
use image::RgbImage;
use serde::Serialize;
use utoipa::ToSchema;

use super::{engine::Desk, limits::Limits, names::UserId, problem::Problem, quality};
use crate::{
    Error,
    cmd::predict::judge,
    dataset::NONE,
    home::Home,
    predict::{Judge, Verdict},
};

/// A face and who it is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct Found {
    /// x, y, width, height in pixels of the upright photo.
    #[serde(rename = "box")]
    pub(super) rect: [f32; 4],
    /// Left eye, right eye, nose, left mouth corner, right mouth corner, each x and y.
    pub(super) landmarks: [[f32; 2]; 5],
    /// How sure the detector is that it is a face, from 0 to 1.
    pub(super) score: f32,
    /// The enrolled person, if a door would recognise the face; else null.
    #[schema(example = "ada_lovelace")]
    pub(super) label: Option<String>,
    /// The classifier's probability of the label; of the nearest person if there is none.
    pub(super) confidence: Option<f32>,
    /// "recognised", or why not.
    #[schema(example = "recognised")]
    pub(super) reason: &'static str,
    /// The nearest enrolled person, recognised or not.
    pub(super) nearest: Option<String>,
    /// Cosine distance to the nearest person's nearest template.
    pub(super) distance: Option<f32>,
    /// Every class with its probability, the most likely first, `none` among them; null unless asked for.
    pub(super) all_predictions: Option<Vec<Prediction>>,
}

/// A class and its probability.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct Prediction {
    /// A person, or `none`.
    #[schema(example = "ada_lovelace")]
    pub(super) label: String,
    /// From 0 to 1.
    pub(super) confidence: f32,
}

/// A face that was looked for, not judged.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct Detected {
    /// x, y, width, height in pixels of the upright photo.
    #[serde(rename = "box")]
    pub(super) rect: [f32; 4],
    /// Left eye, right eye, nose, left mouth corner, right mouth corner, each x and y.
    pub(super) landmarks: [[f32; 2]; 5],
    /// How sure the detector is that it is a face, from 0 to 1.
    pub(super) score: f32,
    /// What could be better for a photo to enroll; null if nothing.
    #[schema(example = "come closer")]
    pub(super) hint: Option<&'static str>,
}

/// What came of a photo.
pub(super) struct Recognised {
    pub(super) photo: RgbImage,
    pub(super) faces: Vec<(Face, Verdict, Embedding)>,
    pub(super) predictions: Vec<Vec<Prediction>>,
}

/// Everything faces are judged by, read again when the files it comes from change.
#[derive(Default)]
pub(super) struct Judges {
    known: Mutex<BTreeMap<UserId, (Stamp, Arc<Judge>)>>,
}

/// When the files a judge is made of were changed last.
type Stamp = Vec<Option<SystemTime>>;

impl Judges {
    /// What a dataset's faces are judged by.
    ///
    /// # Errors
    /// As for [`judge`].
    pub(super) fn of(&self, user: &UserId, home: &Home) -> Result<Arc<Judge>, Error> {
        let stamp = stamp(home);
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(user)
            .cloned();
        if let Some((_, judge)) = known.filter(|(of, _)| *of == stamp) {
            return Ok(judge);
        }
        let judge = Arc::new(judge(home)?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(user.clone(), (stamp, Arc::clone(&judge)));
        Ok(judge)
    }
}

/// Files are replaced by renaming, which changes the folder's time: so people's files need not be looked at one by one.
fn stamp(home: &Home) -> Stamp {
    let changed = |name: &str| {
        fs::metadata(home.dir().join(name))
            .and_then(|meta| meta.modified())
            .ok()
    };
    ["people", "none", "head", "classifier", "calibration"]
        .map(changed)
        .to_vec()
}

/// What a decoder may take to read a header, in bytes: an eighth of it for a row of the widest photo taken, 65,535 pixels of
/// eight bytes each, the rest for what stands before the picture.
const HEADER_BYTES: u64 = 4 << 20;

/// Decodes a photo that is not larger than allowed.
///
/// # Errors
/// 413 if it is; 422 if it is no photo.
pub(super) fn decode(bytes: &[u8], name: &str, limits: &Limits) -> Result<RgbImage, Problem> {
    check_pixels(bytes, limits)?;
    Ok(facelatch_models::image::decode(bytes, name)?)
}

/// Whether a photo's pixels are few enough, by its header; one without a readable header passes, to be refused by the
/// decoder in better words. Takes a while: not for a thread that may not wait.
///
/// # Errors
/// 413, for a header that takes too much memory, too.
pub(super) fn check_pixels(bytes: &[u8], limits: &Limits) -> Result<(), Problem> {
    let reader = image::ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let Ok(mut reader) = reader else {
        return Ok(());
    };
    let mut header = image::Limits::default();
    header.max_alloc = Some(HEADER_BYTES);
    reader.limits(header);
    match reader.into_dimensions() {
        Ok((w, h)) if u64::from(w) * u64::from(h) > limits.photo_px => {
            Err(Problem::too_large(format!(
                "{w} x {h} pixels are more than the {} allowed: scale the photo down",
                limits.photo_px
            )))
        }
        Err(image::ImageError::Limits(_)) => Err(Problem::too_large(
            "what stands before the picture takes too much memory: save the photo anew, without what is attached to it",
        )),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Judges all faces of a photo.
///
/// # Errors
/// If a network fails, or is of another space than the templates.
pub(super) fn recognise(
    desk: &mut Desk<'_>,
    judge: &Judge,
    photo: RgbImage,
) -> Result<Recognised, Problem> {
    let networks = &mut desk.networks;
    let mut faces = Vec::new();
    let mut predictions = Vec::new();
    for face in networks.detector.detect(&photo)? {
        let (embedding, verdict) = judge.face(networks, &photo, &face)?;
        predictions.push(all_predictions(judge, &embedding)?);
        faces.push((face, verdict, embedding));
    }
    Ok(Recognised {
        photo,
        faces,
        predictions,
    })
}

/// Finds all faces, and what could be better about each.
///
/// # Errors
/// If a network fails.
pub(super) fn detect(desk: &mut Desk<'_>, photo: &RgbImage) -> Result<Vec<Detected>, Problem> {
    let faces = desk.networks.detector.detect(photo)?;
    let detected = faces.iter().map(|face| Detected {
        rect: corners(face),
        landmarks: face.landmarks,
        score: face.score,
        hint: quality::hint(photo, face),
    });
    Ok(detected.collect())
}

/// x, y, width, height.
pub(super) fn corners(face: &Face) -> [f32; 4] {
    [face.rect.x, face.rect.y, face.rect.w, face.rect.h]
}

impl Recognised {
    /// The faces as told, with all predictions if wanted.
    pub(super) fn found(&self, all: bool) -> Vec<Found> {
        let each = self.faces.iter().zip(&self.predictions);
        each.map(|((face, verdict, _), predictions)| Found {
            rect: verdict.rect,
            landmarks: face.landmarks,
            score: verdict.score,
            label: verdict.person.clone(),
            confidence: verdict.probability,
            reason: verdict.reason,
            nearest: verdict.nearest.clone(),
            distance: verdict.distance,
            all_predictions: all.then(|| predictions.clone()),
        })
        .collect()
    }
}

fn all_predictions(judge: &Judge, embedding: &Embedding) -> Result<Vec<Prediction>, Problem> {
    let probabilities = judge.classifier.probabilities(embedding)?;
    let labels = std::iter::once(NONE).chain(judge.classifier.people.iter().map(String::as_str));
    let mut all: Vec<Prediction> = labels
        .zip(probabilities)
        .map(|(label, confidence)| Prediction {
            label: label.to_owned(),
            confidence,
        })
        .collect();
    all.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    Ok(all)
}

/// The face cut out of a photo with this much of its size around it, no side longer than `side` pixels, as JPEG.
///
/// # Errors
/// [`Error::Bug`]: any picture can be encoded.
pub(super) fn cut_out(
    photo: &RgbImage,
    face: &Face,
    around: f32,
    side: u32,
) -> Result<Vec<u8>, Error> {
    let clip = |from: f32, len: f32, limit: u32| {
        // A float outside u32's range saturates, one that is none becomes 0.
        let start = (from.max(0.0) as u32).min(limit.saturating_sub(1));
        let end = ((from + len).max(0.0) as u32).clamp(start + 1, limit.max(start + 1));
        (start, end - start)
    };
    let rect = &face.rect;
    let margin = around * rect.w.max(rect.h);
    let (x, w) = clip(rect.x - margin, rect.w + 2.0 * margin, photo.width());
    let (y, h) = clip(rect.y - margin, rect.h + 2.0 * margin, photo.height());
    let cut = image::imageops::crop_imm(photo, x, y, w, h).to_image();
    let scale = (f64::from(side) / f64::from(w.max(h))).min(1.0);
    let scaled = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let small = facelatch_models::image::resize_area(&cut, scaled(w), scaled(h));
    crate::cmd::predict::encode(&small, image::ImageFormat::Jpeg)
}

/// The face a photo is about, cut out, for lists. `path` names it.
///
/// # Errors
/// If the photo cannot be read, or shows no face.
pub(super) fn thumb(
    desk: &mut Desk<'_>,
    path: &Path,
    bytes: &[u8],
    side: u32,
) -> Result<Vec<u8>, Problem> {
    let reading = desk.read(path, bytes, crate::embed::Kind::Template)??;
    let photo = facelatch_models::image::decode(bytes, "the photo")?;
    match reading.main_face() {
        Some(face) => Ok(cut_out(&photo, face, 0.25, side)?),
        None => Err(Problem::not_found("the photo shows no face")),
    }
}

#[cfg(test)]
mod tests {
    use facelatch_models::image::Rect;

    use super::*;

    #[test]
    fn whatever_a_face_is_its_cut_out_is_a_picture() {
        let photo = RgbImage::new(100, 80);
        let rects = [
            (20.0, 20.0, 40.0, 40.0),
            (-30.0, -30.0, 20.0, 20.0),
            (500.0, 500.0, 5.0, 5.0),
            (f32::NAN, 0.0, f32::INFINITY, f32::NAN),
            (0.0, 0.0, 0.0, 0.0),
        ];
        for (x, y, w, h) in rects {
            let face = Face {
                rect: Rect { x, y, w, h },
                score: 1.0,
                landmarks: [[0.0; 2]; 5],
            };
            let jpeg = cut_out(&photo, &face, 0.5, 32).expect("a picture");
            let cut = image::load_from_memory(&jpeg).expect("a JPEG");
            assert!(cut.width() <= 32 && cut.height() <= 32, "{x} {y} {w} {h}");
        }
    }

    #[test]
    fn too_many_pixels_are_seen_before_they_are_decoded() {
        let limits = Limits {
            photo_px: 99,
            ..Limits::default()
        };
        let picture = |w, h| {
            crate::cmd::predict::encode(&RgbImage::new(w, h), image::ImageFormat::Png)
                .expect("a PNG")
        };
        assert!(check_pixels(&picture(9, 11), &limits).is_ok());
        let problem = check_pixels(&picture(10, 10), &limits).expect_err("100 pixels");
        assert!(problem.detail().contains("10 x 10"), "{}", problem.detail());
        assert!(check_pixels(b"no photo", &limits).is_ok());
    }

    #[test]
    fn a_header_takes_little_memory_and_a_wide_photo_is_no_reason_to_refuse_it() {
        use image::ImageEncoder as _;
        let limits = Limits::default();
        let with_profile = |bytes| {
            let mut png = Vec::new();
            let mut encoder = image::codecs::png::PngEncoder::new(&mut png);
            encoder
                .set_icc_profile(vec![0; bytes])
                .expect("PNG has profiles");
            encoder
                .write_image(&[0; 3], 1, 1, image::ExtendedColorType::Rgb8)
                .expect("a PNG");
            png
        };
        // Some kilobytes that would be as much as they say; left out, as a decoder does with a profile it cannot read.
        let bomb = with_profile(8 << 20);
        assert!(bomb.len() < 1 << 20, "{} bytes", bomb.len());
        assert!(check_pixels(&bomb, &limits).is_ok());
        assert!(check_pixels(&with_profile(1 << 20), &limits).is_ok());

        let wide = image::ImageBuffer::<image::Rgba<u16>, _>::new(65_535, 1);
        let mut png = Cursor::new(Vec::new());
        wide.write_to(&mut png, image::ImageFormat::Png)
            .expect("a PNG");
        assert!(check_pixels(png.get_ref(), &limits).is_ok());

        // The same attached as a chunk of its own, uncompressed.
        let mut text = with_profile(0);
        let chunk = [&b"tEXta\0"[..], &vec![b'x'; 5 << 20]].concat();
        let length = (chunk.len() as u32 - 4).to_be_bytes();
        let crc = [0; 4];
        let after_header = 8 + 25;
        text.splice(
            after_header..after_header,
            [&length[..], &chunk, &crc].concat(),
        );
        let problem = check_pixels(&text, &limits).expect_err("5 MiB of text");
        assert!(problem.detail().contains("memory"), "{}", problem.detail());
    }
}
