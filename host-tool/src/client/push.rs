//! Pushing a bundle: offer its head, send what the door says is missing, have it checked and put on trial, see how that
//! ends.
//!
//! ```text
//! BundleOffer(head)  -> Parts(bytes held of each)
//! PartChunk ...      -> Bundle(progress)            several under way at once on the network
//! BundleCommit       -> Bundle(progress)            on trial now
//! UpdateStatus ...   -> Update(...)                 until it has proved itself or is taken back
//! ```
//!
//! Parts are known by their digest: one that an earlier bundle or an interrupted push left there is not sent again.
//! Whatever goes wrong with a chunk, the bundle is offered again and the transfer goes on from where the door stands.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use facelatch_protocol::{
    BundleFault, BundleId, Chunk, Digest, MAX_CHUNK, Refusal, Request, Response, RolledBack,
    bundle::{Head, MAX_HEAD, Manifest, PREFIX_LEN},
};
use sha2::{Digest as _, Sha256};

use super::{ATTEMPTS, Client, Error};

/// Chunks under way at once on the network, where each answer takes a while.
const WINDOW: usize = 16;
/// How often to ask how a trial goes.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// How a push went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// The bundle.
    pub id: BundleId,
    /// Size of all its parts, in bytes.
    pub size: u64,
    /// Bytes of them that were sent, those sent again included.
    pub sent: u64,
    /// Bytes of them that were there already.
    pub saved: u64,
}

/// How a bundle's trial stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Trial {
    /// It has proved itself.
    Confirmed,
    /// The one before is in use again.
    RolledBack(RolledBack),
    /// It still has to judge so many frames.
    Pending {
        /// Healthy frames left.
        frames_left: u32,
    },
}

