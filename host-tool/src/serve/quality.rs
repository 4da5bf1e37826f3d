//! What is wrong with a face before a camera, for whoever is being photographed: the device's own limits, as hints.

use facelatch_device::{
    Config,
    quality::{Limits, Reason, check, scene_is_dark},
};
use facelatch_models::mtcnn::Face;
use image::RgbImage;

/// What could be better about this face as a photo to enroll; `None` if nothing.
pub(super) fn hint(photo: &RgbImage, face: &Face) -> Option<&'static str> {
    let limits = limits();
    if scene_is_dark(photo, &limits) {
        return Some("too dark: turn on a light");
    }
    match check(photo, face, &limits) {
        Ok(_) => None,
        Err(reason) => Some(words(reason)),
    }
}

/// A door's limits, with the face as large as a template needs it.
fn limits() -> Limits {
    Limits {
        face_px: crate::enroll::MIN_TEMPLATE_FACE_PX,
        ..Config::default().limits()
    }
}

fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::Dark => "the face is dark: turn towards the light",
        Reason::Bright => "the face is too bright",
        Reason::Blurred => "blurred: hold still",
        Reason::TooSmall => "come closer",
        Reason::TurnedAway => "look into the camera",
        Reason::HalfVisible => "part of the face is outside the picture",
        Reason::SeveralFaces => "several faces: one at a time",
    }
}
