//! The self-test part of a bundle: crops with the embeddings its networks give on this machine, so that the door can see,
//! bit for bit, that they do the same there. Called by `pack`.

use facelatch_models::{
    align::Crop,
    image::{decode, resize_area},
    zoo::Zoo,
};
use facelatch_protocol::bundle::encode_vector;
use image::{Rgb, RgbImage};

use crate::Error;

/// A face as the detector cuts it out, 160 x 160: `tests/data/origins.toml` says of which photo.
const FACE: &[u8] = include_bytes!("../../tests/data/self-test/astronaut-face.png");

/// The part for these networks: a face, and a drawing in which all pixel values occur.
///
/// # Errors
/// [`Error::Models`] if the networks cannot be used.
pub fn vectors(zoo: &Zoo) -> Result<Vec<u8>, Error> {
    let mut embedder = zoo.embedder(zoo.chosen())?;
    let spec = embedder.crop_spec();
    let (width, height) = (spec.width(), spec.height());
    let mut part = Vec::new();
    for crop in [face(width, height)?, drawing(width, height)].map(Crop) {
        let embedding = embedder.embed(&crop)?;
        encode_vector([width, height], &crop.0, embedding.values(), &mut part)
            .map_err(|fault| Error::Usage(format!("no self-test fits these networks: {fault}")))?;
    }
    Ok(part)
}

fn face(width: u32, height: u32) -> Result<RgbImage, Error> {
    let face = decode(FACE, "the self-test's face")?;
    Ok(if face.dimensions() == (width, height) {
        face
    } else {
        resize_area(&face, width, height)
    })
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

    use facelatch_models::{align::align, mtcnn::main_face};
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
        assert!(face(160, 160).unwrap() == cut.0);
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
        assert_eq!(face(80, 96).unwrap().dimensions(), (80, 96));
    }
}
