//! All routes, and what every handler's module is about. Paths stand at the handlers, where their documentation is made.

mod ancestor;
mod datasets;
mod doors;
mod evaluations;
mod jobs;
mod map;
mod people;
mod photos;
mod predict;
mod server;
mod session;
mod train;
mod unknown;
mod upload;

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{Method, StatusCode, Uri},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::get,
};
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    assets,
    guard::guard,
    limits::{BODY_BYTES, Limits},
    openapi,
    problem::Problem,
    state::Shared,
};

/// Everything the server answers.
pub(super) fn router(app: Shared) -> Router {
    let (api, document) = documented(&app.limits).split_for_parts();
    let document = openapi::finished(document);
    api.route(
        "/api/v1/openapi.json",
        get(move || async move { axum::Json(document) }),
    )
    .route("/", get(assets::console))
    .route("/docs", get(assets::docs))
    .route("/assets/{*path}", get(assets::asset))
    .fallback(nothing_here)
    .method_not_allowed_fallback(not_this_method)
    .layer(DefaultBodyLimit::max(BODY_BYTES))
    .layer(from_fn_with_state(app.clone(), guard))
    .with_state(app)
}

/// The routes that are documented, bare.
pub(super) fn documentation() -> OpenApi {
    documented(&Limits::default()).into_openapi()
}

fn documented(limits: &Limits) -> OpenApiRouter<Shared> {
    OpenApiRouter::default()
        .routes(routes!(photos::create, photos::list_photos))
        .routes(routes!(predict::predict))
        .routes(routes!(predict::detect))
        .routes(routes!(ancestor::face_recognition))
        .routes(routes!(ancestor::face_recognition_in))
        // Of the routes above alone: all others take what any request may have.
        .layer(DefaultBodyLimit::max(limits.request_bytes()))
        .routes(routes!(server::health))
        .routes(routes!(server::about))
        .routes(routes!(server::models))
        .routes(routes!(server::journal))
        .routes(routes!(session::sign_in, session::sign_out))
        .routes(routes!(datasets::list_datasets))
        .routes(routes!(datasets::show_dataset, datasets::remove_dataset))
        .routes(routes!(people::list_people, people::add_person))
        .routes(routes!(
            people::show_person,
            people::rename_person,
            people::remove_person
        ))
        .routes(routes!(photos::show_photo, photos::remove_photo))
        .routes(routes!(train::train))
        .routes(routes!(predict::list_outputs))
        .routes(routes!(predict::show_output))
        .routes(routes!(map::embedding_map))
        .routes(routes!(unknown::list_unknown, unknown::review_unknown))
        .routes(routes!(unknown::show_unknown))
        .routes(routes!(
            evaluations::list_evaluations,
            evaluations::evaluate
        ))
        .routes(routes!(evaluations::show_evaluation))
        .routes(routes!(jobs::list_jobs))
        .routes(routes!(jobs::show_job, jobs::cancel_job))
        .routes(routes!(jobs::job_events))
        .routes(routes!(doors::list_doors))
        .routes(routes!(doors::door_status))
        .routes(routes!(doors::unlock_door))
        .routes(routes!(doors::lock_down_door))
        .routes(routes!(doors::release_door))
        .routes(routes!(doors::push_to_door))
        .routes(routes!(doors::door_events))
        .routes(routes!(doors::door_audit))
}

async fn nothing_here(uri: Uri) -> Response {
    Problem::not_found(format!("there is nothing at {}", uri.path())).into_response()
}

async fn not_this_method(State(_): State<Shared>, method: Method, uri: Uri) -> Response {
    let detail = format!("{} does not take {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).into_response()
}
