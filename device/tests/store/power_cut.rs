//! A disk in memory that fails or loses power at any operation, for the store's tests.

use std::{
    collections::BTreeMap,
    io::{self, Cursor},
    sync::{Arc, Mutex, MutexGuard},
};

use facelatch_device::store::disk::{Disk, ReadSeek};

/// How an operation fails, half done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Failure {
    /// This one only: a full disk that is cleared, a loose contact.
    Once,
    /// This and all later ones: power is about to go.
    ForGood,
}

/// What a power cut takes of what was not synced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    Nothing,
    AllUnsynced,
    /// Names are journalled first: a renamed file may come back empty.
    DataOnly,
    NamesOnly,
    /// Renames reach the disk out of order: the state's before those of what it names.
    AllNamesButTheState,
    /// Lengths reach the disk before the bytes do: what was not synced is zeros.
    Zeros,
}

impl Cut {
    pub(crate) const ALL: [Cut; 6] = [
        Cut::Nothing,
        Cut::AllUnsynced,
        Cut::DataOnly,
        Cut::NamesOnly,
        Cut::AllNamesButTheState,
        Cut::Zeros,
    ];
}

/// A disk in memory that tells written from synced, and can fail at any changing operation.
#[derive(Clone)]
pub(crate) struct PowerCutDisk(Arc<Mutex<State>>);

#[derive(Clone)]
pub(crate) struct State {
    files: Vec<Content>,
    pub(crate) names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    pub(crate) operations: usize,
    failure: Option<(usize, Failure)>,
    pub(crate) free: u64,
    /// A file that cannot be read.
    pub(crate) unreadable: Option<String>,
}

#[derive(Clone, Default)]
struct Content {
    written: Vec<u8>,
    synced: Vec<u8>,
}

impl PowerCutDisk {
    pub(crate) fn new() -> PowerCutDisk {
        PowerCutDisk(Arc::new(Mutex::new(State {
            files: Vec::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            operations: 0,
            failure: None,
            free: u64::MAX,
            unreadable: None,
        })))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Counted from now on.
    pub(crate) fn fail_at(&self, operation: usize, failure: Failure) {
        let mut state = self.state();
        state.failure = Some((state.operations + operation, failure));
    }

    /// The disk as the next start finds it.
    pub(crate) fn cut(&self, cut: Cut) -> PowerCutDisk {
        let mut state = self.state().clone();
        state.failure = None;
        if matches!(cut, Cut::AllUnsynced | Cut::DataOnly) {
            state
                .files
                .iter_mut()
                .for_each(|file| file.written = file.synced.clone());
        }
        if matches!(cut, Cut::AllUnsynced | Cut::NamesOnly) {
            state.names = state.synced_names.clone();
        }
        if let Cut::Zeros = cut {
            for file in &mut state.files {
                let len = file.written.len();
                file.written = file.synced.clone();
                file.written.resize(len, 0);
            }
        }
        if let Cut::AllNamesButTheState = cut {
            let copies = ["state", "state.copy"].map(|name| state.names.remove_entry(name));
            state.names = state.synced_names.clone();
            state.names.extend(copies.into_iter().flatten());
        }
        PowerCutDisk(Arc::new(Mutex::new(state)))
    }
}

impl State {
    /// Counts a changing operation; true if it is to fail.
    fn fails(&mut self) -> bool {
        let this = self.operations;
        self.operations += 1;
        match self.failure {
            Some((at, Failure::Once)) => at == this,
            Some((at, Failure::ForGood)) => at <= this,
            None => false,
        }
    }

    fn done(&mut self, change: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        if self.fails() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        change(self)
    }

    fn file(&mut self, name: &str) -> io::Result<&mut Content> {
        match self.names.get(name) {
            Some(&index) => Ok(&mut self.files[index]),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Disk for PowerCutDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        Ok(self
            .state()
            .file(name)
            .ok()
            .map(|file| file.written.len() as u64))
    }

    fn reader(&self, name: &str) -> io::Result<Box<dyn ReadSeek>> {
        if self.state().unreadable.as_deref() == Some(name) {
            return Err(io::Error::other("bad sector"));
        }
        Ok(Box::new(Cursor::new(
            self.state().file(name)?.written.clone(),
        )))
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.state();
        let fails = state.fails();
        let kept = if fails {
            &bytes[..bytes.len() / 2]
        } else {
            bytes
        };
        if !state.names.contains_key(name) {
            state.names.insert(name.to_owned(), state.files.len());
            state.files.push(Content::default());
        }
        let file = &mut state.file(name)?.written;
        let (start, end) = (offset as usize, offset as usize + kept.len());
        file.resize(file.len().max(end), 0);
        file[start..end].copy_from_slice(kept);
        if fails {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.state().done(|state| {
            state.file(name)?.written.resize(len as usize, 0);
            Ok(())
        })
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.state().done(|state| {
            let file = state.file(name)?;
            file.synced = file.written.clone();
            Ok(())
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.state().done(|state| {
            let index = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(to.to_owned(), index);
            Ok(())
        })
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.state().done(|state| {
            state.synced_names = state.names.clone();
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.state().done(|state| {
            state
                .names
                .remove(name)
                .map(|_| ())
                .ok_or(io::ErrorKind::NotFound.into())
        })
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.state().free)
    }
}
