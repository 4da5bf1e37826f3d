//! Where the demo's photos are: people to enroll and visitors, shipped with their origins.
//!
//! ```text
//! demo/enroll/PERSON/*      photos to learn from
//! demo/visitors/*           photos of visitors; visitors.toml says who comes and what has to happen
//! ```

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::Error;

/// The photo `bench` puts into its frame: one frontal face.
pub const BENCH_PHOTO: &str = "enroll/eileen_collins/astronaut.png";

/// The photo of an enrolled person that is held up, and rendered as a head: one that looks straight ahead.
pub const HEAD_PHOTO: &str = "enroll/barack_obama/obama.jpg";

/// The folder: `tests/data/demo` below the current folder, `../share/facelatch/demo` beside the program, or the source
/// tree the program was built from.
///
/// # Errors
/// [`Error::NotReady`] naming every place looked at.
pub fn folder() -> Result<PathBuf, Error> {
    let program = env::current_exe().unwrap_or_default();
    let beside = program.parent().unwrap_or(Path::new("."));
    let places = [
        PathBuf::from("tests/data/demo"),
        beside.join("../share/facelatch/demo"),
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/demo"),
    ];
    if let Some(place) = places
        .iter()
        .find(|place| place.join(BENCH_PHOTO).is_file())
    {
        return Ok(place.clone());
    }
    let looked: Vec<String> = places
        .iter()
        .map(|place| place.display().to_string())
        .collect();
    Err(Error::NotReady(format!(
        "the demo's photos are in none of {}: run this in the source tree",
        looked.join(", ")
    )))
}
