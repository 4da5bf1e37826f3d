//! Receiving a bundle: its head is judged before anything is taken, then come the parts that are not there yet, then all of
//! it is checked. One bundle at a time; the file `offered` remembers which.
//!
//! What becomes of a checked bundle is `store`'s. Called by the link's handlers and by `swap`.

use std::io;

use facelatch_protocol::{
    BundleFault, BundleId, Digest, Staging, TrustedKeys,
    bundle::{Head, MAX_HEAD, Manifest, Part},
};

use super::{
    Candidate, Error, RESERVE_BYTES, Store,
    bundle::head_name,
    disk::{Disk, read_small, replace},
    parts::{Arrived, Found, PartFile},
    signature,
};

/// The head of the bundle being received.
pub(super) const OFFERED: &str = "offered";

/// A bundle being received.
pub(super) struct Incoming {
    pub(super) id: BundleId,
    head: Vec<u8>,
    manifest: Manifest,
    /// In the manifest's order. Only the first of several parts that share a file counts.
    files: Vec<Coming>,
    /// Everything was there when it was last checked.
    pub(super) is_verified: bool,
}

/// A part being received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coming {
    pub(super) file: PartFile,
    arrived: Arrived,
    is_whole: bool,
}

impl Coming {
    fn held(&self) -> u64 {
        if self.is_whole {
            self.file.len
        } else {
            self.arrived.len
        }
    }
}

impl Incoming {
    pub(super) fn progress(&self) -> Staging {
        let held = |index| self.files[self.first(index)].held();
        Staging {
            // The manifest was consistent when it was parsed.
            size: self.manifest.parts_len().unwrap_or(u64::MAX),
            sha256: self.id.digest,
            received: (0..self.files.len()).map(held).sum(),
        }
    }

    /// The files its parts are kept in.
    pub(super) fn files(&self) -> impl Iterator<Item = PartFile> {
        self.files.iter().map(|coming| coming.file)
    }

    /// The first part that shares this one's file. Its bytes are the ones that are sent.
    fn first(&self, index: usize) -> usize {
        let file = self.files[index].file;
        let shares = |coming: &Coming| coming.file == file;
        self.files.iter().position(shares).unwrap_or(index)
    }

    /// Bytes of each part that need not be sent.
    fn held(&self) -> Vec<u64> {
        let held = |(index, coming): (usize, &Coming)| match self.first(index) {
            first if first == index => coming.held(),
            _ => coming.file.len,
        };
        self.files.iter().enumerate().map(held).collect()
    }

    /// Bytes that are still to come.
    fn missing(&self) -> u64 {
        let held: u64 = self.held().iter().sum();
        self.progress().size - held
    }

    /// Forgets that these personal parts are there.
    pub(super) fn forget(&mut self, forgotten: &[PartFile]) {
        for coming in &mut self.files {
            if forgotten.contains(&coming.file) {
                self.is_verified = false;
                (coming.arrived, coming.is_whole) = (Arrived::default(), false);
            }
        }
    }
}

impl<D: Disk> Store<D> {
    /// Judges a bundle's head, and starts receiving the bundle, or goes on with it if it is the one begun before. Another
    /// one that was being received is forgotten; parts that are whole and named by this one too stay.
    ///
    /// Returns how many bytes of each part need not be sent, in the manifest's order: all of them if this bundle is active
    /// or on trial; then nothing is received, and [`Store::progress`] names no staging.
    ///
    /// # Errors
    /// [`Error::Bundle`] for a head that is damaged, not rightly signed, or older than the highest counter;
    /// [`Error::TooLarge`], [`Error::NoSpace`], [`Error::Storage`]. Then nothing was changed.
    pub fn offer(&mut self, head: &[u8], trusted: Option<&TrustedKeys>) -> Result<Vec<u64>, Error> {
        self.settle()?;
        let (id, manifest) = self.judge(head, trusted)?;
        if self.is_running(id.digest) {
            self.abort();
            return Ok(manifest.parts.iter().map(|part| part.len).collect());
        }
        let incoming = self.look(head, id, manifest, Self::find_whole)?;
        self.check_space(incoming.missing())?;
        let failed = Error::storage("start receiving a bundle");
        if self.incoming.as_ref().is_none_or(|now| now.head != head) {
            replace(&mut self.disk, OFFERED, head).map_err(failed)?;
        }
        self.incoming = Some(incoming);
        self.collect_garbage();
        self.finish_arrived()?;
        let held = self.incoming.as_ref().map(Incoming::held);
        held.ok_or(Error::NotStaging)
    }

