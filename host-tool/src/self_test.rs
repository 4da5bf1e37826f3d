//! The self-test part of a bundle: crops with the embeddings its networks give on this machine, so that the door can see,
//! bit for bit, that they do the same there. Called by `pack`.

use facelatch_models::{
    align::{Crop, CropSpec, Cut},
    image::{decode, resize_area},
    zoo::Zoo,
};
use facelatch_protocol::bundle::encode_vector;
use image::{Rgb, RgbImage, imageops};

use crate::Error;

/// A face as `align` cuts it out: `tests/data/origins.toml` says of which photo. By its box 160 x 160, by its landmarks 112 x 112.
const BY_BOX: &[u8] = include_bytes!("../../tests/data/self-test/astronaut-face.png");
const BY_LANDMARKS: &[u8] = include_bytes!("../../tests/data/self-test/astronaut-face-aligned.png");

/// The part for these networks: a face, and a drawing in which all pixel values occur.
///
/// # Errors
/// [`Error::Models`] if the networks cannot be used.
pub fn vectors(zoo: &Zoo) -> Result<Vec<u8>, Error> {
    let mut embedder = zoo.embedder(zoo.chosen())?;
    let spec = embedder.crop_spec();
    let (width, height) = (spec.width(), spec.height());
    let mut part = Vec::new();
    for crop in [face(spec)?, drawing(width, height)].map(Crop) {
        let embedding = embedder.embed(&crop)?;
        encode_vector([width, height], &crop.0, embedding.values(), &mut part)
            .map_err(|fault| Error::Usage(format!("no self-test fits these networks: {fault}")))?;
    }
    Ok(part)
}

/// What `align` would cut out, resized where a network wants it larger or smaller.
fn face(spec: &CropSpec) -> Result<RgbImage, Error> {
    let mut sheet = RgbImage::new(spec.width(), spec.height());
    let mut below = 0;
    for view in spec.views() {
        let cut = match view.cut {
            Cut::Box { .. } => BY_BOX,
            Cut::FivePoint => BY_LANDMARKS,
        };
        let mut cut = decode(cut, "the self-test's face")?;
        if cut.dimensions() != (view.width, view.height) {
            cut = resize_area(&cut, view.width, view.height);
        }
        imageops::replace(&mut sheet, &cut, 0, i64::from(below));
        below += view.height;
    }
    Ok(sheet)
}

fn drawing(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        // Kept to a byte on purpose.
        Rgb([x * 7 + y, y * 5, (x ^ y) * 3].map(|value| value as u8))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use facelatch_models::{
        align::{View, align},
        mtcnn::main_face,
    };
    use facelatch_protocol::bundle::take_vector;

    use super::*;
    use crate::{
        demo_data::{BENCH_PHOTO, folder},
        embed::{MIN_FACE_PX, Networks, detector_config},
    };

    fn zoo() -> Zoo {
        Zoo::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/zoo")).unwrap()
    }

    #[test]
    fn the_face_is_cut_out_of_the_shipped_photo() {
        let mut networks = Networks::load(&zoo(), detector_config(MIN_FACE_PX)).unwrap();
        let photo = image::open(folder().unwrap().join(BENCH_PHOTO))
            .unwrap()
            .to_rgb8();
        let faces = networks.detector.detect(&photo).unwrap();
        let cut = align(
            &photo,
            main_face(&faces, &photo).unwrap(),
            networks.embedder.crop_spec(),
        );
        assert!(face(networks.embedder.crop_spec()).unwrap() == cut.0);
    }

    #[test]
    fn the_part_holds_what_the_embedder_gives_and_is_the_same_every_time() {
        let part = vectors(&zoo()).unwrap();
        assert_eq!(vectors(&zoo()).unwrap(), part);
        let mut embedder = zoo().embedder(zoo().chosen()).unwrap();
        let (mut rest, mut count) = (part.as_slice(), 0);
        while !rest.is_empty() {
            let vector = take_vector(&mut rest).unwrap();
            let pixels = RgbImage::from_raw(vector.width, vector.height, vector.rgb.to_vec());
            let embedding = embedder.embed(&Crop(pixels.unwrap())).unwrap();
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(
                bits(embedding.values()),
                bits(&vector.values().collect::<Vec<_>>())
            );
            count += 1;
        }
        assert_eq!(count, 2);
        let small = View {
            width: 80,
            height: 96,
            cut: Cut::FivePoint,
        };
        assert_eq!(face(&small.into()).unwrap().dimensions(), (80, 96));
    }
}
