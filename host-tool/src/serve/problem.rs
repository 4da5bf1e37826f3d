//! Every error a client sees, as RFC 9457 `application/problem+json`, and which of ours becomes which.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{Error, client::Blame};

/// What went wrong, as RFC 9457 has it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct Problem {
    /// What kind of problem, as a reference to the documentation.
    #[serde(rename = "type")]
    #[schema(example = "/docs#problem-not-found")]
    kind: String,
    /// The kind in words.
    #[schema(example = "Not Found")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What happened here, and what can be done.
    #[schema(example = "there is no person ada in dataset main")]
    detail: String,
}

/// The kinds: their slug and HTTP status.
const KINDS: &[(&str, StatusCode)] = &[
    ("bad-request", StatusCode::BAD_REQUEST),
    ("unauthorized", StatusCode::UNAUTHORIZED),
    ("forbidden", StatusCode::FORBIDDEN),
    ("not-found", StatusCode::NOT_FOUND),
    ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED),
    ("timeout", StatusCode::REQUEST_TIMEOUT),
    ("conflict", StatusCode::CONFLICT),
    ("too-large", StatusCode::PAYLOAD_TOO_LARGE),
    ("unsupported-media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ("misdirected", StatusCode::MISDIRECTED_REQUEST),
    ("unusable-photo", StatusCode::UNPROCESSABLE_ENTITY),
    ("internal", StatusCode::INTERNAL_SERVER_ERROR),
    ("door-failed", StatusCode::BAD_GATEWAY),
    ("busy", StatusCode::SERVICE_UNAVAILABLE),
];

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        let slug = KINDS.iter().find(|(_, of)| *of == status);
        Problem {
            kind: slug.map_or_else(
                || "about:blank".to_owned(),
                |(slug, _)| format!("/docs#problem-{slug}"),
            ),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
        }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn not_found(what: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, what)
    }

    pub(super) fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, detail)
    }

    pub(super) fn too_large(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    pub(super) fn busy(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// A bug, or the machine's failure: told in the log, not to the client.
    pub(super) fn internal(error: &dyn std::fmt::Display) -> Problem {
        log::error!("{error}");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the server failed at this; its log says why",
        )
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Whether it is about a photo, and others of the same request may do better.
    pub(super) fn is_of_the_photo(&self) -> bool {
        matches!(
            self.status(),
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE
        )
    }

    fn status(&self) -> StatusCode {
        // Made of a status.
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        use facelatch_models::Error as Models;
        let status = match &error {
            Error::Layout { .. } | Error::NotReady(_) => StatusCode::CONFLICT,
            Error::Input { .. } | Error::Usage(_) => StatusCode::BAD_REQUEST,
            Error::Models(Models::Photo { .. }) => StatusCode::UNPROCESSABLE_ENTITY,
            Error::Models(
                Models::Training(_) | Models::Setting { .. } | Models::Calibration(_),
            ) => StatusCode::BAD_REQUEST,
            Error::Models(Models::Space { .. }) => StatusCode::CONFLICT,
            Error::Client(client) => match client.blame() {
                Blame::Operator => StatusCode::BAD_REQUEST,
                Blame::Device => StatusCode::CONFLICT,
                Blame::Machine => StatusCode::BAD_GATEWAY,
            },
            Error::Models(_)
            | Error::Storage { .. }
            | Error::Damaged { .. }
            | Error::Demo(_)
            | Error::Bug(_) => {
                return Problem::internal(&error);
            }
        };
        Problem::new(status, error.to_string())
    }
}

impl From<anyhow::Error> for Problem {
    /// The first error of the chain that is ours decides.
    fn from(error: anyhow::Error) -> Problem {
        match error.downcast::<Error>() {
            Ok(error) => Problem::from(error),
            Err(error) => Problem::internal(&format!("{error:#}")),
        }
    }
}

impl From<facelatch_models::Error> for Problem {
    fn from(error: facelatch_models::Error) -> Problem {
        Problem::from(Error::from(error))
    }
}

impl From<crate::client::Error> for Problem {
    fn from(error: crate::client::Error) -> Problem {
        Problem::from(Error::from(error))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, axum::Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"facelatch\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_in_the_documentation() {
        for (slug, _) in KINDS {
            let entry = format!("\"{slug}\"");
            assert!(include_str!("web/docs.js").contains(&entry), "{slug}");
        }
    }

    #[test]
    fn errors_of_the_machine_tell_clients_nothing_of_it() {
        let error =
            Error::storage("read", "/secret/path")(std::io::ErrorKind::PermissionDenied.into());
        let problem = Problem::from(error);
        assert_eq!(problem.status, 500);
        assert!(!problem.detail.contains("secret"), "{problem:?}");
        let problem = Problem::from(Error::NotReady("train first".into()));
        assert_eq!((problem.status, problem.detail()), (409, "train first"));
        assert_eq!(problem.kind, "/docs#problem-conflict");
    }
}
