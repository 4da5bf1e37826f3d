//! Pushing a bundle: announce it, go on from where the device stands, and have it checked and switched to.
//!
//! On the network several chunks are under way at once. Whatever goes wrong with one, the device says where it stands and
//! the transfer goes on from there; a push that was cut off goes on when it is called again.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use facelatch_protocol::{
    BundleFault, BundleId, Chunk, Digest, MAX_CHUNK, Refusal, Request, Response, Staging,
    bundle_v1::{Header, PREFIX_LEN},
};
use sha2::{Digest as _, Sha256};

use super::{ATTEMPTS, Client, Error};

/// Chunks under way at once on the network, where each answer takes a while.
const WINDOW: usize = 16;

/// How a push went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// The active bundle now.
    pub id: BundleId,
    /// Size of the file, in bytes.
    pub size: u64,
    /// Bytes the device had already from an earlier push; all of them if the bundle was active before.
    pub resumed_at: u64,
}

impl Client {
    /// Makes a bundle file the active one; `progress` is told the bytes received so far and the size.
    ///
    /// # Errors
    /// [`Error::Bundle`] and [`Error::File`] before anything is sent, then as any request.
    pub fn push(
        &mut self,
        path: &Path,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Pushed, Error> {
        let mut bundle = Bundle::open(path)?;
        let (size, sha256) = (bundle.size, bundle.sha256);
        let begun = self.ask_bundle(&Request::BundleBegin { size, sha256 })?;
        let active = begun.active.filter(|active| active.digest == sha256);
        if let Some(id) = active {
            progress(size, size);
            return Ok(Pushed {
                id,
                size,
                resumed_at: size,
            });
        }
        let resumed_at = self.received(begun.staging, &bundle)?;
        self.transfer(&mut bundle, resumed_at, &mut progress)?;
        let id = self.commit(sha256)?;
        Ok(Pushed {
            id,
            size,
            resumed_at,
        })
    }

    /// Sends all chunks from `received` on.
    fn transfer(
        &mut self,
        bundle: &mut Bundle,
        mut received: u64,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<(), Error> {
        let window = if self.line.is_serial() { 1 } else { WINDOW };
        let mut under_way = VecDeque::with_capacity(window);
        let mut sent = received;
        let mut setbacks = 0;
        progress(received, bundle.size);
        while received < bundle.size {
            while under_way.len() < window && sent < bundle.size {
                let chunk = bundle.chunk(sent)?;
                sent += chunk.bytes.len() as u64;
                under_way.push_back(self.send(&Request::BundleChunk(chunk))?);
            }
            // At least one was sent: `sent` was below `size`, or chunks are still under way.
            let Some(id) = under_way.pop_front() else {
                return self.confused();
            };
            let answer = match self.answer(id, self.patience) {
                Ok(Response::Bundle(progress)) => self.received(progress.staging, bundle).map(Some),
                Ok(_) => return self.confused(),
                Err(Error::Garbled { .. } | Error::Silent { .. }) => Ok(None),
                Err(error) if matches!(error.refusal(), Some(Refusal::Offset { .. })) => Ok(None),
                Err(error) => Err(error),
            }?;
            match answer {
                Some(now) => {
                    setbacks = 0;
                    received = now;
                    progress(received, bundle.size);
                }
                None => {
                    setbacks += 1;
                    if setbacks > ATTEMPTS {
                        return self.silent(self.patience);
                    }
                    // Answers to the chunks under way are skipped from here on.
                    under_way.clear();
                    let stands = self.bundle_status()?;
                    received = self.received(stands.staging, bundle)?;
                    sent = received;
                }
            }
        }
        Ok(())
    }

    /// Has the device check and switch; if its answer is lost, asks what came of it.
    fn commit(&mut self, sha256: Digest) -> Result<BundleId, Error> {
        let committed = match self.ask_bundle(&Request::BundleCommit { sha256 }) {
            Err(Error::Garbled { .. } | Error::Silent { .. }) => self.bundle_status()?,
            // An earlier answer was lost on the line, and this is the second commit.
            Err(error) if error.refusal() == Some(&Refusal::NotStaging) => self.bundle_status()?,
            committed => committed?,
        };
        match committed.active.filter(|active| active.digest == sha256) {
            Some(active) => Ok(active),
            None => Err(self.refused(Refusal::NotStaging)),
        }
    }

    /// How much of this bundle the device has.
    fn received(&self, staging: Option<Staging>, bundle: &Bundle) -> Result<u64, Error> {
        match staging {
            Some(staging) if staging.sha256 != bundle.sha256 => {
                Err(self.refused(Refusal::OtherBundle))
            }
            Some(staging) if staging.received <= bundle.size => Ok(staging.received),
            Some(_) => self.confused(),
            None => Err(self.refused(Refusal::NotStaging)),
        }
    }
}

/// A bundle file to be sent.
struct Bundle<'p> {
    path: &'p Path,
    file: File,
    size: u64,
    sha256: Digest,
}

impl<'p> Bundle<'p> {
    /// Reads the file once: for its header, its length and its digest.
    fn open(path: &'p Path) -> Result<Bundle<'p>, Error> {
        let mut file = File::open(path).map_err(failed(path))?;
        let mut start = Vec::new();
        let take = |file: &mut File, len: usize, into: &mut Vec<u8>| {
            file.take(len as u64)
                .read_to_end(into)
                .map_err(failed(path))
        };
        take(&mut file, PREFIX_LEN, &mut start)?;
        let header = start
            .first_chunk()
            .ok_or(BundleFault::Magic)
            .and_then(|prefix| Header::length(*prefix));
        let header_len = header.map_err(not_a_bundle(path))?;
        take(&mut file, header_len, &mut start)?;
        let header = Header::parse(&start[PREFIX_LEN..]).map_err(not_a_bundle(path))?;

        let mut digest = Sha256::new();
        digest.update(&start);
        let rest = io::copy(&mut file, &mut HashWriter(&mut digest)).map_err(failed(path))?;
        if header.parts_len() != Some(rest) {
            return Err(not_a_bundle(path)(BundleFault::Length));
        }
        Ok(Bundle {
            path,
            file,
            size: start.len() as u64 + rest,
            sha256: Digest(digest.finalize().into()),
        })
    }

    /// The chunk at an offset below the size.
    fn chunk(&mut self, offset: u64) -> Result<Chunk, Error> {
        let len = (self.size - offset).min(MAX_CHUNK as u64);
        let mut buffer = [0; MAX_CHUNK];
        // At most MAX_CHUNK.
        let bytes = &mut buffer[..len as usize];
        self.file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| self.file.read_exact(bytes))
            .map_err(failed(self.path))?;
        Ok(Chunk {
            offset,
            bytes: bytes.iter().copied().collect(),
        })
    }
}

/// Hashes what is written to it.
struct HashWriter<'d>(&'d mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File {
        path: path.clone(),
        source,
    }
}

fn not_a_bundle(path: &Path) -> impl Fn(BundleFault) -> Error {
    let path = path.to_owned();
    move |fault| Error::Bundle {
        path: path.clone(),
        fault,
    }
}
