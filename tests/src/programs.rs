//! The real programs, `facelatch` and `facelatchd`, built as the tests were.
//!
//! Cargo gives the paths of programs only to tests of their own package. These tests sit in
//! `target/PROFILE/deps`, the programs two folders up; they are brought up to date once a test program, which takes a
//! fraction of a second when nothing changed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The path of a program of this workspace.
///
/// # Panics
/// If the programs cannot be built.
pub fn program(name: &str) -> PathBuf {
    folder().join(name)
}

/// `target/PROFILE`, with the programs in it up to date.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let test = std::env::current_exe().expect("a running test has a path");
        let folder = test
            .ancestors()
            .nth(2)
            .expect("tests are in target/PROFILE/deps")
            .to_path_buf();
        let target = folder
            .parent()
            .expect("a profile's folder is in the target folder");
        let profile = match folder.file_name().and_then(OsStr::to_str) {
            Some("debug") => "dev",
            Some(profile) => profile,
            None => panic!("{} names no profile", folder.display()),
        };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args([
                "build",
                "--quiet",
                "--workspace",
                "--bins",
                "--profile",
                profile,
                "--target-dir",
            ])
            .arg(target)
            .current_dir(root())
            .status()
            .expect("cargo runs");
        assert!(built.success(), "the programs do not build");
        folder
    })
}

/// The folder of the whole repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the repository")
        .to_path_buf()
}

/// A photo or folder under `tests/data`.
pub fn data(path: &str) -> PathBuf {
    root().join("tests/data").join(path)
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it complained about.
    pub err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        Ended {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// `facelatch` with its workspace in `home`, ready for more arguments.
pub fn facelatch(home: &Path) -> Command {
    let mut command = Command::new(program("facelatch"));
    command
        .arg("--home")
        .arg(home)
        .env("XDG_CACHE_HOME", cache())
        .current_dir(root())
        .stdin(Stdio::null());
    command
}

/// Where the programs' caches go in tests: plans of networks are compiled once for all of them.
pub fn cache() -> PathBuf {
    folder().with_file_name("tmp")
}

/// Runs a program to its end.
///
/// # Panics
/// If it cannot be started.
pub fn run(command: &mut Command) -> Ended {
    command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"))
        .into()
}

/// The same command, but no file it writes may grow beyond `kib` KiB: what a full disk is to a program (`EFBIG` where a
/// disk says `ENOSPC`). A shell sets the limit, so that no test needs `unsafe`.
pub fn on_a_full_disk(command: &Command, kib: u32) -> Command {
    let mut limited = Command::new("bash");
    let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$@\"");
    limited
        .arg("-c")
        .arg(script)
        .arg("bash")
        .arg(command.get_program())
        .args(command.get_args());
    limited.current_dir(root()).stdin(Stdio::null());
    limited
}
