//! What cameras there are and what they offer, in words for whoever installs one.

use v4l::{Device, context::enum_devices};

use super::{codes, nothing_usable, offers};
use crate::V4lFacts;
use crate::camera::choose::{Offer, Wish, choose};

/// The capture devices there are: node and name. A sensor on the CSI connector shows as several.
pub(crate) fn devices() -> Vec<String> {
    let mut nodes: Vec<(usize, String)> = enum_devices()
        .iter()
        .filter(|node| {
            let device = Device::with_path(node.path());
            device.is_ok_and(|device| codes(&device).is_ok_and(|codes| !codes.is_empty()))
        })
        .map(|node| {
            let name = node.name().unwrap_or_default();
            (node.index(), format!("{} ({name})", node.path().display()))
        })
        .collect();
    nodes.sort();
    nodes.into_iter().map(|(_, text)| text).collect()
}

/// What the board file's camera offers of what we can read, and what is taken.
pub(crate) fn offered(facts: &V4lFacts) -> Result<String, String> {
    let camera = Device::with_path(&facts.device).map_err(|e| e.to_string())?;
    let codes = codes(&camera)?;
    let wish = Wish {
        format: facts.pixel_format,
        width: facts.width_px,
        height: facts.height_px,
        rate: facts.frames_per_second,
    };
    let offers = offers(&camera, &codes, &wish);
    let best = choose(&offers, &wish).ok_or_else(|| nothing_usable(&codes))?;
    let list: Vec<String> = offers.iter().map(told).collect();
    Ok(format!("offers {}; takes {}", list.join(", "), told(&best)))
}

fn told(offer: &Offer) -> String {
    let rate = offer.rate.map(|rate| format!(" up to {rate}/s"));
    let Offer {
        format,
        width,
        height,
        ..
    } = offer;
    format!("{format} {width}x{height}{}", rate.unwrap_or_default())
}
