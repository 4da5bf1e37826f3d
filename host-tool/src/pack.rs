//! From the workspace to one signed bundle file: what a door needs to recognise the people enrolled.
//!
//! ```text
//! Contents -> gather -> Unsigned (parts with their digests) -> sign (counter, time, signature) -> the file's bytes
//! ```
//!
//! The same contents give the same parts, byte for byte: a door that has a part already is not sent it again. The layout is
//! `facelatch_protocol::bundle`'s. A bundle names its embedding space; parts of another space are refused here already.
//! Called by `cmd/pack.rs`, `cmd/push.rs` and the demo.

use facelatch_models::{
    calibrate::Calibration,
    classifier::Classifier,
    embedding::SpaceId,
    metric,
    zoo::{MANIFEST, Zoo},
};
use facelatch_protocol::{
    BundleFault, BundleId, Digest, GalleryRecord, PersonId, SpaceName, TemplateKey, TrustedKeys,
    bundle::{
        self, FORMAT, Head, MAX_HEAD, MAX_RECORD, Manifest, PREFIX_LEN, Part, PartKind, PartName,
    },
    message,
};

use crate::{
    Error,
    embed::sha256,
    home::{Person, Template},
    keys::{self, Signer},
    self_test,
};

/// What goes into a bundle: any of it, but something.
#[derive(Debug)]
pub struct Contents<'a> {
    /// Embedding space of everything in it.
    pub space: &'a SpaceId,
    /// The networks, if they go along.
    pub networks: Option<&'a Zoo>,
    /// The head behind the networks, if the space is a head's.
    pub head: Option<&'a metric::Head>,
    /// The classifier.
    pub classifier: Option<&'a Classifier>,
    /// The calibration of the gate.
    pub calibration: Option<&'a Calibration>,
    /// The people with their templates.
    pub people: Option<&'a [Person]>,
    /// Who may pass when, as TOML.
    pub policy: Option<&'a [u8]>,
    /// Networks to make the self-test with: those of the bundle, else those of the door.
    pub self_test: Option<&'a Zoo>,
    /// Whether the gallery replaces also the people enrolled at the door.
    pub replace: bool,
}

/// A bundle's parts, not yet numbered, dated and signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Unsigned {
    space: SpaceName,
    replace: bool,
    parts: Vec<(Part, Vec<u8>)>,
}

/// Makes the parts.
///
/// # Errors
/// [`Error::Models`] for a part of another space or an unusable network, [`Error::Usage`] if something does not fit a
/// bundle, or if there is nothing to put into it.
pub fn gather(contents: &Contents<'_>) -> Result<Unsigned, Error> {
    let mut unsigned = Unsigned {
        space: space_name(contents.space)?,
        replace: contents.replace,
        parts: Vec::new(),
    };
    for zoo in contents.networks.iter().chain(&contents.self_test) {
        let (space, _) = zoo.embedder_facts(zoo.chosen())?;
        contents.space.expect(&space)?;
    }
    if let Some(zoo) = contents.networks {
        add_networks(&mut unsigned, zoo)?;
    }
    if let Some(head) = contents.head {
        contents.space.expect(head.space())?;
        unsigned.add(PartKind::Head, "head", head.to_bytes()?)?;
    }
    if let Some(classifier) = contents.classifier {
        contents.space.expect(&classifier.space)?;
        unsigned.add(PartKind::Classifier, "classifier", classifier.to_bytes()?)?;
    }
    if let Some(calibration) = contents.calibration {
        contents.space.expect(&calibration.space)?;
        let calibration = postcard::to_allocvec(calibration)
            .map_err(|error| Error::Bug(format!("cannot encode the calibration: {error}")))?;
        unsigned.add(PartKind::Calibration, "calibration", calibration)?;
    }
    if let Some(people) = contents.people {
        let gallery = gallery(contents.space, people)?;
        unsigned.add(PartKind::Gallery, "gallery", gallery)?;
    }
    if let Some(policy) = contents.policy {
        unsigned.add(PartKind::Policy, "policy.toml", policy.to_vec())?;
    }
    if unsigned.parts.is_empty() {
        return Err(Error::Usage("there is nothing to put into a bundle".into()));
    }
    if let Some(zoo) = contents.self_test {
        unsigned.add(PartKind::SelfTest, "self-test", self_test::vectors(zoo)?)?;
    }
    Ok(unsigned)
}

