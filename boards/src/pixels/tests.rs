//! Conversions against BT.601 in real numbers, runs against the formula, and layouts with padding, odd sizes and bytes
//! missing.

use image::RgbImage;
use proptest::prelude::*;

use super::*;

fn layout(format: PixelFormat, width: u32, height: u32, stride: u32) -> Layout {
    Layout {
        format,
        range: Range::Limited,
        width,
        height,
        stride,
    }
}

/// ITU-R BT.601 as written, in real numbers.
fn reference(y: u8, u: u8, v: u8, range: Range) -> [f64; 3] {
    let (y, c) = match range {
        Range::Limited => ((f64::from(y) - 16.0) * 255.0 / 219.0, 255.0 / 224.0),
        Range::Full => (f64::from(y), 1.0),
    };
    let (u, v) = ((f64::from(u) - 128.0) * c, (f64::from(v) - 128.0) * c);
    let (kr, kb) = (0.299, 0.114);
    let (r, b) = (y + 2.0 * (1.0 - kr) * v, y + 2.0 * (1.0 - kb) * u);
    let g = (y - kr * r - kb * b) / (1.0 - kr - kb);
    [r, g, b].map(|x| x.clamp(0.0, 255.0))
}

#[test]
fn the_formula_is_within_one_of_the_real_one_everywhere() {
    for range in [Range::Limited, Range::Full] {
        let mut worst: f64 = 0.0;
        for y in (0..=255u8).step_by(3) {
            for u in (0..=255u8).step_by(5) {
                for v in (0..=255u8).step_by(5) {
                    let got = yuv::pair([y, 255 - y], u, v, range);
                    let want = [reference(y, u, v, range), reference(255 - y, u, v, range)];
                    for (got, want) in got.iter().zip(want.concat()) {
                        worst = worst.max((f64::from(*got) - want).abs());
                    }
                }
            }
        }
        // Half a step of rounding, and at most three products cut at a thirty-second.
        assert!(worst < 0.6, "{range:?}: {worst}");
    }
}

