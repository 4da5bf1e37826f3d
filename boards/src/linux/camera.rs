//! A Video4Linux camera: enumerates what the device offers, takes the best, streams through mapped buffers, gives the newest
//! frame.
//!
//! Silence longer than the board file's time-out and every device error mean that the camera is gone; `camera/reopening.rs`
//! opens it again. Which offer is the best is decided in `camera/choose.rs`.

pub(crate) mod survey;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use v4l::buffer::{Flags, Type};
use v4l::control::{Control, Value};
use v4l::format::{Colorspace, Quantization};
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::io::mmap::Stream;
use v4l::io::traits::CaptureStream;
use v4l::video::Capture as _;
use v4l::video::capture::Parameters;
use v4l::{Device, Format, FourCC};

use crate::Clock;
use crate::camera::choose::{Offer, Wish, choose, nearest_step};
use crate::camera::facts::V4lFacts;
use crate::camera::reopening::{Reopening, Shot, Source};
use crate::pixels::{Layout, PixelFormat, Range};

/// Enough that the driver never starves while one frame is being looked at.
const BUFFERS: u32 = 4;

/// From poll(2).
const POLLIN: i16 = 1;

/// From linux/v4l2-controls.h: who chooses the exposure, and its time in units of 100 us.
const EXPOSURE_AUTO: u32 = 0x009a_0901;
const EXPOSURE_ABSOLUTE: u32 = 0x009a_0902;
/// Values of the first: by hand; with a fixed aperture, as webcams have one; wholly by itself.
const EXPOSURE_MANUAL: i64 = 1;
const EXPOSURE_APERTURE_PRIORITY: i64 = 3;
const EXPOSURE_FULLY_AUTO: i64 = 0;

pub(crate) fn open(facts: &V4lFacts, clock: Arc<dyn Clock>) -> Reopening<V4lSource> {
    let (name, rotation) = (facts.device.display().to_string(), facts.rotation_deg);
    let facts = facts.clone();
    let open = Box::new(move || V4lSource::open(&facts));
    Reopening::new(name, rotation, clock, open)
}

/// A device that streams.
pub(crate) struct V4lSource {
    layout: Layout,
    /// `None` once it is closed.
    stream: Option<Stream<'static>>,
}

impl V4lSource {
    fn open(facts: &V4lFacts) -> Result<V4lSource, String> {
        let camera = Device::with_path(&facts.device).map_err(|e| e.to_string())?;
        let layout = negotiate(&camera, facts)?;
        // Some drivers cannot set a rate; the frames then come as they come.
        let rate = facts.frames_per_second;
        if let Err(e) = camera.set_params(&Parameters::with_fps(rate)) {
            log::warn!(
                "{}: cannot ask for {rate} frames a second: {e}",
                facts.device.display()
            );
        }
        expose(&camera, facts);
        let mut stream = Stream::with_buffers(&camera, Type::VideoCapture, BUFFERS)
            .map_err(|e| format!("no buffers for streaming: {e}"))?;
        stream.set_timeout(Duration::from_millis(u64::from(facts.timeout_ms)));
        Ok(V4lSource {
            layout,
            stream: Some(stream),
        })
    }

    /// Copies the newest frame into `raw`.
    ///
    /// Old frames wait in the buffers while nobody asks. They are drained; if all were full, the driver has stopped
    /// for want of buffers and even the last is old, so one more is waited for.
    fn read(&mut self, raw: &mut Vec<u8>) -> io::Result<Shot> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let handle = stream.handle();
        let mut drained = 0;
        loop {
            let waiting = handle.poll(POLLIN, 0)? > 0;
            let (bytes, about) = match stream.next() {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                    hold_again(stream)?;
                    continue;
                }
                other => other?,
            };
            drained += u32::from(waiting);
            let shot = match about.flags.contains(Flags::ERROR) {
                true => Shot::Damaged,
                false => Shot::Whole,
            };
            let used = usize::try_from(about.bytesused)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            raw.clear();
            raw.extend_from_slice(&bytes[..used]);
            let fresh = !waiting || drained < BUFFERS - 1;
            if fresh && handle.poll(POLLIN, 0)? == 0 {
                return Ok(shot);
            }
        }
    }
}

