//! Every photo that ships is the one its origin names, and every one has an origin.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use facelatch_tests::programs::data;
use sha2::{Digest, Sha256};

#[derive(serde::Deserialize)]
struct Origins {
    photo: Vec<Photo>,
}

#[derive(serde::Deserialize)]
struct Photo {
    file: String,
    sha256: String,
    licence: String,
}

#[test]
fn every_photo_is_what_its_origin_says() {
    let text = fs::read_to_string(data("origins.toml")).expect("the list of origins");
    let origins: Origins = toml::from_str(&text).expect("a list of photos");
    let mut failures = Vec::new();
    for photo in &origins.photo {
        let bytes = fs::read(data(&photo.file)).unwrap_or_default();
        let digest: String = Sha256::digest(&bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        if digest != photo.sha256 {
            failures.push(format!("{} has sha256 {digest}", photo.file));
        }
        if photo.licence.trim().is_empty() {
            failures.push(format!("{} has no licence", photo.file));
        }
    }
    let named: BTreeSet<String> = origins.photo.iter().map(|p| p.file.clone()).collect();
    let mut there = BTreeSet::new();
    photos(&data(""), &data(""), &mut there);
    for file in there.difference(&named) {
        failures.push(format!("{file} has no origin"));
    }
    assert!(there.len() >= 5, "photos were found: {there:?}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn photos(base: &Path, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            photos(base, &path, found);
        } else if path
            .extension()
            .is_some_and(|e| e != "toml" && e != "md" && e != "txt")
        {
            let name = path.strip_prefix(base).expect("below it");
            found.insert(name.to_string_lossy().into_owned());
        }
    }
}
