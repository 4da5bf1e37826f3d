//! People learned once from the shipped photos with the real `facelatch`, and the bundle made of them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use facelatch_host::home::Home;
use tempfile::TempDir;

use crate::programs::{data, facelatch, run};

/// A workspace with the demo's two people enrolled and trained, and its bundle.
pub struct People {
    folder: TempDir,
}

impl People {
    /// The workspace.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A bundle with both people.
    pub fn bundle(&self) -> PathBuf {
        self.folder.path().join("both.flb")
    }

    /// A later bundle of the same people: another file, other bytes.
    pub fn next_bundle(&self) -> PathBuf {
        self.folder.path().join("next.flb")
    }
}

/// The people, prepared once a test program: networks take their time.
///
/// # Panics
/// If any step fails.
pub fn enrolled() -> &'static People {
    static PEOPLE: OnceLock<People> = OnceLock::new();
    PEOPLE.get_or_init(|| {
        let people = People {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        // Before the tests, which run side by side, could each make one.
        let keys = Home::new(&people.home()).keys();
        keys.host().expect("a new workspace");
        let photos = data("demo/enroll");
        must(&people.home(), &[Path::new("enroll"), &photos]);
        must(&people.home(), &[Path::new("train")]);
        for bundle in [people.bundle(), people.next_bundle()] {
            must(
                &people.home(),
                &[Path::new("pack"), Path::new("--out"), &bundle],
            );
        }
        people
    })
}

fn must(home: &Path, args: &[&Path]) {
    let ended = run(facelatch(home).args(args));
    assert_eq!(
        ended.code,
        Some(0),
        "facelatch {args:?}: {}{}",
        ended.out,
        ended.err
    );
}
