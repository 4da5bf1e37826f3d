//! A linear head: from a network's embedding to fewer numbers, learned from the operator's own people.
//!
//! ```text
//! Embedding (512, the network's space) --Head--> W x, scaled to length 1 --> Embedding (128, a space of its own)
//! examples of people --metric/start.rs: principal axes--> W0 --metric/triplet.rs: triplet loss--> Head + curve
//! ```
//!
//! A head is made on the host and travels in bundles; the door runs it behind the network, see `facenet`. The space is named
//! by a digest of the whole head: templates of two heads, or of a head and its network, are never compared. What it does to
//! strangers' distances is measured on people who had no part in the training, and stored with it.

mod start;
mod triplet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use triplet::{Epoch, Fitted, HeldOut, TripletConfig, fit};

use crate::{
    Error,
    calibrate::Tail,
    embedding::{Embedding, SpaceId, check_dimension, dot},
    openset::Gate,
    zoo::hex,
};

const MARK: &[u8] = b"FLHD1";
/// Most numbers in an embedding, before or after a head.
const MOST_DIMS: usize = 4096;
/// A stranger's chance against one template at the head's own largest distance: what the shipped networks' gates have.
const GATE_FMR: f64 = 2.5e-4;

/// A linear map of unit embeddings, followed by scaling to unit length.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    learned: Learned,
    space: SpaceId,
}

/// What is stored of a head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// The space it maps from.
    pub base: SpaceId,
    /// Numbers in an embedding of `base`.
    pub dims_in: u32,
    /// Numbers in what it gives.
    pub dims_out: u32,
    /// `dims_out x dims_in`, row major.
    pub weights: Vec<f32>,
    /// How it was trained.
    pub config: TripletConfig,
    /// How near strangers come in its space: measured on the people held out.
    pub strangers: Tail,
}

impl Head {
    /// Names what was learned.
    ///
    /// # Errors
    /// [`Error::Training`] if its parts contradict each other or a number is none.
    pub fn new(learned: Learned) -> Result<Head, Error> {
        let refuse = |why: &str| Err(Error::Training(format!("the head is unusable: {why}")));
        let (dims_in, dims_out) = (learned.dims_in as usize, learned.dims_out as usize);
        if dims_out == 0 || dims_out > dims_in || dims_in > MOST_DIMS {
            return refuse("it has impossible dimensions");
        }
        if learned.weights.len() != dims_in * dims_out {
            return refuse("its weights do not fit its dimensions");
        }
        if !learned.weights.iter().all(|w| w.is_finite()) {
            return refuse("a weight is no number");
        }
        learned.config.check()?;
        learned.strangers.validate()?;
        let digest = Sha256::digest(stored(&learned)?);
        let space = format!(
            "{}-triplet-{dims_out}-{}",
            stem(learned.base.as_str()),
            hex(&digest[..8])
        );
        Ok(Head {
            space: SpaceId::parse(&space)?,
            learned,
        })
    }

    /// Reads a stored head; `None` if it is none, or [`Head::new`] refuses it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Head> {
        let rest = bytes.strip_prefix(MARK)?;
        match postcard::take_from_bytes::<Learned>(rest) {
            Ok((learned, [])) => Head::new(learned).ok(),
            Ok((_, _)) | Err(_) => None,
        }
    }

    /// The bytes to store.
    ///
    /// # Errors
    /// [`Error::Training`] if there is no memory for them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        stored(&self.learned)
    }

    /// The space of what it gives.
    #[must_use]
    pub fn space(&self) -> &SpaceId {
        &self.space
    }

    /// What it was made of.
    #[must_use]
    pub fn learned(&self) -> &Learned {
        &self.learned
    }

    /// The open-set gate of its space: as measured on the people held out.
    #[must_use]
    pub fn gate(&self) -> Gate {
        let strangers = &self.learned.strangers;
        let max_distance = strangers.distance(GATE_FMR);
        Gate {
            max_distance,
            distance_per_decade: max_distance - strangers.distance(GATE_FMR / 10.0),
            ..Gate::default()
        }
    }

    /// Maps an embedding of the network's space into the head's. The same bits on every machine.
    ///
    /// # Errors
    /// [`Error::Space`] for an embedding of another space, [`Error::Inference`] if nothing is left of it.
    pub fn apply(&self, embedding: &Embedding) -> Result<Embedding, Error> {
        let Learned { base, dims_in, .. } = &self.learned;
        base.expect(embedding.space())?;
        let x = embedding.values();
        check_dimension(base, *dims_in as usize, x.len())?;
        let rows = self.learned.weights.chunks_exact(x.len());
        Embedding::new(self.space.clone(), rows.map(|row| dot(row, x)).collect())
    }

    /// An embedding in the head's space: mapped if it is of the network's, as it is if it is there already.
    ///
    /// # Errors
    /// As for [`Head::apply`].
    pub fn bring(&self, embedding: Embedding) -> Result<Embedding, Error> {
        if *embedding.space() == self.space {
            return Ok(embedding);
        }
        self.apply(&embedding)
    }
}

fn stored(learned: &Learned) -> Result<Vec<u8>, Error> {
    postcard::to_extend(learned, MARK.to_vec())
        .map_err(|error| Error::Training(format!("the head cannot be stored: {error}")))
}

