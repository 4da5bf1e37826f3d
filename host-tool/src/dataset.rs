//! A folder of photos, one folder a person: which photos show whom, and what is odd about the layout.
//!
//! ```text
//! DIR/ada_lovelace/1.jpg      a person; the folder's name is the person's
//! DIR/ada_lovelace/name.txt   optional: the name to show
//! DIR/none/visitor7.png       people nobody enrolled (any number of different ones)
//! ```
//!
//! Only names and first bytes are looked at; `embed` decodes. Called by `enroll`, `evaluate` and the open-set trial.

use std::{
    ffi::OsStr,
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::Error;

/// The folder of unknown people.
pub const NONE: &str = "none";
/// The file in a person's folder that holds the name to show.
pub const NAME_FILE: &str = "name.txt";

/// A dataset; people and photos are sorted by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dataset {
    /// The people, `none` not among them.
    pub people: Vec<PersonFolder>,
    /// Photos of unknown people.
    pub none: Vec<PathBuf>,
    /// What was left out, and why.
    pub oddities: Vec<Oddity>,
}

/// One person's photos.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonFolder {
    /// The folder's name.
    pub name: String,
    /// The name to show, if `name.txt` gives one.
    pub display_name: Option<String>,
    /// The photos.
    pub photos: Vec<PathBuf>,
}

/// Something in the folder that is not used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Oddity {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub kind: OddityKind,
}

/// What is odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OddityKind {
    /// A photo directly in the dataset's folder: nobody's.
    PhotoAtTop,
    /// A folder inside a person's folder.
    NestedFolder,
    /// A person's folder without photos.
    NoPhotos,
    /// A file that is no photo we read.
    NotAPhoto,
    /// An Apple HEIC or AVIF photo, which is not read.
    Heic,
    /// A name that is not UTF-8.
    UnreadableName,
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            OddityKind::PhotoAtTop => "lies outside any person's folder",
            OddityKind::NestedFolder => {
                "is a folder inside a person's folder; photos in it are not used"
            }
            OddityKind::NoPhotos => "holds no photos",
            OddityKind::NotAPhoto => "is not a JPEG, PNG, WebP or BMP photo",
            OddityKind::Heic => "is a HEIC or AVIF photo: convert it to JPEG",
            OddityKind::UnreadableName => "has a name that is not UTF-8: rename it",
        };
        write!(f, "{} {what}", self.path.display())
    }
}

impl Dataset {
    /// Reads the layout of `dir`.
    ///
    /// # Errors
    /// [`Error::Layout`] if `dir` is no folder or holds no person's folder with a photo; [`Error::Storage`].
    pub fn open(dir: &Path) -> Result<Dataset, Error> {
        let wrong = |why: String| Error::Layout {
            dir: dir.to_path_buf(),
            why,
        };
        match fs::metadata(dir) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => {
                return Err(wrong(
                    "is a file; name a folder with one folder per person".into(),
                ));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(wrong("no such folder".into()));
            }
            Err(error) => return Err(Error::storage("read", dir)(error)),
        }
        let mut dataset = Dataset::default();
        let mut photos_at_top = 0;
        for path in entries(dir)? {
            if path.is_dir() {
                dataset.add_folder(&path)?;
            } else {
                match photo_kind(&path)? {
                    FileKind::Photo => {
                        photos_at_top += 1;
                        dataset.odd(path, OddityKind::PhotoAtTop);
                    }
                    FileKind::Heic => dataset.odd(path, OddityKind::Heic),
                    // A list or a note beside the people's folders is nobody's business.
                    FileKind::Other => {}
                }
            }
        }
        if dataset.photos() == 0 {
            return Err(wrong(dataset.why_empty(photos_at_top)));
        }
        Ok(dataset)
    }

    /// Number of photos, `none` included.
    #[must_use]
    pub fn photos(&self) -> usize {
        self.none.len() + self.people.iter().map(|p| p.photos.len()).sum::<usize>()
    }

    /// All photos with whose they are (`None`: unknown people), people first, in name order.
    pub fn labelled(&self) -> impl Iterator<Item = (Option<&str>, &Path)> {
        let known = self.people.iter().flat_map(|p| {
            p.photos
                .iter()
                .map(move |photo| (Some(p.name.as_str()), photo.as_path()))
        });
        known.chain(self.none.iter().map(|photo| (None, photo.as_path())))
    }

    fn add_folder(&mut self, dir: &Path) -> Result<(), Error> {
        let Some(name) = dir.file_name().and_then(OsStr::to_str) else {
            self.odd(dir.to_path_buf(), OddityKind::UnreadableName);
            return Ok(());
        };
        let mut photos = Vec::new();
        let mut display_name = None;
        for path in entries(dir)? {
            if path.is_dir() {
                self.odd(path, OddityKind::NestedFolder);
            } else if path.file_name() == Some(OsStr::new(NAME_FILE)) {
                let text = fs::read_to_string(&path).map_err(Error::storage("read", &path))?;
                display_name = Some(text.trim().to_owned());
            } else {
                match photo_kind(&path)? {
                    FileKind::Photo => photos.push(path),
                    FileKind::Heic => self.odd(path, OddityKind::Heic),
                    FileKind::Other => self.odd(path, OddityKind::NotAPhoto),
                }
            }
        }
        if photos.is_empty() {
            self.odd(dir.to_path_buf(), OddityKind::NoPhotos);
        } else if name.eq_ignore_ascii_case(NONE) {
            self.none.append(&mut photos);
        } else {
            self.people.push(PersonFolder {
                name: name.to_owned(),
                display_name,
                photos,
            });
        }
        Ok(())
    }

    fn odd(&mut self, path: PathBuf, kind: OddityKind) {
        self.oddities.push(Oddity { path, kind });
    }

    fn why_empty(&self, photos_at_top: usize) -> String {
        let layout = "put each person's photos in a folder named after the person, such as \
                      ada_lovelace/1.jpg";
        if photos_at_top > 0 {
            return format!("{photos_at_top} photos lie directly in this folder; {layout}");
        }
        match self
            .oddities
            .iter()
            .find(|o| o.kind != OddityKind::NoPhotos)
        {
            Some(odd) => format!("no photos found ({odd}); {layout}"),
            None => format!("no photos found; {layout}"),
        }
    }
}