    /// Takes the next bytes of a part. With its last byte, the part is checked.
    ///
    /// # Errors
    /// [`Error::NotStaging`], [`Error::UnknownPart`], [`Error::Offset`], [`Error::NoSpace`], [`Error::Storage`]: then the
    /// part stands where it stood, and the same bytes may be sent again. [`Error::Bundle`] if these were the last bytes of a
    /// part, and it is not the one the manifest names: then it is forgotten, to be sent from its start.
    pub fn part_chunk(&mut self, part: usize, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let incoming = self.incoming.as_mut().ok_or(Error::NotStaging)?;
        let parts = incoming.files.len();
        if part >= parts {
            return Err(Error::UnknownPart { part, parts });
        }
        let first = incoming.first(part);
        let coming = incoming.files[first];
        let end = offset.checked_add(bytes.len() as u64);
        let fits = end.is_some_and(|end| offset == coming.held() && end <= coming.file.len);
        if !fits {
            let (found, expected) = (offset, coming.held());
            return Err(Error::Offset { found, expected });
        }
        if bytes.is_empty() || coming.is_whole {
            return Ok(());
        }
        let missing = incoming.missing();
        self.check_space(missing)?;
        let Coming { file, arrived, .. } = coming;
        let arrived = file
            .append(&mut self.disk, &self.key, arrived, bytes)
            .map_err(|source| self.write_failed(source, missing))?;
        let is_last = arrived.len == file.len;
        let is_whole = is_last && self.finish(file, arrived, missing)?;
        let is_wrong = is_last && !is_whole;
        if let Some(incoming) = &mut self.incoming {
            let arrived = if is_last { Arrived::default() } else { arrived };
            incoming.files[first] = Coming {
                file,
                arrived,
                is_whole,
            };
        }
        if is_wrong {
            return Err(Error::part_digest(part));
        }
        Ok(())
    }

    /// Checks a completely received bundle, judges its head again, and stores the head; the bundle is not in use yet.
    ///
    /// # Errors
    /// [`Error::NotStaging`], [`Error::OtherBundle`], [`Error::Incomplete`], as for [`Store::offer`] for its head, and
    /// [`Error::Bundle`] for a part that is gone or damaged by now: offer the bundle again to send it again.
    pub fn verify(
        &mut self,
        digest: Digest,
        trusted: Option<&TrustedKeys>,
    ) -> Result<Candidate, Error> {
        self.settle()?;
        let incoming = self.incoming.as_mut().ok_or(Error::NotStaging)?;
        if incoming.id.digest != digest {
            return Err(Error::OtherBundle);
        }
        incoming.is_verified = false;
        let head = incoming.head.clone();
        let (id, manifest) = self.judge(&head, trusted)?;
        self.finish_arrived()?;
        self.check_parts()?;
        replace(&mut self.disk, &head_name(digest), &head)
            .map_err(Error::storage("store a received bundle"))?;
        if let Some(incoming) = &mut self.incoming {
            incoming.is_verified = true;
        }
        Ok(Candidate { id, manifest })
    }

    /// Forgets what was received, and a candidate that was not committed.
    pub fn abort(&mut self) {
        self.incoming = None;
        self.collect_garbage();
    }

    /// Goes on with what was being received when the store was last open. Who offered it was judged then, and will be again
    /// by [`Store::verify`].
    pub(super) fn resume(&mut self) {
        let offered = read_small(&self.disk, OFFERED, MAX_HEAD as u64 + 1)
            .map_err(Error::storage("read what is being received"))
            .and_then(|head| {
                let Some(head) = head else {
                    return Ok(None);
                };
                let (id, manifest) = Head::parse(&head)?.manifest()?;
                if self.is_running(id.digest) || is_contradictory(&manifest) {
                    return Ok(None);
                }
                self.look(&head, id, manifest, Self::find_name).map(Some)
            });
        match offered {
            Ok(incoming) => self.incoming = incoming,
            Err(error) => log::warn!("a half-received bundle is forgotten, push it again: {error}"),
        }
    }

    /// Everything that can be judged by the head alone.
    fn judge(
        &self,
        head: &[u8],
        trusted: Option<&TrustedKeys>,
    ) -> Result<(BundleId, Manifest), Error> {
        let head = Head::parse(head)?;
        signature::check(head.manifest, head.signature, trusted)?;
        let (id, manifest) = head.manifest()?;
        if is_contradictory(&manifest) {
            return Err(BundleFault::Header.into());
        }
        if self.is_running(id.digest) {
            return Ok((id, manifest));
        }
        let highest = self.state.highest;
        if id.counter < highest {
            return Err(BundleFault::Downgrade { highest }.into());
        }
        // A bundle that was damaged at rest may come again.
        if id.counter == highest && !self.damaged.contains(&id) {
            return Err(BundleFault::Replayed { highest }.into());
        }
        let (size, limit) = (manifest.parts_len(), self.limits.max_bundle_bytes);
        match size {
            Some(size) if size <= limit => Ok((id, manifest)),
            size => Err(Error::TooLarge {
                size: size.unwrap_or(u64::MAX),
                limit,
            }),
        }
    }

