//! The files that parts are kept in, by the digest of their content: receiving, checking and reading one. Parts that say something
//! of people are sealed, chunk by chunk as they come, so that nothing of them is ever on the disk in clear.
//!
//! Knows nothing of bundles and of what a part means. Called by `receive`, `bundle` and `store`.
//!
//! ```text
//! <sha256>.part     content of a whole part          <sha256>.coming    what came so far
//! <sha256>.sealed   of a whole sealed part           <sha256>.sealing   what came so far
//!
//! a sealed file is records: length (u32, little endian) | Key::seal(about, piece)
//!                           about = SHA-256 of the whole part | offset of the piece (u64, little endian)
//! ```

use std::io::{self, BufReader, Read};

use facelatch_protocol::{
    Digest,
    bundle::{Part, PartKind},
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::disk::Disk;
use crate::seal::{Key, OVERHEAD};

/// Most bytes sealed as one record.
const MAX_PIECE: usize = 16 * 1024;

/// A part's content and how it is kept. Parts that are equal here share one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartFile {
    pub(super) digest: Digest,
    pub(super) len: u64,
    pub(super) is_sealed: bool,
}

/// How much of a part came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Arrived {
    /// Bytes of the part.
    pub(super) len: u64,
    /// Bytes they take on disk.
    stored: u64,
}

/// What is in a whole part's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Whole,
    Damaged,
    Missing,
}

impl PartFile {
    pub(super) fn of(part: &Part) -> PartFile {
        PartFile {
            digest: part.sha256,
            len: part.len,
            is_sealed: PartKind::is_sealed(part.kind),
        }
    }

    /// The name of the whole part's file.
    pub(super) fn name(self) -> String {
        let kind = if self.is_sealed { "sealed" } else { "part" };
        format!("{}.{kind}", self.digest)
    }

    /// The name of the file for what came so far.
    pub(super) fn coming_name(self) -> String {
        let kind = if self.is_sealed { "sealing" } else { "coming" };
        format!("{}.{kind}", self.digest)
    }

    /// Reads the whole part's file through.
    ///
    /// # Errors
    /// Whatever the system reports; a file of other content is no error.
    pub(super) fn find(self, disk: &dyn Disk, key: &Key) -> io::Result<Found> {
        let file = match disk.reader(&self.name()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
            Err(error) => return Err(error),
        };
        Ok(match self.is_in(key, file)? {
            true => Found::Whole,
            false => Found::Damaged,
        })
    }

    /// How much came before; nothing if it cannot be this part.
    ///
    /// # Errors
    /// Whatever the system reports.
    pub(super) fn arrived(self, disk: &dyn Disk, key: &Key) -> io::Result<Arrived> {
        let name = self.coming_name();
        let stored = disk.len(&name)?.unwrap_or(0);
        let arrived = if self.is_sealed && stored > 0 {
            let mut content = Unsealing::new(self.digest, key, disk.reader(&name)?);
            while content.next_record()?.is_some() {}
            content.arrived
        } else {
            let len = stored;
            Arrived { len, stored }
        };
        Ok(Some(arrived)
            .filter(|arrived| arrived.len <= self.len)
            .unwrap_or_default())
    }

    /// Adds the next bytes to what came, and returns how much that is now.
    ///
    /// # Errors
    /// Whatever the system reports; then what came before is still there, and the same bytes may be added again.
    pub(super) fn append(
        self,
        disk: &mut dyn Disk,
        key: &Key,
        arrived: Arrived,
        bytes: &[u8],
    ) -> io::Result<Arrived> {
        let len = arrived.len + bytes.len() as u64;
        let sealed;
        let bytes = if self.is_sealed {
            sealed = self.seal(key, arrived.len, bytes)?;
            &sealed
        } else {
            bytes
        };
        disk.write_at(&self.coming_name(), arrived.stored, bytes)?;
        let stored = arrived.stored + bytes.len() as u64;
        Ok(Arrived { len, stored })
    }

    fn seal(self, key: &Key, mut offset: u64, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut records = vec![];
        for piece in bytes.chunks(MAX_PIECE) {
            let sealed = key.seal(&about(self.digest, offset), piece);
            let sealed = sealed.map_err(|error| io::Error::other(error.to_string()))?;
            // At most MAX_PIECE + OVERHEAD.
            records.extend_from_slice(&(sealed.len() as u32).to_le_bytes());
            records.extend_from_slice(&sealed);
            offset += piece.len() as u64;
        }
        Ok(records)
    }