impl Unsigned {
    /// Length of all parts together, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.parts.iter().map(|(part, _)| part.len).sum()
    }

    /// The bundle file's bytes, and the bundle's name. Counter and time are in the manifest, so each call names another
    /// bundle of the same parts.
    ///
    /// # Errors
    /// [`Error::Usage`] if there are too many parts.
    pub fn sign(
        &self,
        counter: u64,
        created_unix_ms: u64,
        signer: &Signer,
    ) -> Result<(Vec<u8>, BundleId), Error> {
        let mut manifest = Manifest {
            format: FORMAT,
            created_unix_ms,
            counter,
            space: self.space.clone(),
            replace: self.replace,
            parts: heapless::Vec::new(),
        };
        for (part, _) in &self.parts {
            manifest.parts.push(part.clone()).map_err(|_| {
                Error::Usage(format!(
                    "a bundle holds at most {} files",
                    bundle::MAX_PARTS
                ))
            })?;
        }
        let mut buffer = [0; MAX_HEAD];
        let manifest = manifest.encode(&mut buffer).map_err(does_not_fit)?;
        let signature = signer.sign(manifest, &format!("facelatch bundle {counter}"))?;
        let head = Head {
            manifest,
            signature: &signature,
        };
        let mut file = head.encode().map_err(does_not_fit)?.to_vec();
        for (_, bytes) in &self.parts {
            file.extend_from_slice(bytes);
        }
        let (id, _) = head.manifest().map_err(does_not_fit)?;
        Ok((file, id))
    }

    fn add(&mut self, kind: PartKind, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let part = Part {
            kind,
            name: PartName::parse(name)
                .map_err(|why| Error::Usage(format!("the file name {name:?} {why}")))?,
            len: bytes.len() as u64,
            sha256: Digest(sha256(&bytes)),
        };
        self.parts.push((part, bytes));
        Ok(())
    }
}

fn add_networks(unsigned: &mut Unsigned, zoo: &Zoo) -> Result<(), Error> {
    let path = zoo.dir().join(MANIFEST);
    let text = std::fs::read(&path).map_err(Error::storage("read", &path))?;
    // What the door does not use stays here.
    let used = zoo.manifest().only_embedder(zoo.chosen())?;
    let text = match used == *zoo.manifest() {
        true => text,
        false => used.to_text()?.into_bytes(),
    };
    unsigned.add(PartKind::Networks, MANIFEST, text)?;
    for network in &used.network {
        unsigned.add(PartKind::Networks, &network.file, zoo.bytes(network)?)?;
    }
    Ok(())
}

fn gallery(space: &SpaceId, people: &[Person]) -> Result<Vec<u8>, Error> {
    let mut part = Vec::new();
    let mut buffer = [0; 4 + MAX_RECORD];
    for person in people {
        for (index, template) in person.templates.iter().enumerate() {
            space.expect(&template.space)?;
            let record = record(person, index, template)?;
            let bytes = bundle::encode_record(&record, &mut buffer).map_err(does_not_fit)?;
            part.extend_from_slice(bytes);
        }
    }
    Ok(part)
}

fn record(person: &Person, index: usize, template: &Template) -> Result<GalleryRecord, Error> {
    let too_many = || Error::Usage(format!("{} has too many templates", person.id));
    Ok(GalleryRecord {
        key: TemplateKey {
            person: person.id.clone(),
            index: u32::try_from(index).map_err(|_| too_many())?,
        },
        name: person.name.clone(),
        created_unix_ms: person.created_unix_ms,
        template: wire_template(&person.id, template)?,
    })
}

