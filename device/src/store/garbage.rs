//! Clearing away what no bundle needs any more.
//!
//! Careful where it is not known what is needed: after a failed change, and while a stored bundle cannot be read, only
//! leftovers of transfers go.

use std::io;

use super::{
    Store,
    bundle::{head_name, manifest},
    disk::Disk,
    networks::folder_name,
    parts::PartFile,
    receive::OFFERED,
    state,
};

impl<D: Disk> Store<D> {
    /// Removes what neither the state nor a running transfer names. Failing is no harm: it is tried again.
    pub(super) fn collect_garbage(&mut self) {
        if let Err(error) = self.remove_unnamed() {
            log::warn!("could not clear the bundle folder: {error}");
        }
    }

    fn remove_unnamed(&mut self) -> io::Result<()> {
        let mut keep: Vec<String> = state::NAMES.map(str::to_owned).into();
        if let Some(incoming) = &self.incoming {
            keep.push(OFFERED.to_owned());
            keep.extend(incoming.files().flat_map(|f| [f.name(), f.coming_name()]));
            if incoming.is_verified {
                let digest = incoming.id.digest;
                keep.extend([head_name(digest), folder_name(digest)]);
            }
        }
        // Of what is named but cannot be read, nobody knows which parts it has.
        let mut is_known = self.is_settled && self.damaged.is_empty();
        for stored in self.state.stored() {
            let digest = stored.id.digest;
            keep.extend([head_name(digest), folder_name(digest)]);
            let Ok(manifest) = manifest(&self.disk, digest) else {
                is_known = false;
                continue;
            };
            let kept = manifest.parts.iter();
            let kept = kept.filter(|part| !(stored.is_taken && part.kind.is_personal()));
            keep.extend(kept.map(|part| PartFile::of(part).name()));
        }
        let is_transfer = |name: &str| {
            name == OFFERED
                || [".coming", ".sealing"]
                    .iter()
                    .any(|end| name.ends_with(end))
        };
        // One that cannot be removed is no reason to keep the others.
        let mut removed = Ok(());
        for name in self.disk.list()? {
            if !keep.contains(&name) && (is_known || is_transfer(&name)) {
                removed = removed.and(self.disk.remove(&name));
            }
        }
        removed
    }
}