#[test]
fn known_colours() {
    // Values of the 75 % colour bars of ITU-R BT.801, limited range.
    let bars = [
        ("white", [180, 128, 128], [191, 191, 191]),
        ("yellow", [162, 44, 142], [191, 191, 0]),
        ("cyan", [131, 156, 44], [0, 191, 191]),
        ("green", [112, 72, 58], [0, 191, 0]),
        ("red", [65, 100, 212], [191, 0, 0]),
        ("blue", [35, 212, 114], [0, 0, 191]),
        ("black", [16, 128, 128], [0, 0, 0]),
    ];
    let mut failures = vec![];
    for (name, [y, u, v], want) in bars {
        let frames = [
            (PixelFormat::Yuyv, vec![y, u, y, v, y, u, y, v]),
            (PixelFormat::Nv12, vec![y, y, y, y, u, v]),
            (PixelFormat::Yuv420, vec![y, y, y, y, u, v]),
        ];
        for (format, bytes) in frames {
            let image = to_rgb(&bytes, &layout(format, 2, 2, 0)).expect("enough bytes");
            for pixel in image.pixels() {
                let off = pixel
                    .0
                    .iter()
                    .zip(want)
                    .any(|(got, want): (&u8, i32)| (i32::from(*got) - want).abs() > 2);
                if off {
                    failures.push(format!("{name} as {format}: {pixel:?}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn light_alone_is_grey() {
    let bytes: Vec<u8> = (0..=255).collect();
    for (range, ends) in [(Range::Full, (0, 255)), (Range::Limited, (16, 235))] {
        let facts = Layout {
            range,
            ..layout(PixelFormat::Grey, 256, 1, 0)
        };
        let image = to_rgb(&bytes, &facts).expect("enough bytes");
        let greys: Vec<u8> = image.pixels().map(|p| p.0[0]).collect();
        assert!(image.pixels().all(|p| p.0 == [p.0[0]; 3]), "{range:?}");
        assert!(greys.is_sorted(), "{range:?}");
        assert_eq!((greys[ends.0], greys[ends.1]), (0, 255), "{range:?}");
    }
}

/// The same picture in one format or another: the planes of it, and the pairs they say.
fn planes(luma: &[u8], u: &[u8], v: &[u8], width: usize, range: Range) -> Vec<u8> {
    let half = width.div_ceil(2);
    let mut out = vec![];
    for (row, line) in luma.chunks(width).enumerate() {
        for (i, y) in line.chunks(2).enumerate() {
            let at = row / 2 * half + i;
            let rgb = yuv::pair([y[0], y[y.len() - 1]], u[at], v[at], range);
            out.extend_from_slice(&rgb[..y.len() * 3]);
        }
    }
    out
}

proptest! {
    #[test]
    fn runs_give_the_bytes_of_the_formula(
        (width, height) in (1u32..150, 1u32..6),
        seed in any::<u64>(),
        is_full in any::<bool>(),
        padding in 0usize..5,
    ) {
        let range = if is_full { Range::Full } else { Range::Limited };
        let mut state = seed | 1;
        let mut noise = |count: usize| -> Vec<u8> {
            (0..count).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            }).collect()
        };
        let (w, h) = (width as usize, height as usize);
        let (half, halves) = (w.div_ceil(2), h.div_ceil(2));

        let line = noise(half * 4);
        let (mut fast, mut plain) = (vec![0; w * 3], vec![0; w * 3]);
        yuyv_line(&line, &mut fast, range);
        yuyv_line_plain(&line, &mut plain, range);
        prop_assert_eq!(fast, plain);

        let (luma, u, v) = (noise(w * h), noise(half * halves), noise(half * halves));
        let want = planes(&luma, &u, &v, w, range);
        // Lines of two chroma samples each, and some padding, even so that half of it is whole.
        let stride = half * 2 + padding * 2;
        let padded = |plane: &[u8], line: usize, stride: usize| -> Vec<u8> {
            let lines = plane.chunks(line).map(|l| [l, &vec![7; stride - l.len()]].concat());
            lines.collect::<Vec<_>>().concat()
        };
        let uv: Vec<u8> = u.iter().zip(&v).flat_map(|(u, v)| [*u, *v]).collect();
        let frames = [
            (PixelFormat::Nv12, [padded(&luma, w, stride), padded(&uv, half * 2, stride)].concat()),
            (PixelFormat::Yuv420, [
                padded(&luma, w, stride),
                padded(&u, half, stride / 2),
                padded(&v, half, stride / 2),
            ].concat()),
        ];
        for (format, bytes) in frames {
            let facts = Layout { range, ..layout(format, width, height, stride as u32) };
            let need = facts.frame_bytes().expect("of one length");
            let image = to_rgb(&bytes[..need], &facts).expect("just enough");
            prop_assert_eq!(image.as_raw(), &want, "{}", format);
            prop_assert!(to_rgb(&bytes[..need - 1], &facts).is_err(), "{}", format);
        }
    }
}

#[test]
fn padding_odd_widths_and_missing_last_padding() {
    // Two lines of one pixel, stride 8; the second line's padding is missing.
    let bytes = [235, 128, 0, 128, 9, 9, 9, 9, 16, 128, 0, 128];
    let image = to_rgb(&bytes, &layout(PixelFormat::Yuyv, 1, 2, 8)).expect("enough bytes");
    assert_eq!(image.as_raw(), &[255, 255, 255, 0, 0, 0]);
    let rgb =
        to_rgb(&[1, 2, 3, 0, 4, 5, 6], &layout(PixelFormat::Rgb3, 1, 2, 4)).expect("enough bytes");
    assert_eq!(rgb.as_raw(), &[1, 2, 3, 4, 5, 6]);
}

#[test]
fn short_and_empty_frames_are_refused() {
    let yuyv = |width, height| layout(PixelFormat::Yuyv, width, height, 8);
    let mjpg = |width, height| layout(PixelFormat::Mjpg, width, height, 0);
    let cases = [
        ("one byte short", vec![0; 11], yuyv(1, 2)),
        ("nothing", vec![], layout(PixelFormat::Rgb3, 1, 1, 0)),
        ("no width", vec![0; 64], yuyv(0, 4)),
        ("no height", vec![0; 64], layout(PixelFormat::Nv12, 4, 0, 0)),
        ("no jpeg", vec![0; 64], mjpg(4, 4)),
        ("cut jpeg", gradient_jpeg()[..200].to_vec(), mjpg(32, 16)),
        ("other size", gradient_jpeg(), mjpg(16, 32)),
    ];
    for (name, bytes, layout) in cases {
        assert!(to_rgb(&bytes, &layout).is_err(), "{name}");
    }
}

fn gradient_jpeg() -> Vec<u8> {
    let image = RgbImage::from_fn(32, 16, |x, y| {
        image::Rgb([(x * 8) as u8, (y * 16) as u8, 128])
    });
    let mut bytes = Vec::new();
    image
        .write_to(
            &mut std::io::Cursor::new(&mut bytes),
            image::ImageFormat::Jpeg,
        )
        .expect("encodes to memory");
    bytes
}

/// Removes every Huffman table segment, as webcams do. Our encoder writes the standard tables.
fn without_tables(jpeg: &[u8]) -> Vec<u8> {
    let mut out = jpeg[..2].to_vec();
    let mut at = 2;
    while jpeg[at + 1] != 0xda {
        let end = at + 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        if jpeg[at + 1] != 0xc4 {
            out.extend_from_slice(&jpeg[at..end]);
        }
        at = end;
    }
    out.extend_from_slice(&jpeg[at..]);
    out
}

#[test]
fn a_webcam_jpeg_without_tables_decodes_like_the_whole_one() {
    let whole = gradient_jpeg();
    let bare = without_tables(&whole);
    assert!(bare.len() + 400 < whole.len(), "tables were removed");
    let layout = layout(PixelFormat::Mjpg, 32, 16, 0);
    let want = to_rgb(&whole, &layout).expect("whole");
    assert_eq!(to_rgb(&bare, &layout).expect("tables supplied"), want);
}
