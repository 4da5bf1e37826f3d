//! The API's document: what `utoipa` gathers at the handlers, and what holds for all of them.

use utoipa::openapi::{
    ContentBuilder, OpenApi, RefOr, ResponseBuilder, Server,
    extensions::Extensions,
    info::{ContactBuilder, InfoBuilder, LicenseBuilder},
    path::Operation,
    schema::Ref,
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    tag::TagBuilder,
};

use super::api;

/// The call that every documented operation is shown with; `tests/tests/serve` runs each.
const EXAMPLES: &str = include_str!("examples.toml");

const ABOUT: &str = "Enroll people from photos, train the recogniser, ask who is in a photo, and run the doors this host is \
    paired with.\n\nShow the token that `facelatch serve` printed at its first start as `Authorization: Bearer TOKEN`, or as \
    the password of HTTP Basic. Every error is an RFC 9457 problem, `application/problem+json`.";

const TAGS: [(&str, &str); 12] = [
    ("create", "Photos of people, each answered by itself."),
    ("train", "Photos to templates, templates to classifier."),
    ("predict", "Who is in a photo."),
    ("people", "The people of a dataset, and their photos."),
    ("datasets", "Datasets side by side, one a user id."),
    ("unknown", "Faces nobody recognised, for review."),
    ("evaluations", "How good recognition is."),
    ("doors", "Doors this host is paired with."),
    ("jobs", "Work in the background."),
    (
        "ancestor",
        "The call of the program this one descends from.",
    ),
    ("session", "The console's sessions."),
    ("server", "The server itself."),
];

/// The API's document.
#[must_use]
pub fn document() -> OpenApi {
    finished(api::documentation())
}

/// The document of these routes, with all that they share.
pub(super) fn finished(mut document: OpenApi) -> OpenApi {
    document.info = InfoBuilder::new()
        .title("Facelatch")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .contact(Some(
            ContactBuilder::new()
                .name(Some("Facelatch"))
                .url(Some(env!("CARGO_PKG_REPOSITORY")))
                .build(),
        ))
        .license(Some(
            LicenseBuilder::new()
                .name("MIT OR Apache-2.0")
                .identifier(Some("MIT OR Apache-2.0"))
                .build(),
        ))
        .build();
    document.servers = Some(vec![Server::new("/")]);
    let tags = TAGS.iter();
    document.tags = Some(
        tags.map(|(name, about)| {
            TagBuilder::new()
                .name(*name)
                .description(Some(*about))
                .build()
        })
        .collect(),
    );
    secure(&mut document);
    let examples = examples();
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            finish(operation, &examples);
        }
    }
    document
}

fn secure(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    let schemes = [
        ("token", HttpAuthScheme::Bearer),
        ("password", HttpAuthScheme::Basic),
    ];
    for (name, scheme) in schemes {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(scheme).build());
        components.add_security_scheme(name, scheme);
    }
    let requirement = |name| SecurityRequirement::new::<&str, [&str; 0], &str>(name, []);
    document.security = Some(vec![requirement("token"), requirement("password")]);
}

/// What any operation may answer besides, and its example.
fn finish(operation: &mut Operation, examples: &[Example]) {
    let is_open = operation.security.is_some();
    let shared: &[(&str, &str)] = match is_open {
        true => &[("421", "The server goes by another name.")],
        false => &[
            ("401", "No token, or another one."),
            ("421", "The server goes by another name."),
        ],
    };
    for (status, about) in shared {
        let problem = ContentBuilder::new()
            .schema(Some(RefOr::Ref(Ref::from_schema_name("Problem"))))
            .build();
        let response = ResponseBuilder::new()
            .description(*about)
            .content("application/problem+json", problem)
            .build();
        let responses = &mut operation.responses.responses;
        responses
            .entry((*status).to_owned())
            .or_insert(RefOr::T(response));
    }
    let own = examples
        .iter()
        .find(|example| Some(&example.operation) == operation.operation_id.as_ref());
    if let Some(example) = own {
        let sample = serde_json::json!([{ "lang": "Shell", "source": example.call }]);
        let extensions = operation.extensions.get_or_insert_default();
        extensions.merge(Extensions::builder().add("x-codeSamples", sample).build());
    }
}

/// A call that can be run: `$FACELATCH` is the server, `$TOKEN` the token.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    operation: String,
    call: String,
    /// For the test that runs it: a piece of what it prints.
    #[serde(rename = "prints")]
    _prints: String,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Examples {
    example: Vec<Example>,
}

fn examples() -> Vec<Example> {
    // The file is part of the program, and read by its tests.
    toml::from_str::<Examples>(EXAMPLES)
        .map(|examples| examples.example)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_operation_has_one_example_and_every_example_an_operation() {
        let document = document();
        let mut documented = BTreeSet::new();
        for (path, item) in &document.paths.paths {
            for operation in [&item.get, &item.put, &item.post, &item.delete]
                .into_iter()
                .flatten()
            {
                let id = operation
                    .operation_id
                    .clone()
                    .expect("every operation has an id");
                assert!(documented.insert(id.clone()), "{id} twice");
                assert!(operation.summary.is_some(), "{path}: {id} has no summary");
                let tags = operation.tags.clone().unwrap_or_default();
                assert!(
                    tags.iter()
                        .all(|tag| TAGS.iter().any(|(name, _)| name == tag)),
                    "{id}: {tags:?}"
                );
            }
        }
        let read: Examples = toml::from_str(EXAMPLES).expect("well formed");
        let shown: Vec<String> = read
            .example
            .into_iter()
            .map(|example| example.operation)
            .collect();
        let once: BTreeSet<String> = shown.iter().cloned().collect();
        assert_eq!(shown.len(), once.len(), "an operation has two examples");
        assert_eq!(documented, once);
    }
}
