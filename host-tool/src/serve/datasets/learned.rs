//! Which photos of a dataset made templates: by it a training knows what is left of photos that are not there any more.
//! The file goes with the dataset, so that whoever stays enrolled after that is the command line's.

use std::collections::BTreeSet;

use super::Datasets;
use crate::{Error, sealed, serve::names::UserId};

const TAG: [u8; 4] = *b"lrn1";
const REMEDY: &str = "delete it";

impl Datasets {
    /// SHA-256 of the photos here that the last training made templates of, and of those a training that was cut off may have.
    pub(in crate::serve) fn learned(&self, user: &UserId) -> Result<BTreeSet<[u8; 32]>, Error> {
        let path = self.dir(user).join("learned");
        Ok(sealed::read(&path, TAG, REMEDY)?.unwrap_or_default())
    }

    pub(in crate::serve) fn put_learned(
        &self,
        user: &UserId,
        photos: &BTreeSet<[u8; 32]>,
    ) -> Result<(), Error> {
        let path = self.dir(user).join("learned");
        sealed::private_dir(&self.dir(user))?;
        sealed::write_atomic(&path, &sealed::seal(TAG, photos)?)
    }

    /// Templates of these photos are nothing of the dataset from now on: whoever makes some may keep them.
    pub(super) fn forget_learned(
        &self,
        user: &UserId,
        photos: &BTreeSet<[u8; 32]>,
    ) -> Result<(), Error> {
        let learned = self.learned(user)?;
        if learned.is_disjoint(photos) {
            return Ok(());
        }
        self.put_learned(user, &(&learned - photos))
    }
}
