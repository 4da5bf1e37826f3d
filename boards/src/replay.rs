//! What a replay plays: a folder of photos in order of name, or the list in its `replay.toml`.
//!
//! This file reads names and numbers only; `sim/camera.rs` opens the photos, one at a time, when their turn comes.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Error;
use crate::nearest::with_hint;

const PHOTO_ENDINGS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "bmp"];

/// How photos are played as frames.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayFacts {
    /// Photos to play; without it the camera waits for visitors that are sent to it.
    pub folder: Option<PathBuf>,
    /// A photo wider than this is scaled down, keeping its shape; never up.
    pub width_px: u32,
    /// A photo higher than this is scaled down.
    pub height_px: u32,
    /// Time between two frames.
    pub frame_interval_ms: u32,
    /// How many frames show each photo, unless `replay.toml` says otherwise.
    pub frames_per_photo: u32,
    /// How many frames lie between two photos.
    pub gap_frames: u32,
    /// What those frames show.
    pub gap: Gap,
    /// What happens after the last photo.
    pub at_end: AtEnd,
}

/// What the camera shows between two visitors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gap {
    /// A plain wall, nobody in front of it.
    Wall,
    /// No frame at all: time passes, the camera says it is waiting.
    Nothing,
}

/// What happens after the last photo of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AtEnd {
    /// The camera has ended.
    Stop,
    /// From the start again.
    Loop,
    /// The camera waits; visitors can still be sent to it.
    Wait,
}

/// `replay.toml` in a folder of photos: who is shown, in which order and for how long.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayFile {
    #[serde(default)]
    visitor: Vec<Scene>,
}

/// One photo and how it is shown.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    /// File name inside the folder.
    pub(crate) photo: PathBuf,
    /// How many frames show it.
    pub(crate) frames: Option<u32>,
    /// Factor on every pixel value: 0.1 is a dark evening.
    #[serde(default = "unchanged")]
    pub(crate) brightness: f32,
    /// Who it is, for records; the photo's name without ending if not given.
    pub(crate) label: Option<String>,
}

fn unchanged() -> f32 {
    1.0
}

impl ReplayFacts {
    /// Refuses sizes and counts that could never show a frame.
    pub(crate) fn check(&self) -> Result<(), String> {
        let at_least_one = [
            ("width_px", self.width_px),
            ("height_px", self.height_px),
            ("frame_interval_ms", self.frame_interval_ms),
            ("frames_per_photo", self.frames_per_photo),
        ];
        match at_least_one.iter().find(|(_, value)| *value == 0) {
            Some((key, _)) => Err(format!("camera: {key} is 0; it must be at least 1")),
            None => Ok(()),
        }
    }
}

/// The scenes of a folder, photos as full paths.
///
/// # Errors
///
/// [`Error::Replay`]: the folder cannot be read, holds no photo, or its `replay.toml` is wrong.
pub(crate) fn scenes(folder: &Path) -> Result<Vec<Scene>, Error> {
    let list = folder.join("replay.toml");
    let scenes = match fs::read_to_string(&list) {
        Ok(text) => listed(&text, folder, &list)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => found(folder)?,
        Err(e) => return Err(wrong(&list, e.to_string())),
    };
    if scenes.is_empty() {
        return Err(wrong(
            folder,
            format!(
                "no photos in it; put in some ending in .{}",
                PHOTO_ENDINGS.join(", .")
            ),
        ));
    }
    Ok(scenes)
}

fn listed(text: &str, folder: &Path, list: &Path) -> Result<Vec<Scene>, Error> {
    let file: ReplayFile =
        toml::from_str(text).map_err(|e| wrong(list, with_hint(&e.to_string())))?;
    let mut scenes = file.visitor;
    for scene in &mut scenes {
        if scene.frames == Some(0) {
            return Err(wrong(
                list,
                format!("{}: frames is 0", scene.photo.display()),
            ));
        }
        if !(scene.brightness.is_finite() && scene.brightness >= 0.0) {
            return Err(wrong(
                list,
                format!("{}: brightness must be 0 or more", scene.photo.display()),
            ));
        }
        let path = folder.join(&scene.photo);
        if !path.is_file() {
            return Err(wrong(
                list,
                format!("no photo {} beside it", scene.photo.display()),
            ));
        }
        scene.photo = path;
    }
    Ok(scenes)
}

