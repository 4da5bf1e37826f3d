//! A fact of yes or no that outlives the process, kept as an empty file: there for yes.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use crate::error::Error;

/// Keeps it on the disk. `doing` says what failed: "note the lockdown in".
pub(super) fn keep(data: &Path, file: &str, is_so: bool, doing: &'static str) -> Result<(), Error> {
    let path = data.join(file);
    let done = match is_so {
        true => File::create(&path).and_then(|file| file.sync_all()),
        false => match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => Ok(()),
        },
    };
    done.and_then(|()| File::open(data)?.sync_all())
        .map_err(Error::storage(doing, &path))
}
