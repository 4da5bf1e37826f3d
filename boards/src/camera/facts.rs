//! What a board file says of its camera. `file.rs` reads it; each kind has its driver.

use std::path::PathBuf;

use image::{RgbImage, imageops};
use serde::Deserialize;

use crate::pixels::PixelFormat;
use crate::replay::ReplayFacts;

/// More pixels a side than any camera of a door has.
const LARGEST_SIDE_PX: u32 = 8_192;

/// Where frames come from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum CameraFacts {
    /// Photos played as if a camera saw them.
    Replay(ReplayFacts),
    /// A Video4Linux device.
    V4l(V4lFacts),
    /// A program that writes frames to its standard output.
    Program(ProgramFacts),
}

/// A Video4Linux device.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct V4lFacts {
    /// Device node. The paths in `/dev/v4l/by-id` name the same camera wherever it is plugged in.
    pub device: PathBuf,
    /// Wanted width; the camera may have a neighbour only, which the log then says.
    pub width_px: u32,
    /// Wanted height.
    pub height_px: u32,
    /// Wanted rate.
    pub frames_per_second: u32,
    /// A camera silent for this long is gone.
    pub timeout_ms: u32,
    /// Wanted format; without it, or if the camera has none such, the best it has.
    pub pixel_format: Option<PixelFormat>,
    /// How far the picture has to be turned clockwise to be upright.
    #[serde(default)]
    pub rotation_deg: Rotation,
    /// Fixed exposure time; without it the camera chooses.
    pub exposure_us: Option<u32>,
}

/// A program that writes frames to its standard output, such as `rpicam-vid` for a camera on the CSI connector.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramFacts {
    /// Program and arguments, where `{width}`, `{height}` and `{rate}` stand for the values below; `rpicam-vid` without it.
    #[serde(default)]
    pub command: Vec<String>,
    /// What it writes.
    pub output: Output,
    /// Width of its frames.
    pub width_px: u32,
    /// Height of its frames.
    pub height_px: u32,
    /// Their rate.
    pub frames_per_second: u32,
    /// A program silent for this long is ended and started again.
    pub timeout_ms: u32,
    /// How far the picture has to be turned clockwise to be upright.
    #[serde(default)]
    pub rotation_deg: Rotation,
    /// Fixed exposure time; without it the camera chooses. Only for `rpicam-vid`: a `command` says it itself.
    pub exposure_us: Option<u32>,
}

/// What a program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// One JPEG after the other.
    Mjpg,
    /// Frames of YUV 4:2:0, full range, one after the other. Lines are not padded: the width is a multiple of 64.
    Yuv420,
}

/// Clockwise, in degrees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub enum Rotation {
    /// Upright as it comes.
    #[default]
    None,
    /// 90 degrees.
    Quarter,
    /// 180 degrees: a camera that hangs.
    Half,
    /// 270 degrees.
    ThreeQuarters,
}

impl TryFrom<u16> for Rotation {
    type Error = String;

    fn try_from(degrees: u16) -> Result<Rotation, String> {
        match degrees {
            0 => Ok(Rotation::None),
            90 => Ok(Rotation::Quarter),
            180 => Ok(Rotation::Half),
            270 => Ok(Rotation::ThreeQuarters),
            other => Err(format!("{other} is no rotation: give 0, 90, 180 or 270")),
        }
    }
}

impl Rotation {
    /// The picture, upright.
    #[must_use]
    pub fn upright(self, mut image: RgbImage) -> RgbImage {
        match self {
            Rotation::None => image,
            Rotation::Quarter => imageops::rotate90(&image),
            Rotation::Half => {
                imageops::rotate180_in_place(&mut image);
                image
            }
            Rotation::ThreeQuarters => imageops::rotate270(&image),
        }
    }
}

impl CameraFacts {
    /// How long the camera may be silent; photos never are.
    #[must_use]
    pub fn timeout_ms(&self) -> Option<u32> {
        match self {
            CameraFacts::Replay(_) => None,
            CameraFacts::V4l(v4l) => Some(v4l.timeout_ms),
            CameraFacts::Program(program) => Some(program.timeout_ms),
        }
    }

    /// Refuses what no camera could do.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            CameraFacts::Replay(replay) => replay.check(),
            CameraFacts::V4l(v4l) => {
                let sizes = [v4l.width_px, v4l.height_px];
                check_numbers(sizes, v4l.frames_per_second, v4l.timeout_ms)
            }
            CameraFacts::Program(program) => program.check(),
        }
    }
}

impl ProgramFacts {
    fn check(&self) -> Result<(), String> {
        let sizes = [self.width_px, self.height_px];
        check_numbers(sizes, self.frames_per_second, self.timeout_ms)?;
        if self.output == Output::Yuv420 && !self.width_px.is_multiple_of(64) {
            return Err(format!(
                "camera: width_px is {}: with output = \"yuv420\" give a multiple of 64, other lines come padded",
                self.width_px
            ));
        }
        if !self.command.is_empty() && self.exposure_us.is_some() {
            return Err("camera: exposure_us is for rpicam-vid: say it in the command".to_string());
        }
        Ok(())
    }

