//! Whether a simulated board's wall time is known to be right: as on a real one before and after a time server was heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the wall time is right. Clones are the same.
#[derive(Clone, Debug)]
pub struct Trust(Arc<AtomicBool>);

impl Trust {
    pub(crate) fn starting(trusted: bool) -> Trust {
        Trust(Arc::new(AtomicBool::new(trusted)))
    }

    /// From now on it is, or is not.
    pub fn set(&self, trusted: bool) {
        self.0.store(trusted, Ordering::SeqCst);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