impl Client {
    /// Puts a bundle file on trial; `progress` is told the bytes that are there so far and the size.
    ///
    /// # Errors
    /// [`Error::Bundle`] and [`Error::File`] before anything is sent, then as any request.
    pub fn push(
        &mut self,
        path: &Path,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Pushed, Error> {
        let mut bundle = Bundle::open(path)?;
        let held = self.offer(&bundle)?;
        let saved = held.iter().sum();
        progress(saved, bundle.size);
        let sent = self.transfer(&mut bundle, held, &mut progress)?;
        self.commit(bundle.id)?;
        Ok(Pushed {
            id: bundle.id,
            size: bundle.size,
            sent,
            saved,
        })
    }

    /// How the trial of a bundle that was pushed stands.
    ///
    /// # Errors
    /// [`Error::Vanished`] if the door knows nothing of it, or as any request.
    pub fn trial(&mut self, id: BundleId) -> Result<Trial, Error> {
        // Asked first: it may be over in between, which then shows in the answers below.
        let update = self.update_status()?;
        if let Some(trial) = update.trial.filter(|trial| trial.id == id) {
            return Ok(Trial::Pending {
                frames_left: trial.frames_left,
            });
        }
        let active = self.bundle_status()?.active;
        if active.is_some_and(|active| active.digest == id.digest) {
            return Ok(Trial::Confirmed);
        }
        match update.rolled_back.filter(|back| back.id == id) {
            Some(back) => Ok(Trial::RolledBack(back)),
            None => Err(Error::Vanished {
                target: self.wire.target().to_owned(),
            }),
        }
    }

    /// Waits for the end of a bundle's trial, at most `patience`; `progress` is told the frames left.
    ///
    /// # Errors
    /// As [`Client::trial`].
    pub fn await_trial(
        &mut self,
        id: BundleId,
        patience: Duration,
        mut progress: impl FnMut(u32),
    ) -> Result<Trial, Error> {
        let deadline = Instant::now() + patience;
        loop {
            match self.trial(id)? {
                Trial::Pending { frames_left } if Instant::now() < deadline => {
                    progress(frames_left);
                    thread::sleep(ASK_AGAIN);
                }
                ended => return Ok(ended),
            }
        }
    }

    /// Offers the bundle; the bytes the door holds of each part.
    fn offer(&mut self, bundle: &Bundle) -> Result<Vec<u64>, Error> {
        let head = bundle.head.clone();
        let Response::Parts(held) = self.ask(&Request::BundleOffer(head))? else {
            return self.confused();
        };
        let lengths = bundle.manifest.parts.iter().map(|part| part.len);
        if held.len() != bundle.manifest.parts.len()
            || held.iter().zip(lengths).any(|(h, l)| *h > l)
        {
            return self.confused();
        }
        Ok(held.to_vec())
    }

    /// Sends all that is missing; how many bytes that took.
    fn transfer(
        &mut self,
        bundle: &mut Bundle,
        mut held: Vec<u64>,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<u64, Error> {
        let window = if self.wire.is_serial() { 1 } else { WINDOW };
        let mut under_way = VecDeque::with_capacity(window);
        // Where the next chunk starts in each part, as if all under way arrived.
        let mut next = held.clone();
        let (mut sent, mut setbacks) = (0, 0);
        loop {
            while under_way.len() < window
                && let Some(part) = bundle.first_missing(&next)
            {
                let chunk = bundle.chunk(part, next[part])?;
                let len = chunk.bytes.len() as u64;
                (sent, next[part]) = (sent + len, next[part] + len);
                // A manifest holds at most 16 parts.
                let request = Request::PartChunk {
                    part: part as u8,
                    chunk,
                };
                under_way.push_back((self.wire.ask(&request)?, part, next[part]));
            }
            let Some((id, part, end)) = under_way.pop_front() else {
                return Ok(sent);
            };
            match self.wire.answer(id, self.patience) {
                Ok(Response::Bundle(now)) => {
                    let ours = |digest| now.staging.is_some_and(|s| s.sha256 == digest);
                    if !ours(bundle.id.digest) {
                        return Err(self.wire.refused(Refusal::OtherBundle));
                    }
                    (setbacks, held[part]) = (0, end);
                    progress(held.iter().sum(), bundle.size);
                }
                Ok(_) => return self.confused(),
                Err(error) if self.is_setback(&error) => {
                    setbacks += 1;
                    if setbacks > ATTEMPTS {
                        return Err(self.wire.given_up(error));
                    }
                    // Answers to the chunks under way are skipped from here on.
                    under_way.clear();
                    held = self.offer(bundle)?;
                    next.clone_from(&held);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a chunk that ended so may be sent again.
    fn is_setback(&self, error: &Error) -> bool {
        match error {
            Error::Garbled { .. } | Error::Unsealed { .. } | Error::Forged { .. } => {
                self.wire.is_serial()
            }
            Error::Silent { .. } => true,
            error => matches!(error.refusal(), Some(Refusal::Offset { .. })),
        }
    }

    /// Has the door check the bundle and put it on trial; if its answer is lost, asks what came of it.
    fn commit(&mut self, id: BundleId) -> Result<(), Error> {
        let sha256 = id.digest;
        match self.ask_bundle(&Request::BundleCommit { sha256 }) {
            Ok(_) => Ok(()),
            Err(Error::Garbled { .. } | Error::Silent { .. }) => self.trial(id).map(drop),
            // It was there before, or an earlier answer was lost on the line and this is the second commit.
            Err(error) if error.refusal() == Some(&Refusal::NotStaging) => match self.trial(id) {
                Err(Error::Vanished { .. }) => Err(error),
                stands => stands.map(drop),
            },
            Err(error) => Err(error),
        }
    }
}

/// A bundle file to be sent.
struct Bundle<'p> {
    path: &'p Path,
    file: File,
    head: heapless::Vec<u8, MAX_HEAD>,
    id: BundleId,
    manifest: Manifest,
    /// Where each part starts in the file.
    starts: Vec<u64>,
    /// Of all parts.
    size: u64,
}

impl<'p> Bundle<'p> {
    /// Reads the file once: the head, and whether the parts are the ones it promises.
    fn open(path: &'p Path) -> Result<Bundle<'p>, Error> {
        let mut file = File::open(path).map_err(failed(path))?;
        let mut head = Vec::new();
        let take = |file: &mut File, len: usize, into: &mut Vec<u8>| {
            file.take(len as u64)
                .read_to_end(into)
                .map_err(failed(path))
        };
        take(&mut file, PREFIX_LEN, &mut head)?;
        let length = head
            .first_chunk()
            .ok_or(BundleFault::Magic)
            .and_then(|prefix| Head::length(*prefix))
            .map_err(not_a_bundle(path))?;
        take(&mut file, length - PREFIX_LEN, &mut head)?;
        let parsed = Head::parse(&head).and_then(|head| head.manifest());
        let (id, manifest) = parsed.map_err(not_a_bundle(path))?;

        let mut at = head.len() as u64;
        let mut starts = Vec::new();
        for (index, part) in manifest.parts.iter().enumerate() {
            let mut digest = Sha256::new();
            let read = io::copy(
                &mut (&mut file).take(part.len),
                &mut HashWriter(&mut digest),
            );
            let read = read.map_err(failed(path))?;
            if read != part.len {
                return Err(not_a_bundle(path)(BundleFault::Length));
            }
            if Digest(digest.finalize().into()) != part.sha256 {
                // A manifest holds at most 16 parts.
                let part = index as u8;
                return Err(not_a_bundle(path)(BundleFault::PartDigest { part }));
            }
            starts.push(at);
            at += read;
        }
        if file.read(&mut [0]).map_err(failed(path))? > 0 {
            return Err(not_a_bundle(path)(BundleFault::Length));
        }
        let size = at - head.len() as u64;
        Ok(Bundle {
            path,
            file,
            // At most MAX_HEAD: `Head::length`.
            head: head.iter().copied().collect(),
            id,
            manifest,
            starts,
            size,
        })
    }

    /// The first part of which less than all is there.
    fn first_missing(&self, there: &[u64]) -> Option<usize> {
        let parts = self.manifest.parts.iter().zip(there);
        parts
            .into_iter()
            .position(|(part, there)| *there < part.len)
    }

    /// The chunk at an offset below the part's length.
    fn chunk(&mut self, part: usize, offset: u64) -> Result<Chunk, Error> {
        let len = (self.manifest.parts[part].len - offset).min(MAX_CHUNK as u64);
        let mut buffer = [0; MAX_CHUNK];
        // At most MAX_CHUNK.
        let bytes = &mut buffer[..len as usize];
        self.file
            .seek(SeekFrom::Start(self.starts[part] + offset))
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