    /// The program and its arguments.
    pub(crate) fn command_line(&self) -> Vec<String> {
        let (width, height) = (self.width_px.to_string(), self.height_px.to_string());
        let rate = self.frames_per_second.to_string();
        if self.command.is_empty() {
            let codec = match self.output {
                Output::Mjpg => "mjpeg",
                Output::Yuv420 => "yuv420",
            };
            let line = format!(
                "rpicam-vid --nopreview --timeout 0 --codec {codec} --width {width} --height {height} --framerate {rate} \
                 --flush --output -"
            );
            let shutter = self.exposure_us.map(|us| format!("--shutter {us}"));
            let words = [line, shutter.unwrap_or_default()];
            let words = words.iter().flat_map(|line| line.split_whitespace());
            return words.map(str::to_string).collect();
        }
        let values = [("{width}", width), ("{height}", height), ("{rate}", rate)];
        let fill = |word: &String| {
            let fill = |word: String, (name, value): &(&str, String)| word.replace(name, value);
            values.iter().fold(word.clone(), fill)
        };
        self.command.iter().map(fill).collect()
    }
}

fn check_numbers(sizes: [u32; 2], rate: u32, timeout_ms: u32) -> Result<(), String> {
    let limits = [
        ("width_px", sizes[0], LARGEST_SIDE_PX),
        ("height_px", sizes[1], LARGEST_SIDE_PX),
        ("frames_per_second", rate, 1_000),
        ("timeout_ms", timeout_ms, 600_000),
    ];
    match limits
        .iter()
        .find(|(_, value, most)| !(1..=*most).contains(value))
    {
        Some((key, value, most)) => Err(format!(
            "camera: {key} is {value}: give a value in 1..={most}"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<CameraFacts, String> {
        let facts: CameraFacts = toml::from_str(text).map_err(|e| e.to_string())?;
        facts.check().map(|()| facts)
    }

    const PROGRAM: &str = "kind = \"program\"\noutput = \"mjpg\"\nwidth_px = 640\nheight_px = 480\n\
                           frames_per_second = 15\ntimeout_ms = 2000\n";
    const V4L: &str = "kind = \"v4l\"\ndevice = \"/dev/video0\"\nwidth_px = 640\nheight_px = 480\n\
                       frames_per_second = 15\ntimeout_ms = 2000\n";

    #[test]
    fn what_no_camera_can_do_is_refused() {
        let cases = [
            (PROGRAM.to_string(), ""),
            (V4L.to_string(), ""),
            (
                format!("{V4L}pixel_format = \"nv12\"\nrotation_deg = 180\nexposure_us = 5000"),
                "",
            ),
            (format!("{V4L}rotation_deg = 45"), "45 is no rotation"),
            (format!("{V4L}pixel_format = \"h264\""), "h264"),
            (V4L.replace("640", "0"), "width_px is 0"),
            (V4L.replace("480", "100000"), "height_px is 100000"),
            (V4L.replace("2000", "0"), "timeout_ms is 0"),
            (PROGRAM.replace("= 15", "= 0"), "frames_per_second is 0"),
            (
                format!("{PROGRAM}exposure_us = 1\ncommand = [\"x\"]"),
                "say it in the command",
            ),
            (
                PROGRAM.replace("mjpg", "yuv420").replace("640", "800"),
                "multiple of 64",
            ),
            (PROGRAM.replace("mjpg", "h264"), "h264"),
        ];
        let mut failures = vec![];
        for (text, says) in cases {
            let refused = parse(&text).err().unwrap_or_default();
            if refused.is_empty() != says.is_empty() || !refused.contains(says) {
                failures.push(format!("{text}: {refused:?}"));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn the_command_line_is_the_board_file_s_or_rpicam_vid_s() {
        let line = |text: &str| match parse(text) {
            Ok(CameraFacts::Program(program)) => program.command_line().join(" "),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            line(&format!("{PROGRAM}exposure_us = 5000")),
            "rpicam-vid --nopreview --timeout 0 --codec mjpeg --width 640 --height 480 --framerate 15 --flush \
             --output - --shutter 5000"
        );
        assert_eq!(
            line(&format!(
                "{PROGRAM}command = [\"cam\", \"{{width}}x{{height}}@{{rate}}\", \"a b\"]"
            )),
            "cam 640x480@15 a b"
        );
    }

    #[test]
    fn turned_pictures_stand_upright() {
        // Two pixels side by side, the left one red.
        let image = RgbImage::from_raw(2, 1, vec![255, 0, 0, 0, 0, 255]).expect("six bytes");
        let red_at = |rotation: u16| {
            let rotation = Rotation::try_from(rotation).expect("a rotation");
            let image = rotation.upright(image.clone());
            let is_red = |(_, _, p): &(u32, u32, &image::Rgb<u8>)| p.0[0] == 255;
            image
                .enumerate_pixels()
                .find(is_red)
                .map(|(x, y, _)| (image.dimensions(), x, y))
        };
        assert_eq!(red_at(0), Some(((2, 1), 0, 0)));
        assert_eq!(red_at(90), Some(((1, 2), 0, 0)));
        assert_eq!(red_at(180), Some(((2, 1), 1, 0)));
        assert_eq!(red_at(270), Some(((1, 2), 0, 1)));
    }
}
