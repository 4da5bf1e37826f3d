//! Faces nobody recognised, kept for review because somebody asked for it: cut out, with their embeddings, in groups that
//! look like one person each.
//!
//! ```text
//! HOME/datasets/USER/unknown/ID.jpg     the face with some of what is around it
//! HOME/datasets/USER/unknown/ID         embedding and what was near, sealed
//! ```

use std::{fs, io, path::PathBuf};

use facelatch_models::embedding::{Embedding, SpaceId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{names::PhotoName, recognise::Recognised};
use crate::{Error, home::unix_ms_now, sealed};

const TAG: [u8; 4] = *b"unk1";
const REMEDY: &str = "delete it";
/// Two faces at most so far apart may be of one person: below the distance at which a door with few people stops.
const SAME: f32 = 0.42;
/// What is kept around a face, in its size: enough to find it again.
const AROUND: f32 = 0.6;
/// Longest side of what is kept, in pixels.
const SIDE_PX: u32 = 480;

/// What is kept of a face beside its picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    unix_ms: u64,
    space: SpaceId,
    values: Vec<f32>,
    nearest: Option<String>,
    distance: Option<f32>,
}

/// A face for review.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct Face {
    /// Its name; that of its picture too.
    pub(super) id: String,
    /// When it was seen, in milliseconds since 1970.
    pub(super) unix_ms: u64,
    /// The nearest person when it was seen.
    pub(super) nearest: Option<String>,
    /// Cosine distance to them.
    pub(super) distance: Option<f32>,
}

/// Faces that look like one person.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct Cluster {
    /// The faces, the latest first.
    pub(super) faces: Vec<Face>,
}

/// The folder.
pub(super) struct Unknown {
    dir: PathBuf,
}

impl Unknown {
    pub(super) fn new(dir: PathBuf) -> Unknown {
        Unknown { dir }
    }

    /// Keeps the faces of a photo that nobody recognised, at most `most` in all; how many were kept.
    pub(super) fn keep(&self, recognised: &Recognised, most: usize) -> Result<usize, Error> {
        sealed::private_dir(&self.dir)?;
        let mut kept = 0;
        for (face, verdict, embedding) in &recognised.faces {
            if verdict.person.is_some() {
                continue;
            }
            let jpeg = super::recognise::cut_out(&recognised.photo, face, AROUND, SIDE_PX)?;
            let Some(name) = PhotoName::of(&jpeg) else {
                continue;
            };
            let body = Kept {
                unix_ms: unix_ms_now(),
                space: embedding.space().clone(),
                values: embedding.values().to_vec(),
                nearest: verdict.nearest.clone(),
                distance: verdict.distance,
            };
            sealed::write_atomic(&self.dir.join(name.as_str()), &jpeg)?;
            sealed::write_atomic(&self.dir.join(name.stem()), &sealed::seal(TAG, &body)?)?;
            kept += 1;
        }
        self.forget_oldest(most)?;
        Ok(kept)
    }

    /// All faces in groups, the largest group first.
    pub(super) fn clusters(&self) -> Result<Vec<Cluster>, Error> {
        let mut faces = self.all()?;
        faces.sort_by_key(|(_, kept)| std::cmp::Reverse(kept.unix_ms));
        let mut embeddings = Vec::new();
        for (_, kept) in &faces {
            embeddings.push(Embedding::new(kept.space.clone(), kept.values.clone())?);
        }
        let groups = group(&embeddings)?;
        let mut clusters: Vec<Cluster> = groups
            .into_iter()
            .map(|group| Cluster {
                faces: group
                    .into_iter()
                    .map(|i| told(&faces[i].0, &faces[i].1))
                    .collect(),
            })
            .collect();
        clusters.sort_by_key(|cluster| std::cmp::Reverse(cluster.faces.len()));
        Ok(clusters)
    }