/// A template as it goes over the wire and into bundles.
///
/// # Errors
/// [`Error::Usage`] if the network gives longer embeddings than the protocol carries.
pub fn wire_template(whose: &PersonId, template: &Template) -> Result<message::Template, Error> {
    let values = heapless::Vec::from_slice(&template.values).map_err(|_| {
        Error::Usage(format!(
            "the templates of {whose} have {} numbers; a door takes at most {}",
            template.values.len(),
            facelatch_protocol::MAX_TEMPLATE
        ))
    })?;
    Ok(message::Template {
        space: space_name(&template.space)?,
        values,
    })
}

fn space_name(space: &SpaceId) -> Result<SpaceName, Error> {
    SpaceName::parse(space.as_str())
        .map_err(|why| Error::Bug(format!("the space {} {why}", space.as_str())))
}

fn does_not_fit(fault: BundleFault) -> Error {
    Error::Usage(format!("this does not fit a bundle: {fault}"))
}

/// Reads and checks a bundle file: its head, the parts' digests and, given the keys, who signed it.
///
/// # Errors
/// [`BundleFault`] of the first thing that does not hold.
pub fn check(
    file: &[u8],
    trusted: Option<&TrustedKeys>,
) -> Result<(BundleId, Manifest), BundleFault> {
    let prefix = file.first_chunk::<PREFIX_LEN>().ok_or(BundleFault::Magic)?;
    let length = Head::length(*prefix)?;
    let (head, mut parts) = file.split_at_checked(length).ok_or(BundleFault::Length)?;
    let head = Head::parse(head)?;
    if let Some(trusted) = trusted {
        keys::verify(trusted, head.manifest, head.signature)?;
    }
    let (id, manifest) = head.manifest()?;
    for (index, part) in manifest.parts.iter().enumerate() {
        let len = usize::try_from(part.len).map_err(|_| BundleFault::Length)?;
        let (bytes, after) = parts.split_at_checked(len).ok_or(BundleFault::Length)?;
        if Digest(sha256(bytes)) != part.sha256 {
            // A manifest holds at most MAX_PARTS = 16 parts.
            return Err(BundleFault::PartDigest { part: index as u8 });
        }
        parts = after;
    }
    if parts.is_empty() {
        Ok((id, manifest))
    } else {
        Err(BundleFault::Length)
    }
}

#[cfg(test)]
mod tests {
    use facelatch_protocol::DisplayName;

    use super::*;
    use crate::keys::Keys;

    fn space(name: &str) -> SpaceId {
        SpaceId::parse(name).expect("a space")
    }

    fn classifier(name: &str) -> Classifier {
        let (weights, biases) = (vec![0.0; 4], vec![0.0; 2]);
        Classifier::softmax(space(name), vec!["ada".into()], weights, biases)
    }

    fn ada(name: &str, values: Vec<f32>) -> Person {
        let template = Template {
            space: space(name),
            values,
            photo_sha256: [0; 32],
            origin: "1.jpg".into(),
        };
        Person {
            id: PersonId::parse("ada").expect("an id"),
            name: DisplayName::parse("Ada").expect("a name"),
            created_unix_ms: 5,
            templates: vec![template.clone(), template],
        }
    }

    fn gathered(
        classifier_space: &str,
        template_space: &str,
        values: Vec<f32>,
    ) -> Result<Unsigned, Error> {
        gather(&Contents {
            space: &space("test-2"),
            networks: None,
            head: None,
            classifier: Some(&classifier(classifier_space)),
            calibration: None,
            people: Some(&[ada(template_space, values)]),
            policy: Some(b"[always]"),
            self_test: None,
            replace: true,
        })
    }

