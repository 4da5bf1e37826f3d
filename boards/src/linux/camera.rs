//! A Video4Linux camera: negotiates a format we can read, streams through mapped buffers, gives the newest frame.
//!
//! Conversion to RGB is in `pixels.rs`. Silence longer than the board file's time-out and every device error mean the
//! camera is gone; a frame that does not convert is only that frame's loss.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use v4l::buffer::{Flags, Type};
use v4l::format::{Colorspace, Quantization};
use v4l::io::mmap::Stream;
use v4l::io::traits::CaptureStream;
use v4l::video::Capture as _;
use v4l::video::capture::Parameters;
use v4l::{Device, Format, FourCC};

use crate::pixels::{Layout, PixelFormat, Range, to_rgb};
use crate::{Camera, Capture, Clock, Error, Frame, V4lFacts};

/// Enough that the driver never starves while one frame is being looked at.
const BUFFERS: u32 = 4;

/// From poll(2).
const POLLIN: i16 = 1;

/// Above this many pixels, uncompressed video no longer fits a USB 2 bus at a useful rate.
const LARGEST_RAW_PX: u32 = 640 * 480;

pub(crate) struct V4lCamera {
    name: String,
    layout: Layout,
    /// `None` once the camera is gone.
    stream: Option<Stream<'static>>,
    /// The newest frame's bytes, copied out of the mapped buffer.
    raw: Vec<u8>,
    frames: u64,
    clock: Arc<dyn Clock>,
}

impl V4lCamera {
    pub(crate) fn open(facts: &V4lFacts, clock: Arc<dyn Clock>) -> Result<V4lCamera, Error> {
        let device = facts.device.display().to_string();
        let unusable = |problem: String| Error::CameraUnusable {
            device: device.clone(),
            problem,
        };
        let camera = Device::with_path(&facts.device).map_err(|e| unusable(e.to_string()))?;
        let format = negotiate(&camera, facts).map_err(&unusable)?;
        let layout = layout(&format);
        // Some drivers cannot set a rate; the frames then come as they come.
        if let Err(e) = camera.set_params(&Parameters::with_fps(facts.frames_per_second)) {
            log::warn!(
                "camera {device}: cannot ask for {} frames a second: {e}",
                facts.frames_per_second
            );
        }
        let mut stream = Stream::with_buffers(&camera, Type::VideoCapture, BUFFERS)
            .map_err(|e| unusable(format!("no buffers for streaming: {e}")))?;
        stream.set_timeout(Duration::from_millis(u64::from(facts.timeout_ms)));
        let name = format!(
            "{device}, {}x{} {}",
            layout.width, layout.height, format.fourcc
        );
        if (layout.width, layout.height) != (facts.width_px, facts.height_px) {
            log::warn!(
                "camera {name}: {}x{} was asked for",
                facts.width_px,
                facts.height_px
            );
        }
        Ok(V4lCamera {
            name,
            layout,
            stream: Some(stream),
            raw: Vec::new(),
            frames: 0,
            clock,
        })
    }