fn found(folder: &Path) -> Result<Vec<Scene>, Error> {
    let entries = fs::read_dir(folder).map_err(|e| wrong(folder, e.to_string()))?;
    let mut photos = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| wrong(folder, e.to_string()))?.path();
        let ending = path
            .extension()
            .and_then(|e| e.to_str())
            .map(str::to_ascii_lowercase);
        if ending.is_some_and(|e| PHOTO_ENDINGS.contains(&e.as_str())) && path.is_file() {
            photos.push(path);
        }
    }
    photos.sort();
    Ok(photos
        .into_iter()
        .map(|photo| Scene {
            photo,
            frames: None,
            brightness: 1.0,
            label: None,
        })
        .collect())
}

fn wrong(path: &Path, problem: String) -> Error {
    Error::Replay {
        path: path.to_path_buf(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_plays_its_photos_in_order_of_name() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for name in ["b.png", "a.JPG", "notes.txt", "c.webp"] {
            fs::write(dir.path().join(name), b"x").expect("a small file");
        }
        let names: Vec<_> = scenes(dir.path())
            .expect("three photos")
            .iter()
            .map(|s| {
                s.photo
                    .file_name()
                    .expect("a file")
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        assert_eq!(names, ["a.JPG", "b.png", "c.webp"]);
    }

    #[test]
    fn a_list_says_who_when_and_how_bright() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::write(dir.path().join("a.jpg"), b"x").expect("a small file");
        let list = "[[visitor]]\nphoto = \"a.jpg\"\nframes = 3\nbrightness = 0.1\nlabel = \"night\"\n\
                    [[visitor]]\nphoto = \"a.jpg\"\n";
        fs::write(dir.path().join("replay.toml"), list).expect("a small file");
        let scenes = scenes(dir.path()).expect("two scenes");
        assert_eq!(scenes.len(), 2);
        assert_eq!(scenes[0].frames, Some(3));
        assert_eq!(scenes[0].brightness, 0.1);
        assert_eq!(scenes[0].label.as_deref(), Some("night"));
        assert_eq!(
            scenes[1],
            Scene {
                photo: dir.path().join("a.jpg"),
                frames: None,
                brightness: 1.0,
                label: None
            }
        );
    }

    #[test]
    fn wrong_folders_and_lists_are_refused() {
        let cases = [
            (
                "missing photo",
                "[[visitor]]\nphoto = \"b.jpg\"\n",
                "no photo b.jpg",
            ),
            (
                "mistyped key",
                "[[visitor]]\nphot = \"a.jpg\"\n",
                "did you mean `photo`?",
            ),
            (
                "no frames",
                "[[visitor]]\nphoto = \"a.jpg\"\nframes = 0\n",
                "frames is 0",
            ),
            (
                "negative light",
                "[[visitor]]\nphoto = \"a.jpg\"\nbrightness = -1.0\n",
                "brightness",
            ),
            ("empty list", "", "no photos"),
        ];
        let mut failures = Vec::new();
        for (name, list, says) in cases {
            let dir = tempfile::tempdir().expect("a temporary folder");
            fs::write(dir.path().join("a.jpg"), b"x").expect("a small file");
            fs::write(dir.path().join("replay.toml"), list).expect("a small file");
            match scenes(dir.path()) {
                Err(e) if e.to_string().contains(says) => {}
                other => failures.push(format!("{name}: {other:?}")),
            }
        }
        let missing = scenes(Path::new("/nonexistent/photos"));
        if !matches!(missing, Err(Error::Replay { .. })) {
            failures.push(format!("missing folder: {missing:?}"));
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
}
