//! What one request may ask for, each with its default.

/// Largest body without a photo, in bytes: of a request that anybody may make, too.
pub(super) const BODY_BYTES: usize = 64 << 10;

/// Limits of uploads and of what is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest photo, in bytes.
    pub photo_bytes: usize,
    /// Largest photo, in pixels.
    pub photo_px: u64,
    /// Photos in one request.
    pub photos: usize,
    /// Requests with a photo that are read at the same time; others wait. With `photo_bytes` this bounds the memory.
    pub uploads: usize,
    /// Photos of one person.
    pub photos_per_person: usize,
    /// Unknown faces kept for review in one dataset; the oldest go first.
    pub unknown: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            photo_bytes: 16 << 20,
            photo_px: 40_000_000,
            photos: 50,
            uploads: 8,
            photos_per_person: 1_000,
            unknown: 500,
        }
    }
}

impl Limits {
    /// Largest request with photos, in bytes, the form's own text included.
    #[must_use]
    pub fn request_bytes(&self) -> usize {
        self.photo_bytes
            .saturating_mul(self.photos)
            .saturating_add(1 << 20)
    }
}
