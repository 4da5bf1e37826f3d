//! A small picture of a face, straightened by its eyes and mouth corners, and where the reference's points went in it.
//!
//! A detector puts the nose where the noses of turned heads are as soon as a face looks turned: on prints bent about the
//! vertical axis it is off by up to 0.25 eye distances. So the points are looked for again by their texture: each point's
//! surroundings in the reference patch, by normalised cross-correlation, in the newest one. Called by `challenge`.

use image::RgbImage;

use super::{Landmarks, planar::Quad};

/// Pixels a side.
const SIDE: usize = 56;
/// Eyes and mouth corners make the unit square; the patch shows so much around it.
const MARGIN: f64 = 0.4;
const PX_PER_UNIT: f64 = SIDE as f64 / (1.0 + 2.0 * MARGIN);
/// Half width and half height of a point's surroundings, in units of the square.
const WINDOW: [f64; 2] = [0.2, 0.17];
/// How far the nose is looked for, across and down: the farthest that one gets (0.46 in front, turned by 45 degrees); beyond
/// are ears and hair that look like it by chance ...
const NOSE_SEARCH: [f64; 2] = [0.34, 0.12];
/// ... and eyes and mouth corners, which the patch was straightened by.
const CORNER_SEARCH: [f64; 2] = [0.15, 0.12];
/// A correlation below this found nothing.
const FOUND: f64 = 0.4;

/// Luma of a face, straightened.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch(Vec<u8>);

impl Patch {
    /// The face with these landmarks in a frame; `None` if they make no face.
    #[must_use]
    pub fn cut(frame: &RgbImage, landmarks: &Landmarks) -> Option<Patch> {
        let quad = Quad::of(landmarks)?;
        let mut luma = Vec::with_capacity(SIDE * SIDE);
        for y in 0..SIDE {
            for x in 0..SIDE {
                let unit = |i: usize| (i as f64 + 0.5) / PX_PER_UNIT - MARGIN;
                luma.push(sample(frame, quad.at([unit(x), unit(y)])));
            }
        }
        Some(Patch(luma))
    }

    fn at(&self, x: usize, y: usize) -> f64 {
        f64::from(self.0[y * SIDE + x])
    }
}

/// Luma between pixels, Rec. 601; beyond the edge, the edge's.
fn sample(frame: &RgbImage, [x, y]: [f64; 2]) -> u8 {
    let (last_x, last_y) = (frame.width().max(1) - 1, frame.height().max(1) - 1);
    let x = (x - 0.5).clamp(0.0, f64::from(last_x));
    let y = (y - 0.5).clamp(0.0, f64::from(last_y));
    // NaN becomes 0.
    let (x0, y0) = (x as u32, y as u32);
    let (fx, fy) = (x - f64::from(x0), y - f64::from(y0));
    let luma = |x: u32, y: u32| {
        frame
            .get_pixel_checked(x.min(last_x), y.min(last_y))
            .map_or(0.0, |p| {
                let [r, g, b] = p.0.map(f64::from);
                0.299 * r + 0.587 * g + 0.114 * b
            })
    };
    let top = luma(x0, y0) * (1.0 - fx) + luma(x0 + 1, y0) * fx;
    let bottom = luma(x0, y0 + 1) * (1.0 - fx) + luma(x0 + 1, y0 + 1) * fx;
    // Between 0 and 255.
    (top * (1.0 - fy) + bottom * fy).round() as u8
}

/// A face at one time: its landmarks, and its patch straightened by them.
pub type Seen<'a> = (&'a Landmarks, &'a Patch);

/// Where the five points of the reference are now by their texture, in pixels of the newest frame; `None` if one of them is
/// not found.
#[must_use]
pub fn track(reference: Seen<'_>, newest: Seen<'_>) -> Option<Landmarks> {
    let (from, to) = (Quad::of(reference.0)?, Quad::of(newest.0)?);
    let mut tracked = [[0.0; 2]; 5];
    for (i, (point, out)) in reference.0.iter().zip(&mut tracked).enumerate() {
        let place = from.coordinates(point.map(f64::from));
        let search = if i == 2 { NOSE_SEARCH } else { CORNER_SEARCH };
        let shift = match find(reference.1, newest.1, place, search) {
            Some(shift) => shift,
            None if i == 2 => return None,
            None => [0.0; 2],
        };
        *out = to
            .at([place[0] + shift[0], place[1] + shift[1]])
            .map(|v| v as f32);
    }
    Some(tracked)
}

/// How far the surroundings of a place have moved, in units of the square.
fn find(from: &Patch, to: &Patch, place: [f64; 2], search: [f64; 2]) -> Option<[f64; 2]> {
    let px = |units: f64| (units * PX_PER_UNIT).round() as isize;
    let centre = place.map(|v| ((v + MARGIN) * PX_PER_UNIT).floor());
    if !centre.iter().all(|v| (0.0..SIDE as f64).contains(v)) {
        return None;
    }
    let centre = centre.map(|v| v as isize);
    let half = WINDOW.map(px);
    let inside = |c: [isize; 2]| {
        let fits = |axis: usize| c[axis] >= half[axis] && c[axis] + half[axis] < SIDE as isize;
        fits(0) && fits(1)
    };
    if !inside(centre) {
        return None;
    }
    let model = window(from, centre, half);
    let reach = search.map(px);
    let mut best = (FOUND, None);
    for dy in -reach[1]..=reach[1] {
        for dx in -reach[0]..=reach[0] {
            let at = [centre[0] + dx, centre[1] + dy];
            if !inside(at) {
                continue;
            }
            let alike = correlation(&model, &window(to, at, half));
            if alike > best.0 {
                best = (alike, Some([dx, dy]));
            }
        }
    }
    best.1.map(|shift| shift.map(|d| d as f64 / PX_PER_UNIT))
}

/// Pixels of a window that lies inside the patch, less their mean.
fn window(patch: &Patch, centre: [isize; 2], half: [isize; 2]) -> Vec<f64> {
    let mut values = Vec::new();
    for y in centre[1] - half[1]..=centre[1] + half[1] {
        for x in centre[0] - half[0]..=centre[0] + half[0] {
            // Not negative: the window lies inside.
            values.push(patch.at(x as usize, y as usize));
        }
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter_mut().for_each(|v| *v -= mean);
    values
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    // Flat windows are like nothing.
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1.0)
}
