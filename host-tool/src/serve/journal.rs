//! What was changed through this server, by whom and when: one JSON object a line, only ever added to.
//!
//! ```text
//! HOME/serve-journal.jsonl     readable by its owner only
//! ```
//!
//! A door keeps its own, hash-chained record; this one adds the operator's name, which a door does not know. It is no
//! evidence against whoever may write the file.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Error, home::unix_ms_now};

const FILE: &str = "serve-journal.jsonl";
/// How much of the end is read to show entries, in bytes.
const TAIL: u64 = 1 << 20;

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct Entry {
    /// When, in milliseconds since 1970.
    pub(super) unix_ms: u64,
    /// Who says they did it; empty if nobody said.
    pub(super) operator: String,
    /// What.
    #[schema(example = "unlock")]
    pub(super) action: String,
    /// To what: a door's name, a dataset and person.
    pub(super) subject: String,
    /// Whether it was done; else why not.
    pub(super) outcome: String,
}

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

impl Journal {
    /// Opens it, or makes it.
    pub(super) fn open(home: &crate::home::Home) -> Result<Journal, Error> {
        crate::sealed::private_dir(home.dir())?;
        let path = home.dir().join(FILE);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::storage("open", &path))?;
        Ok(Journal {
            path,
            file: Mutex::new(file),
        })
    }

    /// Adds an entry; it is on disk when this returns.
    pub(super) fn add(
        &self,
        operator: &str,
        action: &str,
        subject: &str,
        outcome: &str,
    ) -> Result<(), Error> {
        let entry = Entry {
            unix_ms: unix_ms_now(),
            operator: operator.to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            outcome: outcome.to_owned(),
        };
        let mut line = serde_json::to_vec(&entry)
            .map_err(|error| Error::Bug(format!("an entry has no JSON form: {error}")))?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line)
            .and_then(|()| file.sync_data())
            .map_err(Error::storage("write", &self.path))
    }

    /// The last entries, the latest first; lines that cannot be read are passed over.
    pub(super) fn last(&self, most: usize) -> Result<Vec<Entry>, Error> {
        let read = || {
            let mut file = File::open(&self.path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
            BufReader::new(file)
                .split(b'\n')
                .collect::<std::io::Result<Vec<_>>>()
        };
        let lines = read().map_err(Error::storage("read", &self.path))?;
        let entries = lines
            .iter()
            .rev()
            .filter_map(|line| serde_json::from_slice(line).ok());
        Ok(entries.take(most).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_latest_first_and_one_cut_short_spoils_no_other() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let home = crate::home::Home::new(dir.path());
        let journal = Journal::open(&home).expect("writable");
        journal
            .add("ada", "unlock", "front", "done")
            .expect("writable");
        std::fs::OpenOptions::new()
            .append(true)
            .open(dir.path().join(FILE))
            .and_then(|mut file| file.write_all(b"{\"unix_ms\":1\n"))
            .expect("writable");
        journal
            .add("bob", "unlock", "front \"x\"\n", "refused")
            .expect("writable");
        let last = journal.last(9).expect("readable");
        let who: Vec<_> = last.iter().map(|entry| entry.operator.as_str()).collect();
        assert_eq!(who, ["bob", "ada"]);
        assert_eq!(last[0].subject, "front \"x\"\n");
        assert_eq!(journal.last(1).expect("readable").len(), 1);
    }
}