    #[test]
    fn a_bundle_holds_what_was_packed_and_every_damage_shows() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let keys = Keys::new(folder.path().to_path_buf());
        let (signer, trusted) = (keys.signer().expect("new"), keys.trusted().expect("new"));
        let unsigned = gathered("test-2", "test-2", vec![0.6, 0.8]).expect("packable");
        let (file, id) = unsigned.sign(7, 9, &signer).expect("signable");
        let (found, manifest) = check(&file, Some(&trusted)).expect("sound");
        assert_eq!(found, id);
        assert_eq!(
            (manifest.counter, manifest.created_unix_ms, &*manifest.space),
            (7, 9, "test-2")
        );
        assert!(manifest.replace);
        assert_eq!(manifest.parts_len(), Some(unsigned.size()));
        let kinds: Vec<_> = manifest.parts.iter().map(|p| p.kind).collect();
        assert_eq!(
            kinds,
            [PartKind::Classifier, PartKind::Gallery, PartKind::Policy]
        );
        let parts_at = file.len() - unsigned.size() as usize;
        let mut gallery = &file[parts_at + manifest.parts[0].len as usize..file.len() - 8];
        for index in 0..2 {
            let record = bundle::take_record(&mut gallery).expect("a record");
            assert_eq!((&*record.key.person, record.key.index), ("ada", index));
            assert_eq!(&*record.template.values, &[0.6, 0.8]);
        }
        assert!(gallery.is_empty());

        // The text of the signature's first line is not signed, nor read.
        let line = b"untrusted comment: signature of facelatch";
        let unsigned = file.windows(line.len()).position(|text| text == line);
        let unsigned = unsigned.expect("a comment");
        for at in (0..file.len()).filter(|at| !(unsigned..unsigned + line.len()).contains(at)) {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert!(
                check(&damaged, Some(&trusted)).is_err(),
                "byte {at} changed"
            );
            assert!(check(&file[..at], None).is_err(), "cut at {at}");
        }
        assert!(check(&[file, vec![0]].concat(), None).is_err(), "too long");
    }

    #[test]
    fn the_same_contents_give_the_same_parts_under_any_counter() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let signer = Keys::new(folder.path().to_path_buf())
            .signer()
            .expect("new");
        let unsigned = gathered("test-2", "test-2", vec![0.6, 0.8]).expect("packable");
        assert_eq!(
            gathered("test-2", "test-2", vec![0.6, 0.8]).expect("packable"),
            unsigned
        );
        let (first, first_id) = unsigned.sign(7, 9, &signer).expect("signable");
        let (again, again_id) = unsigned.sign(7, 9, &signer).expect("signable");
        let (later, later_id) = unsigned.sign(8, 9, &signer).expect("signable");
        assert_eq!(first_id, again_id);
        assert_ne!(first_id.digest, later_id.digest);
        let parts = |file: &[u8]| file[file.len() - unsigned.size() as usize..].to_vec();
        assert_eq!(parts(&first), parts(&later));
        let manifest = |file: &[u8]| check(file, None).expect("sound").1;
        assert_eq!(manifest(&first), manifest(&again));
        assert_eq!(manifest(&first).parts, manifest(&later).parts);
    }

    #[test]
    fn a_bundle_of_another_or_of_no_signer_is_told() {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
        let [ours, theirs] = folders
            .each_ref()
            .map(|folder| Keys::new(folder.path().to_path_buf()));
        let trusted = ours.trusted().expect("new");
        let unsigned = gathered("test-2", "test-2", vec![0.6, 0.8]).expect("packable");
        let (file, _) = unsigned
            .sign(1, 1, &theirs.signer().expect("new"))
            .expect("signable");
        assert_eq!(
            check(&file, Some(&trusted)).map(drop),
            Err(BundleFault::UnknownSigner)
        );
        assert!(check(&file, None).is_ok());
        let old = [b"FLB1", &file[4..]].concat();
        assert_eq!(check(&old, None).map(drop), Err(BundleFault::Unsigned));
    }

    #[test]
    fn parts_of_another_space_and_templates_too_long_are_refused() {
        assert!(matches!(
            gathered("other-2", "test-2", vec![1.0]),
            Err(Error::Models(_))
        ));
        assert!(matches!(
            gathered("test-2", "other-2", vec![1.0]),
            Err(Error::Models(_))
        ));
        let error = gathered("test-2", "test-2", vec![1.0; 705])
            .expect_err("too long")
            .to_string();
        assert!(error.contains("705 numbers"), "{error}");
        let nothing = gather(&Contents {
            space: &space("test-2"),
            networks: None,
            head: None,
            classifier: None,
            calibration: None,
            people: None,
            policy: None,
            self_test: None,
            replace: false,
        });
        assert!(matches!(nothing, Err(Error::Usage(_))));
    }
}
