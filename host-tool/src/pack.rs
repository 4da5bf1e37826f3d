//! From the workspace to one bundle file: what a door needs to recognise the people enrolled.
//!
//! The layout is `facelatch_protocol::bundle`'s. A bundle names its embedding space; parts of another space are refused
//! here already. Called by `cmd/pack.rs`, `cmd/push.rs` and the demo.

use facelatch_models::{
    classifier::Classifier,
    embedding::SpaceId,
    zoo::{MANIFEST, Zoo},
};
use facelatch_protocol::{
    BundleFault, Digest, GalleryRecord, PersonId, SpaceName, TemplateKey,
    bundle::{self, MAX_RECORD, Part, PartKind, PartName},
    bundle_v1::{FORMAT, Header, MAX_HEADER, PREFIX_LEN},
    message,
};

use crate::{
    Error,
    embed::sha256,
    home::{Person, Template},
};

/// What goes into a bundle.
#[derive(Debug)]
pub struct Contents<'a> {
    /// Embedding space of everything in it.
    pub space: &'a SpaceId,
    /// The classifier.
    pub classifier: &'a Classifier,
    /// The people with their templates.
    pub people: &'a [Person],
    /// The networks, if they go along.
    pub networks: Option<&'a Zoo>,
    /// Grows with every bundle.
    pub counter: u64,
    /// When, milliseconds since 1970.
    pub created_unix_ms: u64,
}

/// The bundle file's bytes.
///
/// # Errors
/// [`Error::Models`] for a part of another space or an unusable network, [`Error::Usage`] if something does not fit a
/// bundle.
pub fn pack(contents: &Contents<'_>) -> Result<Vec<u8>, Error> {
    contents.space.expect(&contents.classifier.space)?;
    let mut parts = Vec::new();
    if let Some(zoo) = contents.networks {
        add_networks(&mut parts, zoo)?;
    }
    let classifier = postcard::to_allocvec(contents.classifier)
        .map_err(|error| Error::Bug(format!("cannot encode the classifier: {error}")))?;
    parts.push((PartKind::Classifier, "classifier".to_owned(), classifier));
    parts.push((PartKind::Gallery, "gallery".to_owned(), gallery(contents)?));
    assemble(contents, &parts)
}

fn add_networks(parts: &mut Vec<(PartKind, String, Vec<u8>)>, zoo: &Zoo) -> Result<(), Error> {
    let path = zoo.dir().join(MANIFEST);
    let manifest = std::fs::read(&path).map_err(Error::storage("read", &path))?;
    parts.push((PartKind::Networks, MANIFEST.to_owned(), manifest));
    for network in &zoo.manifest().network {
        parts.push((
            PartKind::Networks,
            network.file.clone(),
            zoo.bytes(network)?,
        ));
    }
    Ok(())
}