    /// Copies the newest frame into `raw`; `false` if the driver marks it as damaged.
    ///
    /// Old frames wait in the buffers while nobody asks. They are drained; if all were full, the driver has stopped
    /// for want of buffers and even the last is old, so one more is waited for.
    fn newest(&mut self) -> io::Result<bool> {
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
            let whole = !about.flags.contains(Flags::ERROR);
            let used = usize::try_from(about.bytesused)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            self.raw.clear();
            self.raw.extend_from_slice(&bytes[..used]);
            let fresh = !waiting || drained < BUFFERS - 1;
            if fresh && handle.poll(POLLIN, 0)? == 0 {
                return Ok(whole);
            }
        }
    }

    fn close(&mut self) {
        if let Some(stream) = self.stream.take() {
            // The stream panics in drop when the driver refuses to stop. A lost camera must not take the daemon along.
            if catch_unwind(AssertUnwindSafe(|| drop(stream))).is_err() {
                log::warn!("camera {}: its driver refused to stop", self.name);
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

impl Camera for V4lCamera {
    fn next(&mut self) -> Result<Capture, Error> {
        let whole = match self.newest() {
            Ok(whole) => whole,
            Err(e) => {
                self.close();
                let problem = match e.kind() {
                    io::ErrorKind::TimedOut => "no frame within the time-out".to_string(),
                    _ => e.to_string(),
                };
                return Err(Error::CameraLost {
                    device: self.name.clone(),
                    problem,
                });
            }
        };
        let at = self.clock.now();
        let frame = self.frames;
        self.frames += 1;
        let image = if whole {
            to_rgb(&self.raw, &self.layout)
        } else {
            Err("the driver marked it as damaged".to_string())
        };
        match image {
            Ok(image) => Ok(Capture::Frame(Frame {
                image,
                at,
                label: None,
            })),
            Err(problem) => Err(Error::FrameDamaged {
                device: self.name.clone(),
                frame,
                problem,
            }),
        }
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}

impl Drop for V4lCamera {
    fn drop(&mut self) {
        self.close();
    }
}

/// Sets the first format, in our order of liking, that the driver offers and keeps.
fn negotiate(camera: &Device, facts: &V4lFacts) -> Result<Format, String> {
    let offered = camera
        .enum_formats()
        .map_err(|e| format!("not a capture device: {e}"))?;
    for wanted in liking(facts.width_px * facts.height_px) {
        let code = fourcc(wanted);
        if offered.iter().all(|o| o.fourcc != code) {
            continue;
        }
        let asked = Format::new(facts.width_px, facts.height_px, code);
        let got = camera
            .set_format(&asked)
            .map_err(|e| format!("{code} was refused: {e}"))?;
        if got.fourcc == code && got.width > 0 && got.height > 0 {
            return Ok(got);
        }
    }
    let names: Vec<String> = offered.iter().map(|o| o.fourcc.to_string()).collect();
    Err(format!(
        "offers {} but no YUYV, MJPG or RGB3; a raw CSI sensor needs a converter in front, a USB camera does not",
        if names.is_empty() {
            "nothing".to_string()
        } else {
            names.join(", ")
        }
    ))
}

fn liking(pixels: u32) -> [PixelFormat; 3] {
    if pixels > LARGEST_RAW_PX {
        [PixelFormat::Mjpeg, PixelFormat::Yuyv, PixelFormat::Rgb3]
    } else {
        [PixelFormat::Yuyv, PixelFormat::Mjpeg, PixelFormat::Rgb3]
    }
}

fn fourcc(format: PixelFormat) -> FourCC {
    match format {
        PixelFormat::Yuyv => FourCC::new(b"YUYV"),
        PixelFormat::Mjpeg => FourCC::new(b"MJPG"),
        PixelFormat::Rgb3 => FourCC::new(b"RGB3"),
    }
}

fn layout(format: &Format) -> Layout {
    let pixels = [PixelFormat::Yuyv, PixelFormat::Mjpeg, PixelFormat::Rgb3]
        .into_iter()
        .find(|p| fourcc(*p) == format.fourcc);
    let range = match (format.quantization, format.colorspace) {
        (Quantization::FullRange, _) | (Quantization::Default, Colorspace::JPEG) => Range::Full,
        (Quantization::LimitedRange | Quantization::Default, _) => Range::Limited,
    };
    Layout {
        // `negotiate` returns one of the three.
        format: pixels.unwrap_or(PixelFormat::Yuyv),
        range,
        width: format.width,
        height: format.height,
        stride: format.stride,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemClock;

    #[test]
    fn small_frames_come_raw_and_large_ones_compressed() {
        assert_eq!(liking(640 * 480)[0], PixelFormat::Yuyv);
        assert_eq!(liking(1280 * 720)[0], PixelFormat::Mjpeg);
    }

    #[test]
    fn the_driver_s_format_becomes_a_layout() {
        let mut format = Format::new(640, 480, FourCC::new(b"YUYV"));
        format.stride = 1312;
        let got = layout(&format);
        assert_eq!(
            (got.format, got.range, got.stride),
            (PixelFormat::Yuyv, Range::Limited, 1312)
        );
        format.colorspace = Colorspace::JPEG;
        assert_eq!(layout(&format).range, Range::Full);
        format.quantization = Quantization::LimitedRange;
        assert_eq!(layout(&format).range, Range::Limited);
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
            };
            match V4lCamera::open(&facts, Arc::new(SystemClock::new())) {
                Err(Error::CameraUnusable { device: named, .. }) => assert_eq!(named, device),
                Err(other) => panic!("{other}"),
                Ok(_) => panic!("{device} opened"),
            }
        }
    }
}