enum FileKind {
    Photo,
    Heic,
    Other,
}

/// By extension, else by the first bytes. A damaged or empty file with a photo's extension counts as a photo, so that
/// it is reported and not passed over.
fn photo_kind(path: &Path) -> Result<FileKind, Error> {
    let extension = path
        .extension()
        .and_then(OsStr::to_str)
        .map(str::to_ascii_lowercase);
    match extension.as_deref() {
        Some("jpg" | "jpeg" | "jpe" | "jfif" | "png" | "webp" | "bmp") => {
            return Ok(FileKind::Photo);
        }
        Some("heic" | "heif" | "avif") => return Ok(FileKind::Heic),
        Some(_) | None => {}
    }
    if !path.is_file() {
        return Ok(FileKind::Other);
    }
    let mut first = Vec::with_capacity(12);
    fs::File::open(path)
        .and_then(|file| file.take(12).read_to_end(&mut first))
        .map_err(Error::storage("read", path))?;
    let is_photo = first.starts_with(&[0xff, 0xd8, 0xff])
        || first.starts_with(b"\x89PNG")
        || (first.starts_with(b"RIFF") && first.ends_with(b"WEBP"));
    Ok(if is_photo {
        FileKind::Photo
    } else {
        FileKind::Other
    })
}

/// What a folder holds, sorted, hidden files and operating systems' leftovers not among it.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::storage("read", dir))? {
        let entry = entry.map_err(Error::storage("read", dir))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with('.')
            && name != "Thumbs.db"
            && name != "desktop.ini"
            && name != "__MACOSX"
        {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files; a trailing slash makes a folder.
    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("temporary folder");
        for file in files {
            let path = dir.path().join(file);
            if file.ends_with('/') {
                fs::create_dir_all(path).expect("folder");
            } else {
                fs::create_dir_all(path.parent().expect("inside the folder")).expect("folder");
                fs::write(path, b"x").expect("file");
            }
        }
        dir
    }

    #[test]
    fn wrong_layouts_say_what_to_do() {
        struct Case {
            files: &'static [&'static str],
            says: &'static str,
        }
        let cases = [
            Case {
                files: &[],
                says: "no photos found; put each person's photos in a folder",
            },
            Case {
                files: &["a.jpg", "b.png"],
                says: "2 photos lie directly in this folder",
            },
            Case {
                files: &["ada/"],
                says: "no photos found",
            },
            Case {
                files: &["set/ada/1.jpg"],
                says: "is a folder inside a person's folder",
            },
            Case {
                files: &["ada/1.heic"],
                says: "convert it to JPEG",
            },
            Case {
                files: &["ada/notes.txt"],
                says: "is not a JPEG",
            },
        ];
        let mut failures = Vec::new();
        for case in &cases {
            let dir = tree(case.files);
            match Dataset::open(dir.path()) {
                Ok(dataset) => failures.push(format!("{:?}: accepted {dataset:?}", case.files)),
                Err(error) if !error.to_string().contains(case.says) => {
                    failures.push(format!("{:?}: {error}", case.files));
                }
                Err(_) => {}
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
        assert!(matches!(
            Dataset::open(Path::new("/no/such/folder")),
            Err(Error::Layout { .. })
        ));
    }

    #[test]
    fn reads_people_none_and_oddities_in_name_order() {
        let dir = tree(&[
            "bob/2.JPG",
            "bob/1.jpeg",
            "bob/name.txt",
            "ada/1.png",
            "ada/.hidden.jpg",
            "ada/old/0.jpg",
            "None/x.webp",
            "empty/",
            "stray.jpg",
            "list.csv",
            "ada/notes.md",
            ".git/x",
        ]);
        fs::write(dir.path().join("ada/photo"), b"\xff\xd8\xff\xe0").expect("file");
        let dataset = Dataset::open(dir.path()).expect("well formed");
        let labelled: Vec<String> = dataset
            .labelled()
            .map(|(person, path)| {
                let file = path
                    .strip_prefix(dir.path())
                    .expect("inside")
                    .display()
                    .to_string();
                format!("{}={file}", person.unwrap_or("-"))
            })
            .collect();
        assert_eq!(
            labelled,
            [
                "ada=ada/1.png",
                "ada=ada/photo",
                "bob=bob/1.jpeg",
                "bob=bob/2.JPG",
                "-=None/x.webp"
            ]
        );
        assert_eq!(dataset.people[1].display_name.as_deref(), Some("x"));
        let kinds: Vec<_> = dataset.oddities.iter().map(|o| o.kind).collect();
        assert_eq!(
            kinds,
            [
                OddityKind::NotAPhoto,
                OddityKind::NestedFolder,
                OddityKind::NoPhotos,
                OddityKind::PhotoAtTop
            ]
        );
    }
}