/// A signal came after the stream had given its buffer back to the driver: take one to hold again, or the next call
/// would give back what it does not have.
fn hold_again(stream: &mut Stream<'static>) -> io::Result<()> {
    loop {
        match CaptureStream::dequeue(stream) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|_| ()),
        }
    }
}

impl Source for V4lSource {
    fn newest(&mut self, raw: &mut Vec<u8>) -> Result<Shot, String> {
        self.read(raw).map_err(|e| match e.kind() {
            io::ErrorKind::TimedOut => "no frame within the time-out".to_string(),
            _ => e.to_string(),
        })
    }

    fn layout(&self) -> Layout {
        self.layout
    }
}

impl Drop for V4lSource {
    fn drop(&mut self) {
        let stream = self.stream.take();
        // The stream panics in drop when the driver refuses to stop. A lost camera must not take the daemon along.
        if catch_unwind(AssertUnwindSafe(|| drop(stream))).is_err() {
            log::warn!("the camera's driver refused to stop");
        }
    }
}

/// Sets the best format that the camera offers, and says what it then has.
fn negotiate(camera: &Device, facts: &V4lFacts) -> Result<Layout, String> {
    let wish = Wish {
        format: facts.pixel_format,
        width: facts.width_px,
        height: facts.height_px,
        rate: facts.frames_per_second,
    };
    let codes = codes(camera)?;
    let offers = offers(camera, &codes, &wish);
    let best = choose(&offers, &wish).ok_or_else(|| nothing_usable(&codes))?;
    let code = FourCC::new(&best.format.fourcc());
    let asked = Format::new(best.width, best.height, code);
    let got = camera
        .set_format(&asked)
        .map_err(|e| format!("{} {}x{} was refused: {e}", code, best.width, best.height))?;
    let layout = layout(&got).ok_or_else(|| format!("{} became {}", code, got.fourcc))?;
    if layout.width == 0 || layout.height == 0 {
        return Err(format!("{code} became a picture of no size"));
    }
    let device = facts.device.display();
    if (layout.width, layout.height) != (wish.width, wish.height) {
        log::warn!(
            "camera {device}: {}x{} was asked for",
            wish.width,
            wish.height
        );
    }
    if let Some(format) = wish.format.filter(|format| *format != layout.format) {
        log::warn!(
            "camera {device}: {format} was asked for, {} is what it has",
            layout.format
        );
    }
    Ok(layout)
}

/// What the driver enumerates.
fn codes(camera: &Device) -> Result<Vec<FourCC>, String> {
    let formats = camera
        .enum_formats()
        .map_err(|e| format!("not a capture device: {e}"))?;
    Ok(formats.into_iter().map(|format| format.fourcc).collect())
}

fn nothing_usable(codes: &[FourCC]) -> String {
    let names: Vec<String> = codes.iter().map(ToString::to_string).collect();
    let names = match names.is_empty() {
        true => "nothing".to_string(),
        false => names.join(", "),
    };
    format!(
        "it offers {names}, and no {}; a camera on the CSI connector gives raw data here: use kind = \"program\" for it",
        PixelFormat::ALL.map(|format| format.to_string()).join(", ")
    )
}

/// What of it we can read. A driver that does not say its sizes is asked for the wish.
fn offers(camera: &Device, codes: &[FourCC], wish: &Wish) -> Vec<Offer> {
    let ours = |code: &FourCC| format_of(*code).map(|format| (*code, format));
    let mut offers = vec![];
    for (code, format) in codes.iter().filter_map(ours) {
        let sizes = camera.enum_framesizes(code).unwrap_or_default();
        let mut sizes: Vec<_> = sizes.iter().map(|size| nearest(&size.size, wish)).collect();
        if sizes.is_empty() {
            sizes.push((wish.width, wish.height));
        }
        offers.extend(sizes.into_iter().map(|(width, height)| Offer {
            format,
            width,
            height,
            rate: fastest(camera, code, width, height),
        }));
    }
    offers
}

fn nearest(size: &FrameSizeEnum, wish: &Wish) -> (u32, u32) {
    match size {
        FrameSizeEnum::Discrete(size) => (size.width, size.height),
        FrameSizeEnum::Stepwise(s) => (
            nearest_step(s.min_width, s.max_width, s.step_width, wish.width),
            nearest_step(s.min_height, s.max_height, s.step_height, wish.height),
        ),
    }
}

