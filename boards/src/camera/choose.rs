//! Which of a camera's formats and sizes to take. Pure: `linux/camera.rs` brings what the driver enumerates.

use crate::pixels::PixelFormat;

/// Above this many pixels, uncompressed video no longer fits a USB 2 bus at a useful rate.
const LARGEST_RAW_PX: u32 = 640 * 480;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) format: Option<PixelFormat>,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Frames a second.
    pub(crate) rate: u32,
}

/// One thing a camera can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) format: PixelFormat,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// The most frames a second, if the driver tells.
    pub(crate) rate: Option<u32>,
}

/// The best offer: of the format wished for if there is one, nearest in size, fast enough, then in our order of liking.
pub(crate) fn choose(offers: &[Offer], wish: &Wish) -> Option<Offer> {
    let pixels = |width: u32, height: u32| u64::from(width) * u64::from(height);
    let wanted = pixels(wish.width, wish.height);
    let badness = |offer: &Offer| {
        let is_other = wish.format.is_some_and(|format| format != offer.format);
        let is_sized = (offer.width, offer.height) == (wish.width, wish.height);
        let off = pixels(offer.width, offer.height).abs_diff(wanted);
        let slow = offer.rate.map_or(0, |rate| wish.rate.saturating_sub(rate));
        (
            is_other,
            !is_sized,
            off,
            slow,
            dislike(offer.format, wanted),
        )
    };
    offers.iter().min_by_key(|offer| badness(offer)).copied()
}

/// Raw pictures cost no decoding, compressed ones fit the bus; colour before none.
fn dislike(format: PixelFormat, pixels: u64) -> u8 {
    let is_large = pixels > u64::from(LARGEST_RAW_PX);
    match format {
        PixelFormat::Mjpg if is_large => 0,
        PixelFormat::Yuyv => 1,
        PixelFormat::Nv12 => 2,
        PixelFormat::Yuv420 => 3,
        PixelFormat::Mjpg => 4,
        PixelFormat::Rgb3 => 5,
        PixelFormat::Grey => 6,
    }
}

/// The value nearest to `wanted` among `least`, `least + step`, ... up to `most`.
pub(crate) fn nearest_step(least: u32, most: u32, step: u32, wanted: u32) -> u32 {
    let over = wanted.clamp(least, most.max(least)) - least;
    let step = step.max(1);
    let down = least + over / step * step;
    match down.checked_add(step) {
        Some(up) if up <= most && over % step > step / 2 => up,
        Some(_) | None => down,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PixelFormat::{Grey, Mjpg, Nv12, Rgb3, Yuyv};

    #[test]
    fn the_best_offer_is_taken() {
        struct Case {
            what: &'static str,
            wish: (Option<PixelFormat>, u32, u32),
            offers: &'static [(PixelFormat, u32, u32, Option<u32>)],
            takes: Option<usize>,
        }
        let cases = [
            Case {
                what: "small: raw",
                wish: (None, 640, 480),
                offers: &[(Mjpg, 640, 480, Some(30)), (Yuyv, 640, 480, Some(30))],
                takes: Some(1),
            },
            Case {
                what: "large: compressed",
                wish: (None, 1280, 720),
                offers: &[(Yuyv, 1280, 720, None), (Mjpg, 1280, 720, None)],
                takes: Some(1),
            },
            Case {
                what: "raw is too slow",
                wish: (None, 640, 480),
                offers: &[(Yuyv, 640, 480, Some(5)), (Mjpg, 640, 480, Some(30))],
                takes: Some(1),
            },
            Case {
                what: "the size before the format",
                wish: (None, 640, 480),
                offers: &[(Yuyv, 320, 240, None), (Grey, 640, 480, None)],
                takes: Some(1),
            },
            Case {
                what: "as many pixels in another shape",
                wish: (None, 640, 480),
                offers: &[(Yuyv, 480, 640, None), (Nv12, 640, 480, None)],
                takes: Some(1),
            },
            Case {
                what: "the board file's wish before all",
                wish: (Some(Rgb3), 640, 480),
                offers: &[(Yuyv, 640, 480, None), (Rgb3, 320, 240, Some(5))],
                takes: Some(1),
            },
            Case {
                what: "a wish that cannot be",
                wish: (Some(Rgb3), 640, 480),
                offers: &[(Grey, 640, 480, None), (Nv12, 640, 480, None)],
                takes: Some(1),
            },
            Case {
                what: "nothing",
                wish: (None, 640, 480),
                offers: &[],
                takes: None,
            },
        ];
        let mut failures = vec![];
        for case in cases {
            let (format, width, height) = case.wish;
            let wish = Wish {
                format,
                width,
                height,
                rate: 15,
            };
            let offer = |&(format, width, height, rate)| Offer {
                format,
                width,
                height,
                rate,
            };
            let offers: Vec<Offer> = case.offers.iter().map(offer).collect();
            let taken = choose(&offers, &wish);
            if taken != case.takes.map(|at| offers[at]) {
                failures.push(format!("{}: {taken:?}", case.what));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn a_size_between_steps_is_the_nearest_one() {
        let cases = [
            ((16, 1920, 16, 640), 640),
            ((16, 1920, 16, 647), 640),
            ((16, 1920, 16, 650), 656),
            ((2, 8192, 1, 640), 640),
            ((16, 1920, 16, 9_999), 1920),
            ((16, 1920, 16, 1), 16),
            ((16, 1919, 16, 1919), 1904),
            ((48, 48, 0, 640), 48),
        ];
        for ((least, most, step, wanted), want) in cases {
            assert_eq!(
                nearest_step(least, most, step, wanted),
                want,
                "{wanted} in {least}..={most} by {step}"
            );
        }
    }
}