    /// Makes what came a whole part that survives a power cut; false if it was not the part's content, and is forgotten.
    ///
    /// # Errors
    /// Whatever the system reports.
    pub(super) fn finish(
        self,
        disk: &mut dyn Disk,
        key: &Key,
        arrived: Arrived,
    ) -> io::Result<bool> {
        let coming = self.coming_name();
        // Makes the file of a part without bytes.
        disk.write_at(&coming, arrived.stored, &[])?;
        // Left over from a write that failed half way and was shorter the next time.
        disk.truncate(&coming, arrived.stored)?;
        let file = disk.reader(&coming)?;
        if !self.is_in(key, file)? {
            disk.remove(&coming)?;
            return Ok(false);
        }
        disk.sync(&coming)?;
        disk.rename(&coming, &self.name())?;
        disk.sync_names()?;
        Ok(true)
    }

    /// The whole part out of its file; `None` if the file holds something else.
    ///
    /// # Errors
    /// Whatever the system reports.
    pub(super) fn read(self, key: &Key, file: impl Read) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let mut bytes = Zeroizing::new(Vec::new());
        self.content(key, file)
            .take(self.len.saturating_add(1))
            .read_to_end(&mut bytes)?;
        let is_content = Sha256::digest(&*bytes)[..] == self.digest.0;
        Ok((bytes.len() as u64 == self.len && is_content).then_some(bytes))
    }

    fn content<'f>(self, key: &Key, file: impl Read + 'f) -> Box<dyn Read + 'f> {
        if self.is_sealed {
            Box::new(Unsealing::new(self.digest, key, file))
        } else {
            Box::new(file)
        }
    }

    /// Whether a file holds the whole part and nothing else; read in pieces.
    ///
    /// # Errors
    /// Whatever the system reports.
    pub(super) fn is_in(self, key: &Key, file: impl Read) -> io::Result<bool> {
        let mut content = self.content(key, file).take(self.len.saturating_add(1));
        let mut piece = Zeroizing::new(vec![0; 64 * 1024]);
        let mut digest = Sha256::new();
        let mut len = 0;
        loop {
            match content.read(&mut piece) {
                Ok(0) => return Ok(len == self.len && digest.finalize()[..] == self.digest.0),
                Ok(read) => {
                    digest.update(&piece[..read]);
                    len += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn about(digest: Digest, offset: u64) -> [u8; 40] {
    let mut about = [0; 40];
    about[..32].copy_from_slice(&digest.0);
    about[32..].copy_from_slice(&offset.to_le_bytes());
    about
}

/// Reads a sealed file up to the first record that is not whole and sound.
struct Unsealing<R> {
    digest: Digest,
    key: Key,
    file: BufReader<R>,
    /// What was read of the file.
    arrived: Arrived,
    /// The last record, and how much of it was handed on.
    piece: Zeroizing<Vec<u8>>,
    taken: usize,
}

impl<R: Read> Unsealing<R> {
    fn new(digest: Digest, key: &Key, file: R) -> Unsealing<R> {
        Unsealing {
            digest,
            key: key.clone(),
            file: BufReader::new(file),
            arrived: Arrived::default(),
            piece: Zeroizing::new(vec![]),
            taken: 0,
        }
    }

    fn next_record(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let mut prefix = [0; 4];
        if !read_whole(&mut self.file, &mut prefix)? {
            return Ok(None);
        }
        let len = u32::from_le_bytes(prefix) as usize;
        if !(OVERHEAD + 1..=OVERHEAD + MAX_PIECE).contains(&len) {
            return Ok(None);
        }
        let mut sealed = vec![0; len];
        if !read_whole(&mut self.file, &mut sealed)? {
            return Ok(None);
        }
        let piece = self
            .key
            .open(&about(self.digest, self.arrived.len), &sealed);
        if let Some(piece) = &piece {
            self.arrived.len += piece.len() as u64;
            self.arrived.stored += (prefix.len() + len) as u64;
        }
        Ok(piece)
    }
}

impl<R: Read> Read for Unsealing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.piece.len() {
            match self.next_record()? {
                Some(piece) => (self.piece, self.taken) = (piece, 0),
                None => return Ok(0),
            }
        }
        let rest = &self.piece[self.taken..];
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        self.taken += len;
        Ok(len)
    }
}

/// Fills `bytes`; false if the file ends before.
fn read_whole(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::disk::Folder, *};

    fn file(bytes: &[u8], is_sealed: bool) -> PartFile {
        PartFile {
            digest: Digest(Sha256::digest(bytes).into()),
            len: bytes.len() as u64,
            is_sealed,
        }
    }

    fn send(disk: &mut Folder, key: &Key, part: PartFile, pieces: &[&[u8]]) -> Arrived {
        let mut arrived = Arrived::default();
        for piece in pieces {
            arrived = part.append(disk, key, arrived, piece).unwrap();
        }
        arrived
    }

    #[test]
    fn a_part_comes_in_pieces_and_every_damage_at_rest_shows() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Folder::open(folder.path()).unwrap();
        let key = Key::new([7; 32]);
        let bytes: Vec<u8> = (0..200u8).collect();
        for is_sealed in [false, true] {
            let part = file(&bytes, is_sealed);
            assert_eq!(part.find(&disk, &key).unwrap(), Found::Missing);
            let arrived = send(&mut disk, &key, part, &[&bytes[..90], &bytes[90..]]);
            assert_eq!(part.arrived(&disk, &key).unwrap(), arrived);
            assert!(part.finish(&mut disk, &key, arrived).unwrap());
            assert_eq!(part.find(&disk, &key).unwrap(), Found::Whole);
            assert_eq!(part.arrived(&disk, &key).unwrap(), Arrived::default());

            let path = folder.path().join(part.name());
            let whole = std::fs::read(&path).unwrap();
            let is_damage = |bytes: &[u8], what: &str| {
                std::fs::write(&path, bytes).unwrap();
                assert_eq!(part.find(&disk, &key).unwrap(), Found::Damaged, "{what}");
                let file = std::fs::File::open(&path).unwrap();
                assert!(part.read(&key, file).unwrap().is_none(), "{what}");
            };
            for at in 0..whole.len() {
                is_damage(&whole[..at], &format!("{is_sealed}, cut at {at}"));
                let mut changed = whole.clone();
                changed[at] ^= 4;
                is_damage(&changed, &format!("{is_sealed}, byte {at} changed"));
            }
        }
    }

    #[test]
    fn a_half_written_record_is_sent_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Folder::open(folder.path()).unwrap();
        let key = Key::new([7; 32]);
        let bytes: Vec<u8> = (0..=255u8).cycle().take(2 * MAX_PIECE + 5).collect();
        let part = file(&bytes, true);
        let arrived = send(&mut disk, &key, part, &[&bytes[..10], &bytes[10..]]);
        let path = folder.path().join(part.coming_name());
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(arrived.stored, whole.len() as u64);
        let first = (4 + OVERHEAD + 10) as u64;
        for cut in [first - 1, first, first + 1, first + 100] {
            std::fs::write(&path, &whole[..cut as usize]).unwrap();
            let arrived = part.arrived(&disk, &key).unwrap();
            let len = if cut < first { 0 } else { 10 };
            assert_eq!(arrived.len, len, "cut at {cut}");
            let rest = &bytes[len as usize..];
            let arrived = part.append(&mut disk, &key, arrived, rest).unwrap();
            assert!(part.finish(&mut disk, &key, arrived).unwrap(), "{cut}");
        }
        let found = part.read(
            &key,
            std::fs::File::open(folder.path().join(part.name())).unwrap(),
        );
        assert!(found.unwrap().unwrap().as_slice() == bytes);
    }

    #[test]
    fn other_content_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Folder::open(folder.path()).unwrap();
        let key = Key::new([7; 32]);
        for is_sealed in [false, true] {
            let part = file(b"right", is_sealed);
            let arrived = send(&mut disk, &key, part, &[b"wrong"]);
            assert!(!part.finish(&mut disk, &key, arrived).unwrap());
            assert_eq!(disk.len(&part.coming_name()).unwrap(), None);
            // More than the part has: not this part's.
            send(&mut disk, &key, part, &[b"longer"]);
            let arrived = part.arrived(&disk, &key).unwrap();
            assert_eq!(arrived, Arrived::default());
            let arrived = part.append(&mut disk, &key, arrived, b"right").unwrap();
            assert!(part.finish(&mut disk, &key, arrived).unwrap());
        }
    }
}