/// The most frames a second, rounded up, if the driver tells.
fn fastest(camera: &Device, code: FourCC, width: u32, height: u32) -> Option<u32> {
    let intervals = camera.enum_frameintervals(code, width, height).ok()?;
    let shortest = intervals.iter().map(|interval| match &interval.interval {
        FrameIntervalEnum::Discrete(interval) => *interval,
        FrameIntervalEnum::Stepwise(interval) => interval.min,
    });
    shortest
        .filter(|interval| interval.numerator > 0)
        .map(|interval| interval.denominator.div_ceil(interval.numerator))
        .max()
}

/// Fixed, or left to the camera. A camera that cannot is used as it is.
fn expose(camera: &Device, facts: &V4lFacts) {
    let set = |id, value| {
        let value = Value::Integer(value);
        camera.set_control(Control { id, value })
    };
    let Some(exposure_us) = facts.exposure_us else {
        // Another program may have left it fixed. Which kind of automatic there is differs.
        let automatic = set(EXPOSURE_AUTO, EXPOSURE_APERTURE_PRIORITY)
            .or_else(|_| set(EXPOSURE_AUTO, EXPOSURE_FULLY_AUTO));
        if let Err(e) = automatic {
            log::debug!("{}: no automatic exposure: {e}", facts.device.display());
        }
        return;
    };
    let fixed = set(EXPOSURE_AUTO, EXPOSURE_MANUAL)
        .and_then(|()| set(EXPOSURE_ABSOLUTE, i64::from(exposure_us.div_ceil(100))));
    if let Err(e) = fixed {
        log::warn!("{}: exposure_us cannot be set: {e}", facts.device.display());
    }
}

fn format_of(code: FourCC) -> Option<PixelFormat> {
    PixelFormat::ALL
        .into_iter()
        .find(|format| format.fourcc() == code.repr)
}

fn layout(format: &Format) -> Option<Layout> {
    let pixels = format_of(format.fourcc)?;
    let range = match (format.quantization, format.colorspace, pixels) {
        (Quantization::FullRange, ..) => Range::Full,
        // Cameras without colour use the whole byte.
        (Quantization::Default, _, PixelFormat::Grey) => Range::Full,
        (Quantization::Default, Colorspace::JPEG, _) => Range::Full,
        (Quantization::LimitedRange | Quantization::Default, ..) => Range::Limited,
    };
    Some(Layout {
        format: pixels,
        range,
        width: format.width,
        height: format.height,
        stride: format.stride,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::facts::Rotation;
    use crate::{Camera, Error, SystemClock};

    #[test]
    fn the_driver_s_format_becomes_a_layout() {
        let mut format = Format::new(640, 480, FourCC::new(b"YUYV"));
        format.stride = 1312;
        let got = layout(&format).expect("a format of ours");
        assert_eq!(
            (got.format, got.range, got.stride),
            (PixelFormat::Yuyv, Range::Limited, 1312)
        );
        let range = |format: &Format| layout(format).expect("a format of ours").range;
        format.colorspace = Colorspace::JPEG;
        assert_eq!(range(&format), Range::Full);
        format.quantization = Quantization::LimitedRange;
        assert_eq!(range(&format), Range::Limited);
        let grey = Format::new(640, 480, FourCC::new(b"GREY"));
        assert_eq!(range(&grey), Range::Full);
        assert_eq!(layout(&Format::new(640, 480, FourCC::new(b"pBAA"))), None);
    }

    #[test]
    fn what_offers_nothing_usable_is_told_with_what_it_offers() {
        let said = nothing_usable(&[FourCC::new(b"pBAA"), FourCC::new(b"RG10")]);
        for part in ["pBAA, RG10", "YUYV, MJPG, NV12", "kind = \"program\""] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn what_is_no_camera_is_refused_with_its_name() {
        for device in ["/nonexistent/video9", "/dev/null"] {
            let facts = V4lFacts {
                device: device.into(),
                width_px: 640,
                height_px: 480,
                frames_per_second: 15,
                timeout_ms: 100,
                pixel_format: None,
                rotation_deg: Rotation::None,
                exposure_us: None,
            };
            match open(&facts, Arc::new(SystemClock::new())).next() {
                Err(Error::CameraUnusable { device: named, .. }) => assert_eq!(named, device),
                Err(other) => panic!("{other}"),
                Ok(_) => panic!("{device} opened"),
            }
        }
    }
}
