//! What a dataset keeps under the time it was made: tagged pictures and evaluations.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Datasets, names_in};
use crate::{
    Error, sealed,
    serve::names::{PhotoName, UserId},
};

impl Datasets {
    /// Where what `predict` drew goes: named after the time, and never over another.
    pub(in crate::serve) fn put_output(&self, user: &UserId, jpeg: &[u8]) -> Result<String, Error> {
        self.put_dated(user, &self.dir(user).join("output"), "_tagged.jpg", jpeg)
    }

    pub(in crate::serve) fn outputs(&self, user: &UserId) -> Result<Vec<PhotoName>, Error> {
        let names = names_in(&self.dir(user).join("output"))?;
        Ok(names
            .iter()
            .rev()
            .filter_map(|name| PhotoName::parse(name).ok())
            .collect())
    }

    pub(in crate::serve) fn output_path(&self, user: &UserId, name: &PhotoName) -> PathBuf {
        self.dir(user).join("output").join(name.as_str())
    }

    /// Keeps an evaluation as JSON and as a page; its name.
    pub(in crate::serve) fn put_evaluation(
        &self,
        user: &UserId,
        json: &[u8],
        html: &[u8],
    ) -> Result<String, Error> {
        let folder = self.evaluations_dir(user);
        let name = self.put_dated(user, &folder, ".json", json)?;
        sealed::write_atomic(&folder.join(&name).with_extension("html"), html)?;
        Ok(name.trim_end_matches(".json").to_owned())
    }

    /// The evaluations' names, the latest first.
    pub(in crate::serve) fn evaluations(&self, user: &UserId) -> Result<Vec<String>, Error> {
        let names = names_in(&self.evaluations_dir(user))?;
        let names = names
            .iter()
            .rev()
            .filter_map(|name| name.strip_suffix(".json"));
        Ok(names.map(str::to_owned).collect())
    }

    /// An evaluation's file of this kind, `json` or `html`; only names that [`Datasets::evaluations`] lists are found.
    pub(in crate::serve) fn evaluation(
        &self,
        user: &UserId,
        name: &str,
        kind: &str,
    ) -> Result<Option<Vec<u8>>, Error> {
        if !self.evaluations(user)?.iter().any(|listed| listed == name) {
            return Ok(None);
        }
        let path = self.evaluations_dir(user).join(format!("{name}.{kind}"));
        fs::read(&path)
            .map(Some)
            .map_err(Error::storage("read", path))
    }

    fn evaluations_dir(&self, user: &UserId) -> PathBuf {
        self.dir(user).join("evaluation")
    }

    fn put_dated(
        &self,
        user: &UserId,
        folder: &Path,
        suffix: &str,
        bytes: &[u8],
    ) -> Result<String, Error> {
        let date = jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H-%M-%S-%3fZ")
            .to_string();
        let _one = self.writing_in(user)?;
        sealed::private_dir(folder)?;
        let mut name = format!("{date}{suffix}");
        let mut again = 1;
        while folder.join(&name).exists() {
            again += 1;
            name = format!("{date}-{again}{suffix}");
        }
        sealed::write_atomic(&folder.join(&name), bytes)?;
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;

    #[test]
    fn outputs_of_the_same_moment_have_names_of_their_own() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let datasets = Datasets::new(&Home::new(dir.path()));
        let user = UserId::parse("acme").expect("a user");
        let late = datasets.put_output(&user, b"x");
        assert!(late.is_err() && !datasets.exists(&user), "it is not there");
        sealed::private_dir(&datasets.training(&user)).expect("writable");
        for _ in 0..20 {
            datasets.put_output(&user, b"x").expect("writable");
        }
        assert_eq!(datasets.outputs(&user).expect("readable").len(), 20);
        assert_eq!(
            datasets
                .evaluation(&user, "../../keys/host", "json")
                .expect("none"),
            None
        );
    }
}
