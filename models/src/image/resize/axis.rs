//! One axis of a resize: where the target's pixels begin and end among the source's.
//!
//! Whole numbers only; both axes of [`super::Resizer`] are laid out anew for every picture, in two divisions a pixel.

use std::ops::Range;

/// Where the edges of the target's pixels cut one axis of the source.
#[derive(Debug, Default)]
pub(super) struct Axis {
    /// Sides of region and target, in lowest terms: a target pixel and a source pixel have this many units.
    pub(super) source: u32,
    pub(super) target: u16,
    /// One more than the target has pixels.
    pub(super) cuts: Vec<Cut>,
    /// The photo's pixels that lie in the region.
    pub(super) used: Range<usize>,
}

/// An edge between two target pixels: in this pixel of the photo, after this many of its units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) pixel: usize,
    pub(super) units: u16,
}

impl Axis {
    /// `length` pixels of the photo; a region of `source` pixels from `offset` becomes `target` pixels.
    pub(super) fn lay_out(&mut self, length: u32, offset: i32, source: u32, target: u32) {
        assert!(
            (1..1 << 23).contains(&source) && (1..1 << 16).contains(&target),
            "a region of {source} pixels cannot become {target}"
        );
        let common = gcd(source, target);
        (self.source, self.target) = (source / common, (target / common) as u16);
        let (length, offset, source) = (i64::from(length), i64::from(offset), i64::from(source));
        let inside = offset.clamp(0, length)..(offset + source).clamp(0, length);
        self.used = inside.start as usize..inside.end as usize;
        let (step, whole) = (i64::from(self.source), i64::from(self.target));
        self.cuts.clear();
        self.cuts.extend((0..=i64::from(target)).map(|i| {
            let pixel = i * step / whole + offset;
            // Outside the photo nothing is cut.
            let cuts = inside.contains(&pixel);
            Cut {
                pixel: pixel.clamp(inside.start, inside.end) as usize,
                units: if cuts { (i * step % whole) as u16 } else { 0 },
            }
        }));
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
