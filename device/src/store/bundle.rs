//! Reading a bundle file: checking the whole in one pass, then single parts, never more than a part in memory.

use std::io::{self, Read, SeekFrom};

use facelatch_protocol::{
    BundleFault, Digest,
    bundle::{Part, PartKind},
    bundle_v1::{Header, PREFIX_LEN},
};
use sha2::{Digest as _, Sha256};

use super::{Error, disk::ReadSeek};

/// An open bundle.
pub struct Bundle {
    header: Header,
    parts_at: u64,
    file: Box<dyn ReadSeek>,
}

impl Bundle {
    /// Reads the header; the parts are checked when they are read.
    ///
    /// # Errors
    /// [`Error::Bundle`] or [`Error::Storage`].
    pub fn open(mut file: Box<dyn ReadSeek>) -> Result<Bundle, Error> {
        let (header, raw) = read_header(&mut file)?;
        Ok(Bundle {
            header,
            parts_at: raw.len() as u64,
            file,
        })
    }

    /// What the bundle holds.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The first part of a kind, checked; `None` if there is none.
    ///
    /// # Errors
    /// As for [`Bundle::read`].
    pub fn read_kind(&mut self, kind: PartKind) -> Result<Option<Vec<u8>>, Error> {
        let found = self.header.parts.iter().position(|part| part.kind == kind);
        found.map(|index| self.read(index)).transpose()
    }

    /// One part by its place in the header, checked.
    ///
    /// # Errors
    /// [`Error::Bundle`] if it is not what the header says, [`Error::Storage`].
    pub fn read(&mut self, index: usize) -> Result<Vec<u8>, Error> {
        let part = self
            .header
            .parts
            .get(index)
            .ok_or(Error::Bundle(BundleFault::PartMissing))?;
        let before: u64 = self.header.parts[..index].iter().map(|part| part.len).sum();
        let len = part.len;
        self.file
            .seek(SeekFrom::Start(self.parts_at + before))
            .map_err(Error::storage("read a bundle"))?;
        let mut bytes = Vec::new();
        (&mut self.file)
            .take(len)
            .read_to_end(&mut bytes)
            .map_err(Error::storage("read a bundle"))?;
        if bytes.len() as u64 != len || !matches(part, &bytes) {
            return Err(part_damaged(index));
        }
        Ok(bytes)
    }
}

/// True if these bytes are that part.
pub(super) fn matches(part: &Part, bytes: &[u8]) -> bool {
    Digest(Sha256::digest(bytes).into()) == part.sha256
}

/// Reads a whole bundle once and checks everything its bytes can show: the file's digest, the header, each part's
/// length and digest, and that nothing follows.
///
/// # Errors
/// [`Error::Digest`] if it is another file than announced, [`Error::Bundle`] if it is the announced file but no sound
/// bundle, [`Error::Storage`].
pub fn check(mut file: impl Read, announced: Digest) -> Result<Header, Error> {
    let mut whole = Sha256::new();
    let checked = check_parts(&mut file, &mut whole);
    if let Err(Error::Storage { .. }) = checked {
        return checked;
    }
    // The rest is hashed too, so that a damaged transfer is called that, not a bad bundle.
    let rest = pump(&mut file, u64::MAX, |bytes| whole.update(bytes))?;
    if Digest(whole.finalize().into()) != announced {
        return Err(Error::Digest);
    }
    match checked {
        Ok(_) if rest > 0 => Err(Error::Bundle(BundleFault::Length)),
        checked => checked,
    }
}

fn check_parts(file: &mut impl Read, whole: &mut Sha256) -> Result<Header, Error> {
    let (header, raw) = match read_header(file) {
        Ok(read) => read,
        Err(HeaderError { error, raw }) => {
            whole.update(raw);
            return Err(error);
        }
    };
    whole.update(raw);
    for (index, part) in header.parts.iter().enumerate() {
        let mut digest = Sha256::new();
        let len = pump(file, part.len, |bytes| {
            whole.update(bytes);
            digest.update(bytes);
        })?;
        if len != part.len {
            return Err(Error::Bundle(BundleFault::Length));
        }
        if Digest(digest.finalize().into()) != part.sha256 {
            return Err(part_damaged(index));
        }
    }
    Ok(header)
}

/// A header that could not be read, and the bytes taken off the file while trying.
struct HeaderError {
    error: Error,
    raw: Vec<u8>,
}

impl From<HeaderError> for Error {
    fn from(failed: HeaderError) -> Error {
        failed.error
    }
}

/// The header, and its bytes with the prefix.
fn read_header(file: &mut impl Read) -> Result<(Header, Vec<u8>), HeaderError> {
    let mut raw = Vec::new();
    let parsed = (|| {
        take(file, PREFIX_LEN as u64, &mut raw)?;
        let prefix = *raw.first_chunk().ok_or(Error::Bundle(BundleFault::Magic))?;
        let len = Header::length(prefix).map_err(Error::Bundle)?;
        take(file, len as u64, &mut raw)?;
        Header::parse(&raw[PREFIX_LEN..]).map_err(Error::Bundle)
    })();
    match parsed {
        Ok(header) => Ok((header, raw)),
        Err(error) => Err(HeaderError { error, raw }),
    }
}

fn take(file: &mut impl Read, len: u64, into: &mut Vec<u8>) -> Result<(), Error> {
    file.take(len)
        .read_to_end(into)
        .map(|_| ())
        .map_err(Error::storage("read a bundle"))
}

/// Hands up to `limit` bytes of `file` to `sink` in pieces, and returns how many there were.
fn pump(file: &mut impl Read, limit: u64, mut sink: impl FnMut(&[u8])) -> Result<u64, Error> {
    let mut piece = vec![0; 64 * 1024];
    let mut file = file.take(limit);
    let mut total = 0;
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(total),
            Ok(len) => {
                sink(&piece[..len]);
                total += len as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::storage("read a bundle")(error)),
        }
    }
}

fn part_damaged(index: usize) -> Error {
    // The header holds at most MAX_PARTS = 24 parts.
    Error::Bundle(BundleFault::PartDigest { part: index as u8 })
}