    /// What is there of a bundle's parts; `is_whole` judges the files of whole ones.
    fn look(
        &self,
        head: &[u8],
        id: BundleId,
        manifest: Manifest,
        is_whole: impl Fn(&Store<D>, PartFile) -> io::Result<bool>,
    ) -> Result<Incoming, Error> {
        let coming = |part| {
            let file = PartFile::of(part);
            let is_whole = is_whole(self, file)?;
            let arrived = match is_whole {
                true => Arrived::default(),
                false => file.arrived(&self.disk, &self.key)?,
            };
            Ok(Coming {
                file,
                arrived,
                is_whole,
            })
        };
        let files = manifest.parts.iter().map(coming);
        let files: io::Result<_> = files.collect();
        Ok(Incoming {
            id,
            head: head.to_owned(),
            files: files.map_err(Error::storage("look for the parts of a bundle"))?,
            manifest,
            is_verified: false,
        })
    }

    fn find_whole(&self, file: PartFile) -> io::Result<bool> {
        Ok(file.find(&self.disk, &self.key)? == Found::Whole)
    }

    fn find_name(&self, file: PartFile) -> io::Result<bool> {
        Ok(self.disk.len(&file.name())?.is_some())
    }

    /// Checks the parts that came to their end before an interruption, and makes those without bytes.
    fn finish_arrived(&mut self) -> Result<(), Error> {
        let Some(mut incoming) = self.incoming.take() else {
            return Ok(());
        };
        let mut finished = Ok(());
        for index in 0..incoming.files.len() {
            let coming = incoming.files[index];
            let is_open = !coming.is_whole && coming.arrived.len == coming.file.len;
            if finished.is_err() || !is_open || incoming.first(index) != index {
                continue;
            }
            match self.finish(coming.file, coming.arrived, 0) {
                Ok(is_whole) => {
                    let coming = &mut incoming.files[index];
                    (coming.arrived, coming.is_whole) = (Arrived::default(), is_whole);
                }
                Err(error) => finished = Err(error),
            }
        }
        self.incoming = Some(incoming);
        finished
    }

    /// Reads every part through.
    fn check_parts(&mut self) -> Result<(), Error> {
        let Some(incoming) = &mut self.incoming else {
            return Err(Error::NotStaging);
        };
        let Staging { size, received, .. } = incoming.progress();
        if received < size {
            return Err(Error::Incomplete { received, size });
        }
        for index in 0..incoming.files.len() {
            if incoming.first(index) != index {
                continue;
            }
            let coming = &mut incoming.files[index];
            let found = coming.file.find(&self.disk, &self.key);
            let found = found.map_err(Error::storage("check a received bundle"))?;
            if found == Found::Whole {
                continue;
            }
            (coming.arrived, coming.is_whole) = (Arrived::default(), false);
            return Err(match found {
                Found::Whole | Found::Damaged => Error::part_digest(index),
                Found::Missing => BundleFault::PartMissing.into(),
            });
        }
        Ok(())
    }

    fn finish(&mut self, file: PartFile, arrived: Arrived, missing: u64) -> Result<bool, Error> {
        file.finish(&mut self.disk, &self.key, arrived)
            .map_err(|source| self.write_failed(source, missing))
    }

    fn check_space(&self, missing: u64) -> Result<(), Error> {
        let needed = missing.saturating_add(RESERVE_BYTES);
        let free = self.free_bytes()?;
        if free < needed {
            return Err(Error::NoSpace { needed, free });
        }
        Ok(())
    }

    fn write_failed(&self, source: io::Error, needed: u64) -> Error {
        if source.kind() == io::ErrorKind::StorageFull {
            let free = self.disk.free_bytes().unwrap_or(0).min(needed);
            return Error::NoSpace { needed, free };
        }
        Error::storage("write a part of a bundle")(source)
    }
}

/// Two lengths for one content.
fn is_contradictory(manifest: &Manifest) -> bool {
    let differs = |(index, part): (usize, &Part)| {
        let earlier = &mut manifest.parts[..index].iter();
        earlier.any(|earlier| earlier.sha256 == part.sha256 && earlier.len != part.len)
    };
    manifest.parts.iter().enumerate().any(differs)
}