    /// A face's picture.
    pub(super) fn picture(&self, id: &PhotoName) -> Result<Option<Vec<u8>>, Error> {
        let path = self.dir.join(id.as_str());
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::storage("read", path)(error)),
        }
    }

    /// Forgets a face; false if there is none.
    pub(super) fn forget(&self, id: &PhotoName) -> Result<bool, Error> {
        let was_there = sealed::remove(&self.dir.join(id.as_str()))?;
        Ok(sealed::remove(&self.dir.join(id.stem()))? || was_there)
    }

    fn all(&self) -> Result<Vec<(String, Kept)>, Error> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::storage("read", &self.dir)(error)),
        };
        let mut all = Vec::new();
        for entry in entries {
            let name = entry
                .map_err(Error::storage("read", &self.dir))?
                .file_name();
            let Some(id) = name
                .to_str()
                .filter(|name| name.ends_with(".jpg") && !name.starts_with('.'))
            else {
                continue;
            };
            let stem = id.trim_end_matches(".jpg");
            if let Some(kept) = sealed::read(&self.dir.join(stem), TAG, REMEDY)? {
                all.push((id.to_owned(), kept));
            }
        }
        Ok(all)
    }

    fn forget_oldest(&self, most: usize) -> Result<(), Error> {
        let mut all = self.all()?;
        all.sort_by_key(|(_, kept)| std::cmp::Reverse(kept.unix_ms));
        for (id, _) in all.iter().skip(most) {
            if let Ok(id) = PhotoName::parse(id) {
                self.forget(&id)?;
            }
        }
        Ok(())
    }
}

fn told(id: &str, kept: &Kept) -> Face {
    Face {
        id: id.to_owned(),
        unix_ms: kept.unix_ms,
        nearest: kept.nearest.clone(),
        distance: kept.distance,
    }
}

/// Groups of indices: a face joins the first group to all of whose faces it is near (complete linkage, greedy), so that no
/// chain of likenesses joins two people. Faces of two embedding spaces are never near.
fn group(embeddings: &[Embedding]) -> Result<Vec<Vec<usize>>, Error> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (i, embedding) in embeddings.iter().enumerate() {
        let mut joined = None;
        for (g, group) in groups.iter().enumerate() {
            if is_near_all(embedding, group, embeddings)? {
                joined = Some(g);
                break;
            }
        }
        match joined {
            Some(g) => groups[g].push(i),
            None => groups.push(vec![i]),
        }
    }
    Ok(groups)
}

fn is_near_all(one: &Embedding, group: &[usize], all: &[Embedding]) -> Result<bool, Error> {
    for &member in group {
        let other = &all[member];
        if one.space() != other.space() || one.distance(other)? > SAME {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(degrees: f32) -> Embedding {
        in_space("s", degrees)
    }

    fn in_space(space: &str, degrees: f32) -> Embedding {
        let space = SpaceId::parse(space).expect("a space");
        let (y, x) = degrees.to_radians().sin_cos();
        Embedding::new(space, vec![x, y]).expect("a unit vector")
    }

    #[test]
    fn faces_group_by_likeness_and_chains_do_not_join_people() {
        // A distance of 0.42 is an angle of 54.5 degrees.
        let faces = [
            at(0.0),
            at(10.0),
            at(180.0),
            in_space("behind-a-head", 0.0),
            at(50.0),
            at(100.0),
            at(185.0),
            in_space("behind-a-head", 20.0),
        ];
        let groups = group(&faces).expect("one space");
        assert_eq!(groups, [vec![0, 1, 4], vec![2, 6], vec![3, 7], vec![5]]);
        assert!(group(&[]).expect("nothing").is_empty());
    }

    #[test]
    fn the_oldest_faces_make_room() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let unknown = Unknown::new(dir.path().join("unknown"));
        sealed::private_dir(&unknown.dir).expect("writable");
        for n in 0..5u8 {
            let name = format!("{:032x}", n);
            let kept = Kept {
                unix_ms: u64::from(n),
                space: SpaceId::parse("s").expect("a space"),
                values: vec![1.0, 0.0],
                nearest: None,
                distance: None,
            };
            sealed::write_atomic(&unknown.dir.join(format!("{name}.jpg")), b"x").expect("writable");
            sealed::write_atomic(
                &unknown.dir.join(&name),
                &sealed::seal(TAG, &kept).expect("sealable"),
            )
            .expect("writable");
        }
        unknown.forget_oldest(2).expect("removable");
        let clusters = unknown.clusters().expect("readable");
        assert_eq!(clusters.len(), 1);
        let seen: Vec<u64> = clusters[0].faces.iter().map(|face| face.unix_ms).collect();
        assert_eq!(seen, [4, 3]);
    }
}
