//! A camera of raw bytes: opened when it is there, given up when it is lost, looked for again by the next call.
//!
//! Where the bytes come from is a [`Source`]. Conversion to RGB is in `pixels.rs`. A frame that does not convert is only that
//! frame's loss.

use std::sync::Arc;

use super::facts::Rotation;
use crate::pixels::{Layout, to_rgb};
use crate::{Camera, Capture, Clock, Error, Frame};

/// Where raw frames come from, while it is there.
pub(crate) trait Source: Send {
    /// The newest frame's bytes, into `raw`; waits for one up to the source's own time-out.
    ///
    /// # Errors
    ///
    /// Why the source is gone.
    fn newest(&mut self, raw: &mut Vec<u8>) -> Result<Shot, String>;

    /// What the bytes mean.
    fn layout(&self) -> Layout;
}

/// What the source says of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shot {
    Whole,
    /// The driver marks it so.
    #[cfg_attr(
        not(feature = "v4l"),
        allow(dead_code, reason = "only a driver says so")
    )]
    Damaged,
}

/// Opens the source, or says why it cannot be used.
pub(crate) type Open<S> = Box<dyn FnMut() -> Result<S, String> + Send>;

pub(crate) struct Reopening<S> {
    /// Device node or program.
    device: String,
    rotation: Rotation,
    clock: Arc<dyn Clock>,
    open: Open<S>,
    /// `None` while there is none.
    source: Option<S>,
    raw: Vec<u8>,
    frames: u64,
}

impl<S: Source> Reopening<S> {
    /// A camera that need not be there yet: a door without one still lets people out.
    pub(crate) fn new(
        device: String,
        rotation: Rotation,
        clock: Arc<dyn Clock>,
        open: Open<S>,
    ) -> Reopening<S> {
        let mut camera = Reopening {
            device,
            rotation,
            clock,
            open,
            source: None,
            raw: Vec::new(),
            frames: 0,
        };
        if let Err(error) = camera.source() {
            log::warn!("{error}");
        }
        camera
    }

    fn source(&mut self) -> Result<&mut S, Error> {
        let source = match self.source.take() {
            Some(source) => source,
            None => {
                let source = (self.open)().map_err(|problem| Error::CameraUnusable {
                    device: self.device.clone(),
                    problem,
                })?;
                log::info!("camera {}", named(&self.device, &source.layout()));
                source
            }
        };
        Ok(self.source.insert(source))
    }
}

#[cfg(test)]
impl<S> Reopening<S> {
    pub(super) fn source_for_tests(&self) -> &S {
        self.source.as_ref().expect("it is there")
    }
}

fn named(device: &str, layout: &Layout) -> String {
    let Layout { width, height, .. } = layout;
    format!("{device}, {width}x{height} {}", layout.format)
}

impl<S: Source> Camera for Reopening<S> {
    fn next(&mut self) -> Result<Capture, Error> {
        let mut raw = std::mem::take(&mut self.raw);
        let source = self.source()?;
        let (shot, layout) = (source.newest(&mut raw), source.layout());
        self.raw = raw;
        let shot = match shot {
            Ok(shot) => shot,
            Err(problem) => {
                self.source = None;
                return Err(Error::CameraLost {
                    device: self.device.clone(),
                    problem,
                });
            }
        };
        let at = self.clock.now();
        let frame = self.frames;
        self.frames += 1;
        let image = match shot {
            Shot::Whole => to_rgb(&self.raw, &layout),
            Shot::Damaged => Err("the driver marked it as damaged".to_string()),
        };
        match image {
            Ok(image) => Ok(Capture::Frame(Frame {
                image: self.rotation.upright(image),
                at,
                label: None,
            })),
            Err(problem) => Err(Error::FrameDamaged {
                device: self.device.clone(),
                frame,
                problem,
            }),
        }
    }

    fn describe(&self) -> String {
        match &self.source {
            Some(source) => named(&self.device, &source.layout()),
            None => format!("{}, not there", self.device),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::SystemClock;
    use crate::pixels::{PixelFormat, Range};

    /// Gives what it was told to, then is gone.
    struct Fake(VecDeque<Result<Shot, String>>);

    impl Source for Fake {
        fn newest(&mut self, raw: &mut Vec<u8>) -> Result<Shot, String> {
            *raw = vec![1, 2, 3, 4, 5, 6];
            let gone = || Err("unplugged".to_string());
            self.0.pop_front().unwrap_or_else(gone)
        }

        fn layout(&self) -> Layout {
            Layout {
                format: PixelFormat::Rgb3,
                range: Range::Full,
                width: 2,
                height: 1,
                stride: 0,
            }
        }
    }

    fn said(camera: &mut impl Camera) -> String {
        match camera.next() {
            Ok(Capture::Frame(frame)) => format!("{:?}", frame.image.dimensions()),
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_lost_camera_is_looked_for_by_every_call_and_comes_back() {
        let whole = || Ok(Shot::Whole);
        let mut plugged = VecDeque::from([
            Err("no such device".to_string()),
            Ok(vec![whole(), Ok(Shot::Damaged), whole()]),
            Err("no such device".to_string()),
            Ok(vec![whole()]),
        ]);
        let open = move || {
            let next = plugged.pop_front().unwrap_or(Err("over".to_string()));
            next.map(|frames| Fake(frames.into()))
        };
        let clock = Arc::new(SystemClock::new());
        let mut camera =
            Reopening::new("cam".to_string(), Rotation::Quarter, clock, Box::new(open));
        assert_eq!(camera.describe(), "cam, not there");
        let want = [
            "(1, 2)",
            "camera cam: frame 1 is damaged: the driver marked it as damaged",
            "(1, 2)",
            "camera cam is gone: unplugged",
            "camera cam: no such device",
            "(1, 2)",
            "camera cam is gone: unplugged",
            "camera cam: over",
        ];
        let got: Vec<String> = want.iter().map(|_| said(&mut camera)).collect();
        assert_eq!(got, want);
    }
}
