//! What a frame costs before anybody looks at it: raw formats to RGB, and Motion-JPEG by several decoders.
//!
//! `cargo bench -p facelatch-boards`. Prints the median of many runs on one thread, and ratios, which carry over to other
//! machines better than times do. Figures are in the README.

use std::hint::black_box;
use std::io::Cursor;
use std::path::Path;
use std::time::Instant;

use facelatch_boards::pixels::{Layout, PixelFormat, Range, to_rgb, yuyv_line, yuyv_line_plain};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{ImageFormat, RgbImage};

const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;
/// Quality of a webcam's JPEGs, about.
const QUALITY: u8 = 85;
const RUNS: usize = 300;

fn main() {
    // `cargo test --benches` passes this: there is nothing to be tested.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let photo = photo();
    println!("{WIDTH}x{HEIGHT} to RGB, median of {RUNS} runs");
    raw();
    jpeg(&photo);
}

fn raw() {
    for format in PixelFormat::ALL {
        let layout = layout(format);
        if let Some(length) = layout.frame_bytes() {
            let bytes = noise(length);
            report(
                &format.to_string(),
                median_ms(|| to_rgb(&bytes, &layout)),
                None,
            );
        }
    }
    let bytes = noise(WIDTH as usize * HEIGHT as usize * 2);
    let lines = |convert: fn(&[u8], &mut [u8], Range)| {
        median_ms(|| {
            let mut image = RgbImage::new(WIDTH, HEIGHT);
            let outs = image.chunks_exact_mut(WIDTH as usize * 3);
            for (line, out) in bytes.chunks_exact(WIDTH as usize * 2).zip(outs) {
                convert(black_box(line), out, Range::Limited);
            }
            image
        })
    };
    let fast = lines(yuyv_line);
    report(
        "YUYV, as the formula is written",
        lines(yuyv_line_plain),
        Some(fast),
    );
}

fn jpeg(photo: &RgbImage) {
    let mut bytes = vec![];
    let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    photo
        .write_with_encoder(encoder)
        .expect("encodes to memory");
    println!("MJPG of {} kB", bytes.len() / 1000);
    let layout = layout(PixelFormat::Mjpg);
    let ours = median_ms(|| to_rgb(&bytes, &layout));
    report("MJPG (image, which is zune-jpeg)", ours, None);
    let zune = median_ms(|| {
        zune_jpeg::JpegDecoder::new(Cursor::new(&bytes))
            .decode()
            .expect("a good JPEG")
    });
    report("MJPG, zune-jpeg alone", zune, Some(ours));
    let other = median_ms(|| {
        jpeg_decoder::Decoder::new(Cursor::new(&bytes))
            .decode()
            .expect("a good JPEG")
    });
    report("MJPG, jpeg-decoder", other, Some(ours));
}

fn report(what: &str, ms: f64, against: Option<f64>) {
    match against {
        Some(ours) => println!("{what:<40} {ms:>8.3} ms   {:.2} times ours", ms / ours),
        None => println!("{what:<40} {ms:>8.3} ms"),
    }
}

fn median_ms<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let began = Instant::now();
            black_box(work());
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[RUNS / 2]
}

fn layout(format: PixelFormat) -> Layout {
    Layout {
        format,
        range: Range::Limited,
        width: WIDTH,
        height: HEIGHT,
        stride: 0,
    }
}

fn noise(length: usize) -> Vec<u8> {
    let byte = |i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8;
    (0..length).map(byte).collect()
}

/// A photo of the workspace, as a camera would frame it.
fn photo() -> RgbImage {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("../tests/data/demo/visitors/obama3.jpg");
    let bytes = std::fs::read(path).expect("the workspace's photo");
    image::load_from_memory_with_format(&bytes, ImageFormat::Jpeg)
        .expect("a good JPEG")
        .resize_to_fill(WIDTH, HEIGHT, FilterType::Triangle)
        .into_rgb8()
}