/// The network's name in a space id such as `facenet-512-1a2b3c4d5e6f7081`, cut so that a head's id has room.
fn stem(space: &str) -> &str {
    const MOST: usize = SpaceId::MAX_LEN - "-triplet-4096-0123456789abcdef".len();
    let mut parts = space.rsplitn(3, '-');
    let name = match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(_), Some(name)) => name,
        (_, _, _) => space,
    };
    // An id is ASCII.
    name.get(..MOST.min(name.len())).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned() -> Learned {
        Learned {
            base: SpaceId::parse("facenet-3-8ae262ba0655f498").unwrap(),
            dims_in: 3,
            dims_out: 2,
            weights: vec![0.0, 2.0, 0.0, 0.0, 0.0, -2.0],
            config: TripletConfig::default(),
            strangers: Tail {
                body: vec![(0.1, 0.8), (0.01, 0.6)],
                scale: 0.04,
                shape: -0.1,
            },
        }
    }

    #[test]
    fn its_gate_tightens_as_strangers_come_in_its_own_space() {
        let head = Head::new(learned()).unwrap();
        let (few, many) = (
            head.gate(),
            head.gate().tightened(10 * Gate::REFERENCE_PEOPLE),
        );
        for (gate, fmr) in [(few, GATE_FMR), (many, GATE_FMR / 10.0)] {
            let seen = learned().strangers.fmr(gate.max_distance);
            assert!((seen / fmr - 1.0).abs() < 1e-3, "{seen} for {fmr}");
        }
        // 0.6 - 0.4 * (1 - 0.025^0.1), and with 0.0025.
        assert!((few.max_distance - 0.4766).abs() < 1e-4, "{few:?}");
        assert!((many.max_distance - 0.4197).abs() < 1e-4, "{many:?}");
    }

    #[test]
    fn what_is_given_is_the_product_scaled_and_of_another_space() {
        let head = Head::new(learned()).unwrap();
        let base = &learned().base;
        let given = Embedding::new(base.clone(), vec![5.0, 3.0, -4.0]).unwrap();
        let mapped = head.apply(&given).unwrap();
        assert!((mapped.values()[0] - 0.6).abs() < 1e-6 && (mapped.values()[1] - 0.8).abs() < 1e-6);
        assert!(given.distance(&mapped).is_err(), "spaces never mix");
        assert_eq!(head.bring(given).unwrap(), mapped);
        assert_eq!(head.bring(mapped.clone()).unwrap(), mapped);
        assert!(matches!(head.apply(&mapped), Err(Error::Space { .. })));
        let lost = Embedding::new(base.clone(), vec![1.0, 0.0, 0.0]).unwrap();
        assert!(head.apply(&lost).is_err(), "nothing is left of it");
    }

    #[test]
    fn any_change_names_another_space() {
        type Change = fn(&mut Learned);
        let changes: [(&str, Change); 4] = [
            ("weights", |l| l.weights[0] = 1e-9),
            ("network", |l| {
                l.base = SpaceId::parse("facenet-3-0ae262ba0655f498").unwrap()
            }),
            ("figures", |l| l.strangers.scale = 0.05),
            ("seed", |l| l.config.seed += 1),
        ];
        let head = Head::new(learned()).unwrap();
        assert!(
            head.space().as_str().starts_with("facenet-triplet-2-"),
            "{}",
            head.space()
        );
        for (name, change) in changes {
            let mut other = learned();
            change(&mut other);
            assert_ne!(Head::new(other).unwrap().space(), head.space(), "{name}");
        }
    }

    #[test]
    fn a_stored_head_is_read_whole_or_not_at_all() {
        let head = Head::new(learned()).unwrap();
        let bytes = head.to_bytes().unwrap();
        assert_eq!(Head::from_bytes(&bytes), Some(head));
        assert_eq!(Head::from_bytes(&[&bytes[..], &[0]].concat()), None);
        for end in 0..bytes.len() {
            assert_eq!(Head::from_bytes(&bytes[..end]), None, "cut at {end}");
        }
        type Damage = fn(&mut Learned);
        let damages: [(&str, Damage); 5] = [
            ("no number", |l| l.weights[1] = f32::NAN),
            ("too few weights", |l| l.weights.truncate(5)),
            ("more out than in", |l| (l.dims_in, l.dims_out) = (2, 3)),
            ("no dimension", |l| (l.dims_out, l.weights) = (0, vec![])),
            ("no tail", |l| l.strangers.body.clear()),
        ];
        for (name, damage) in damages {
            let mut damaged = learned();
            damage(&mut damaged);
            let bytes = stored(&damaged).unwrap();
            assert_eq!(Head::from_bytes(&bytes), None, "{name}");
        }
    }

    #[test]
    fn long_network_names_leave_room() {
        assert_eq!(stem("facenet-512-8ae262ba0655f498"), "facenet");
        assert_eq!(stem("a-b-512-8ae262ba0655f498"), "a-b");
        assert_eq!(stem("plain"), "plain");
        let longest = "x".repeat(SpaceId::MAX_LEN);
        let id = format!("{}-triplet-4096-0123456789abcdef", stem(&longest));
        assert!(SpaceId::parse(&id).is_ok(), "{id}");
    }
}