fn gallery(contents: &Contents<'_>) -> Result<Vec<u8>, Error> {
    let mut part = Vec::new();
    let mut buffer = [0; 4 + MAX_RECORD];
    for person in contents.people {
        for (index, template) in person.templates.iter().enumerate() {
            contents.space.expect(&template.space)?;
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

fn assemble(
    contents: &Contents<'_>,
    parts: &[(PartKind, String, Vec<u8>)],
) -> Result<Vec<u8>, Error> {
    let mut header = Header {
        format: FORMAT,
        created_unix_ms: contents.created_unix_ms,
        counter: contents.counter,
        space: space_name(contents.space)?,
        parts: heapless::Vec::new(),
    };
    for (kind, name, bytes) in parts {
        let part = Part {
            kind: *kind,
            name: PartName::parse(name)
                .map_err(|why| Error::Usage(format!("the file name {name:?} {why}")))?,
            len: bytes.len() as u64,
            sha256: Digest(sha256(bytes)),
        };
        header.parts.push(part).map_err(|_| {
            Error::Usage(format!(
                "a bundle holds at most {} files",
                bundle::MAX_PARTS
            ))
        })?;
    }
    let mut buffer = [0; PREFIX_LEN + MAX_HEADER];
    let mut file = header.encode(&mut buffer).map_err(does_not_fit)?.to_vec();
    for (_, _, bytes) in parts {
        file.extend_from_slice(bytes);
    }
    Ok(file)
}

fn space_name(space: &SpaceId) -> Result<SpaceName, Error> {
    SpaceName::parse(space.as_str())
        .map_err(|why| Error::Bug(format!("the space {} {why}", space.as_str())))
}

fn does_not_fit(fault: BundleFault) -> Error {
    Error::Usage(format!("this does not fit a bundle: {fault}"))
}

/// Reads and checks a bundle file's header; the parts' digests are checked too.
///
/// # Errors
/// [`BundleFault`] of the first thing that does not hold.
pub fn check(file: &[u8]) -> Result<Header, BundleFault> {
    let (prefix, rest) = file
        .split_first_chunk::<PREFIX_LEN>()
        .ok_or(BundleFault::Magic)?;
    let len = Header::length(*prefix)?;
    let (header, mut parts) = rest.split_at_checked(len).ok_or(BundleFault::Length)?;
    let header = Header::parse(header)?;
    for (index, part) in header.parts.iter().enumerate() {
        let len = usize::try_from(part.len).map_err(|_| BundleFault::Length)?;
        let (bytes, after) = parts.split_at_checked(len).ok_or(BundleFault::Length)?;
        if Digest(sha256(bytes)) != part.sha256 {
            // A header holds at most MAX_PARTS = 24 parts.
            return Err(BundleFault::PartDigest { part: index as u8 });
        }
        parts = after;
    }
    if parts.is_empty() {
        Ok(header)
    } else {
        Err(BundleFault::Length)
    }
}

#[cfg(test)]
mod tests {
    use facelatch_protocol::DisplayName;

    use super::*;

    fn space(name: &str) -> SpaceId {
        SpaceId::parse(name).expect("a space")
    }

    fn classifier(name: &str) -> Classifier {
        Classifier {
            space: space(name),
            people: vec!["ada".into()],
            weights: vec![0.0; 4],
            biases: vec![0.0; 2],
        }
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

    fn packed(
        classifier_space: &str,
        template_space: &str,
        values: Vec<f32>,
    ) -> Result<Vec<u8>, Error> {
        pack(&Contents {
            space: &space("test-2"),
            classifier: &classifier(classifier_space),
            people: &[ada(template_space, values)],
            networks: None,
            counter: 7,
            created_unix_ms: 9,
        })
    }

    #[test]
    fn a_bundle_holds_what_was_packed_and_every_damage_shows() {
        let file = packed("test-2", "test-2", vec![0.6, 0.8]).expect("packable");
        let header = check(&file).expect("sound");
        assert_eq!(
            (header.counter, header.created_unix_ms, &*header.space),
            (7, 9, "test-2")
        );
        let kinds: Vec<_> = header.parts.iter().map(|p| p.kind).collect();
        assert_eq!(kinds, [PartKind::Classifier, PartKind::Gallery]);
        let gallery_at = file.len() - header.parts[1].len as usize;
        let mut gallery = &file[gallery_at..];
        for index in 0..2 {
            let record = bundle::take_record(&mut gallery).expect("a record");
            assert_eq!((&*record.key.person, record.key.index), ("ada", index));
            assert_eq!(&*record.template.values, &[0.6, 0.8]);
        }
        assert!(gallery.is_empty());
        assert_eq!(
            packed("test-2", "test-2", vec![0.6, 0.8]).expect("packable"),
            file,
            "the same bytes again"
        );
        for at in gallery_at..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert!(check(&damaged).is_err(), "byte {at} changed");
            assert!(check(&file[..at]).is_err(), "cut at {at}");
        }
        assert!(check(&[file, vec![0]].concat()).is_err(), "a byte too many");
    }

    #[test]
    fn parts_of_another_space_and_templates_too_long_are_refused() {
        assert!(matches!(
            packed("other-2", "test-2", vec![1.0]),
            Err(Error::Models(_))
        ));
        assert!(matches!(
            packed("test-2", "other-2", vec![1.0]),
            Err(Error::Models(_))
        ));
        let error = packed("test-2", "test-2", vec![1.0; 513])
            .expect_err("too long")
            .to_string();
        assert!(error.contains("513 numbers"), "{error}");
    }
}
