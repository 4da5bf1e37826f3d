//! Clips on disk: a folder of frames and what is known of it.
//!
//! ```text
//! DIR/tilted/0007/clip.toml     species, live or attack, synthetic or recorded, origin, order of turns, frame times
//! DIR/tilted/0007/000.jpg ...   the frames, in the order of their names
//! ```
//!
//! Recorded clips have the same layout, `synthetic = false` and any species' name. Written by `pad generate`, read by
//! `pad report`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use facelatch_models::liveness::challenge::Challenge;
use image::{RgbImage, codecs::jpeg::JpegEncoder};
use serde::{Deserialize, Serialize};

use crate::Error;

/// The file that describes a clip.
pub const CLIP_FILE: &str = "clip.toml";
/// Most frames of a clip.
pub const MOST_FRAMES: usize = 2000;
const JPEG_QUALITY: u8 = 90;

/// What is known of a clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipInfo {
    /// What is shown: also the name of the folder above.
    pub species: String,
    /// Whether it is a person; else an attack.
    pub live: bool,
    /// Whether it was rendered rather than recorded.
    pub synthetic: bool,
    /// Where it comes from: photo and seed, or camera and place.
    pub origin: String,
    /// The turns that were asked for; without them, the challenge is not measured on this clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<Challenge>,
    /// When each frame was taken, in milliseconds from the clip's begin, increasing.
    pub frame_ms: Vec<u32>,
}

impl ClipInfo {
    /// When each frame was taken.
    pub fn times(&self) -> impl Iterator<Item = Duration> + '_ {
        self.frame_ms
            .iter()
            .map(|&ms| Duration::from_millis(ms.into()))
    }
}

/// A clip on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// Its folder.
    pub dir: PathBuf,
    /// What is known of it.
    pub info: ClipInfo,
    /// Its frames, in order.
    pub frames: Vec<PathBuf>,
}

impl Clip {
    /// Writes a clip into a folder that is made for it.
    ///
    /// # Errors
    /// [`Error::Storage`], also where the folder has a clip already.
    pub fn write(
        dir: &Path,
        info: &ClipInfo,
        frames: impl Iterator<Item = RgbImage>,
    ) -> Result<(), Error> {
        fs::create_dir_all(dir).map_err(Error::storage("make", dir))?;
        for (i, frame) in frames.enumerate() {
            let mut bytes = Vec::new();
            JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY)
                .encode_image(&frame)
                .map_err(|error| Error::Bug(format!("a frame has no JPEG form: {error}")))?;
            let path = dir.join(format!("{i:03}.jpg"));
            fs::write(&path, bytes).map_err(Error::storage("write", path))?;
        }
        let text = toml::to_string(info)
            .map_err(|error| Error::Bug(format!("a clip has no TOML form: {error}")))?;
        // Last: a folder without it is no clip.
        let path = dir.join(CLIP_FILE);
        fs::write(&path, text).map_err(Error::storage("write", path))
    }

    fn open(dir: &Path) -> Result<Clip, Error> {
        let path = dir.join(CLIP_FILE);
        let wrong = |why: String| Error::Input {
            path: path.clone(),
            why,
        };
        let text = fs::read_to_string(&path).map_err(Error::storage("read", &path))?;
        let info: ClipInfo = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let above = dir.parent().and_then(Path::file_name);
        if above.is_none_or(|name| name != info.species.as_str()) {
            return Err(wrong(format!(
                "its species is {:?}, but its folder lies in another's; move it",
                info.species
            )));
        }
        let frames: Vec<PathBuf> = children(dir)?
            .into_iter()
            .filter(|path| path.file_name().is_some_and(|name| name != CLIP_FILE))
            .collect();
        if frames.is_empty() || frames.len() > MOST_FRAMES {
            return Err(wrong(format!(
                "there are {} frames beside it; a clip has 1 to {MOST_FRAMES}",
                frames.len()
            )));
        }
        if frames.len() != info.frame_ms.len() {
            return Err(wrong(format!(
                "it gives {} times for {} frames",
                info.frame_ms.len(),
                frames.len()
            )));
        }
        if !info.frame_ms.is_sorted_by(|a, b| a < b) {
            return Err(wrong("its frame times do not increase".into()));
        }
        Ok(Clip {
            dir: dir.to_owned(),
            info,
            frames,
        })
    }
}

/// All clips in a folder of species, sorted by species and name.
///
/// # Errors
/// [`Error::Layout`] if there is none, [`Error::Input`] for one that is not as it says, [`Error::Storage`].
pub fn clips(dir: &Path) -> Result<Vec<Clip>, Error> {
    let mut found = Vec::new();
    if dir.is_dir() {
        for species in children(dir)?.iter().filter(|path| path.is_dir()) {
            for clip in children(species)? {
                if clip.join(CLIP_FILE).is_file() {
                    found.push(Clip::open(&clip)?);
                }
            }
        }
    }
    if found.is_empty() {
        return Err(Error::Layout {
            dir: dir.to_owned(),
            why: "there are no clips: it should hold SPECIES/CLIP/clip.toml, as `facelatch pad generate` writes it".into(),
        });
    }
    Ok(found)
}

fn children(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = |error| Error::storage("read", dir)(error);
    let mut paths = fs::read_dir(dir)
        .map_err(read)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(read)?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(frame_ms: Vec<u32>) -> ClipInfo {
        ClipInfo {
            species: "still".into(),
            live: false,
            synthetic: true,
            origin: "a photo, seed 1".into(),
            challenge: Some(Challenge::draw(2, 0)),
            frame_ms,
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let info = info(vec![0, 125]);
        let frames = [RgbImage::new(16, 16), RgbImage::new(16, 16)];
        Clip::write(&dir.path().join("still/7"), &info, frames.into_iter()).unwrap();
        let found = clips(dir.path()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].info, info);
        assert_eq!(found[0].frames.len(), 2);
    }

    #[test]
    fn what_is_not_as_it_says_is_refused() {
        struct Case {
            what: &'static str,
            folder: &'static str,
            text: String,
            frames: usize,
        }
        let text = |ms| toml::to_string(&info(ms)).unwrap();
        let case = |what, folder, text, frames| Case {
            what,
            folder,
            text,
            frames,
        };
        let cases = [
            case("gives 2 times for 1", "still/1", text(vec![0, 125]), 1),
            case("there are 0 frames", "still/1", text(vec![]), 0),
            case("do not increase", "still/1", text(vec![125, 125]), 2),
            case("lies in another's", "bent/1", text(vec![0]), 1),
            case("missing field", "still/1", "species = \"still\"".into(), 1),
            case(
                "left",
                "still/1",
                text(vec![0]).replace("\"right\"", "\"left\""),
                1,
            ),
            case(
                "unknown field",
                "still/1",
                format!("colour = 1\n{}", text(vec![0])),
                1,
            ),
        ];
        let mut failures = vec![];
        for case in cases {
            let dir = tempfile::tempdir().unwrap();
            let clip = dir.path().join(case.folder);
            fs::create_dir_all(&clip).unwrap();
            fs::write(clip.join(CLIP_FILE), &case.text).unwrap();
            for i in 0..case.frames {
                fs::write(clip.join(format!("{i}.jpg")), "x").unwrap();
            }
            match clips(dir.path()) {
                Err(error) if error.to_string().contains(case.what) => {}
                other => failures.push(format!("{}: {other:?}", case.what)),
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
        assert!(clips(Path::new("/nowhere/at/all")).is_err());
    }
}
