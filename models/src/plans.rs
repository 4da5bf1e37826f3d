//! Compiled plans, kept between runs: a folder of files named by what they were made of.
//!
//! ```text
//! SHA-256 of the ONNX file - format of plans - version of the compiler .plan
//! ```
//!
//! A kept plan stands for its ONNX file, which is then not read at all. Every failure of the folder is a warning: plans
//! can be made again. Which networks there are is `zoo`'s to know.

use std::{
    collections::HashSet,
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use facelatch_int8::{FORMAT, Plan};

use crate::{compile, manifest::Manifest, zoo::hex};

const SUFFIX: &str = ".plan";
/// Ends the name of a plan being written, before the writer's process id and the time.
const WRITING: &str = ".plan-";

/// Where plans are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanCache {
    dir: Option<PathBuf>,
}

impl PlanCache {
    /// Nowhere: plans are made each time.
    #[must_use]
    pub fn none() -> PlanCache {
        PlanCache::default()
    }

    /// In a folder of its own, made if needed.
    #[must_use]
    pub fn at(dir: PathBuf) -> PlanCache {
        PlanCache { dir: Some(dir) }
    }

    /// In the user's cache: `$XDG_CACHE_HOME/facelatch`, else `$HOME/.cache/facelatch`, else nowhere.
    #[must_use]
    pub fn user() -> PlanCache {
        let folder = |name: &str| {
            let path = PathBuf::from(env::var_os(name)?);
            path.is_absolute().then_some(path)
        };
        let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        PlanCache {
            dir: cache.map(|dir| dir.join("facelatch")),
        }
    }

    /// The kept plan of an ONNX file with this digest; one that is damaged is removed.
    pub(crate) fn find(&self, sha256: &str) -> Option<Arc<Plan>> {
        let path = self.dir.as_ref()?.join(name(sha256));
        if !path.exists() {
            return None;
        }
        let why = match Plan::open(&path) {
            Ok(plan) if hex(plan.source()) == sha256 => return Some(plan),
            Ok(_) => "it is the plan of another network".to_owned(),
            Err(error) => error.to_string(),
        };
        log::warn!("{}: {why}; it is made again", path.display());
        if let Err(error) = fs::remove_file(&path) {
            log::warn!("cannot remove {}: {error}", path.display());
        }
        None
    }

    /// Keeps a new plan and opens it from there, or from memory if it cannot be kept.
    pub(crate) fn keep(
        &self,
        sha256: &str,
        plan: Vec<u8>,
    ) -> Result<Arc<Plan>, facelatch_int8::Error> {
        let Some(dir) = &self.dir else {
            return Plan::from_bytes(&plan);
        };
        let path = dir.join(name(sha256));
        match write(dir, &path, &plan) {
            Ok(()) => {
                drop(plan);
                Plan::open(&path)
            }
            Err(error) => {
                log::warn!(
                    "cannot keep the plan {}: {error}; it is compiled at every start",
                    path.display()
                );
                Plan::from_bytes(&plan)
            }
        }
    }

    /// Removes the plans of all networks but those of `manifests`, and what writers that died left behind. For a folder
    /// that nobody else writes to.
    pub fn retain(&self, manifests: &[&Manifest]) {
        let Some(dir) = &self.dir else { return };
        let networks = manifests.iter().flat_map(|m| &m.network);
        let wanted: HashSet<String> = networks.map(|n| name(&n.sha256)).collect();
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let file = entry.file_name();
            let file = file.to_string_lossy();
            let ours = file.ends_with(SUFFIX) || file.contains(WRITING);
            if ours
                && !wanted.contains(&*file)
                && let Err(error) = fs::remove_file(entry.path())
            {
                log::warn!("cannot remove {}: {error}", entry.path().display());
            }
        }
    }
}

fn name(sha256: &str) -> String {
    format!("{sha256}-{FORMAT}-{}{SUFFIX}", compile::VERSION)
}

/// Never writes to a file under its own name, which somebody may have mapped, nor to one that another writes.
fn write(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    // Where processes are numbered anew, as in containers, a number alone may be that of one that died while it wrote.
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_nanos();
    let writing = path.with_extension(format!("plan-{}-{now}", process::id()));
    let mut file = fs::File::create_new(&writing)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&writing, path));
    if written.is_err() {
        // What is left of a full disk's plan is in the way of the next try.
        let _ = fs::remove_file(&writing);
    }
    written
}

#[cfg(test)]
mod tests {
    use facelatch_int8::{Builder, Window};

    use super::*;
    use crate::manifest::tests::EXAMPLE;

    const SHA256: &str = "0707070707070707070707070707070707070707070707070707070707070707";

    fn plan(source: [u8; 32]) -> Vec<u8> {
        let mut builder = Builder::new([Some(4), Some(4)]);
        let pooled = builder.bytes(3, 0).unwrap();
        let window = Window {
            size: [2, 2],
            strides: [2, 2],
            pads: [0; 4],
        };
        builder.max_pool(builder.picture(), window, pooled).unwrap();
        builder.output("pooled", pooled).unwrap();
        builder.finish(source).unwrap()
    }

    fn files(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_plan_is_kept_and_found() {
        let dir = tempfile::tempdir().unwrap();
        let cache = PlanCache::at(dir.path().join("new"));
        assert!(cache.find(SHA256).is_none());
        cache.keep(SHA256, plan([7; 32])).unwrap();
        assert_eq!(files(&dir.path().join("new")), [name(SHA256)]);
        assert_eq!(cache.find(SHA256).unwrap().source(), &[7; 32]);
    }

    #[test]
    fn a_plan_that_cannot_be_trusted_is_removed() {
        let good = plan([7; 32]);
        let cut = good[..good.len() - 1].to_vec();
        for bytes in [cut, b"no plan".to_vec(), Vec::new(), plan([8; 32])] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name(SHA256)), bytes).unwrap();
            let cache = PlanCache::at(dir.path().to_owned());
            assert!(cache.find(SHA256).is_none());
            assert!(files(dir.path()).is_empty());
        }
    }

    #[test]
    fn a_folder_that_cannot_be_is_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let cache = PlanCache::at(dir.path().join("file"));
        assert!(cache.find(SHA256).is_none());
        assert!(cache.keep(SHA256, plan([7; 32])).is_ok());
        cache.retain(&[]);
        assert_eq!(files(dir.path()), ["file"]);
    }

    #[test]
    fn plans_of_networks_in_use_stay() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = Manifest::parse(EXAMPLE).unwrap();
        let wanted = name(&"0".repeat(64));
        let left_behind = format!("{SHA256}-1-1.plan-99");
        for file in [&wanted, &name(SHA256), &left_behind, &"notes".to_owned()] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        PlanCache::at(dir.path().to_owned()).retain(&[&manifest]);
        assert_eq!(files(dir.path()), [wanted, "notes".to_owned()]);
    }
}
