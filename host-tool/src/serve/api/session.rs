//! The console's sessions: a cookie in exchange for the token.

use std::time::Instant;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::serve::{
    extract::Json,
    guard::{COOKIE, session},
    problem::Problem,
    state::Shared,
};

/// What signs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    /// The token the server printed at its first start.
    token: String,
}

/// Sign in: the token for a cookie
///
/// For pages in a browser; programs show the token itself. The cookie is of no use to other sites: to change something a
/// request with it has to carry the header `X-Facelatch` and come from the server's own page. It lasts 12 hours after its
/// last use, and ends with the server.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = SignIn, security(()),
    responses(
        (status = 204, description = "The cookie is set."),
        (status = 401, body = Problem, content_type = "application/problem+json", description = "Another token."),
        (status = 408, body = Problem, content_type = "application/problem+json", description = "The request stalled."),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "More than 64 KiB."),
    ))]
pub(super) async fn sign_in(
    State(app): State<Shared>,
    Json(asked): Json<SignIn>,
) -> Result<Response, Problem> {
    if !app.token.is(asked.token.trim()) {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "that is not this server's token",
        ));
    }
    let secret = app.sessions.open(Instant::now())?;
    let cookie = format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Sign out
#[utoipa::path(delete, path = "/api/v1/session", tag = "session",
    responses((status = 204, description = "The session has ended.")))]
pub(super) async fn sign_out(State(app): State<Shared>, headers: HeaderMap) -> Response {
    if let Some(secret) = session(&headers) {
        app.sessions.close(secret);
    }
    let gone = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response()
}
