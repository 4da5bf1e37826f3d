//! The server itself: is it there, what does it run with, what was changed through it.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::serve::{
    extract::Query,
    journal::Entry,
    problem::Problem,
    state::{Shared, blocking},
    training::{TRAINERS, Trainer},
};

/// A sign of life.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// Always "ok".
    #[schema(example = "ok")]
    status: &'static str,
}

/// What the server runs with.
#[derive(Serialize, ToSchema)]
pub(super) struct About {
    /// Its version.
    version: &'static str,
    /// The embedding space of what it reads.
    space: String,
    /// Largest photo, in bytes.
    max_photo_bytes: usize,
    /// Largest photo, in pixels.
    max_photo_px: u64,
    /// Most photos in one request.
    max_photos: usize,
}

/// Networks and classifiers.
#[derive(Serialize, ToSchema)]
pub(super) struct Models {
    /// The networks that ship, as their manifest has them: origin, licence, digest, shapes, accuracy.
    #[schema(value_type = Vec<Object>)]
    networks: Vec<Value>,
    /// The classifiers `train` takes, with their hyper-parameters.
    classifiers: Vec<Trainer>,
}

/// How many entries.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Most {
    /// At most so many, the latest first.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// What was changed.
#[derive(Serialize, ToSchema)]
pub(super) struct Changes {
    /// The latest first.
    entries: Vec<Entry>,
}

/// Is the server there?
#[utoipa::path(get, path = "/api/v1/health", tag = "server", security(()),
    responses((status = 200, body = Health, description = "It is.")))]
pub(super) async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Version and limits
#[utoipa::path(get, path = "/api/v1/about", tag = "server",
    responses((status = 200, body = About, description = "Version and limits.")))]
pub(super) async fn about(State(app): State<Shared>) -> Json<About> {
    Json(About {
        version: env!("CARGO_PKG_VERSION"),
        space: app.engine.space().as_str().to_owned(),
        max_photo_bytes: app.limits.photo_bytes,
        max_photo_px: app.limits.photo_px,
        max_photos: app.limits.photos,
    })
}

/// Networks and classifiers
#[utoipa::path(get, path = "/api/v1/models", tag = "server",
    responses((status = 200, body = Models, description = "All of them.")))]
pub(super) async fn models(State(app): State<Shared>) -> Result<Json<Models>, Problem> {
    let networks = app.zoo.manifest().network.iter().map(serde_json::to_value);
    let networks = networks
        .collect::<Result<_, _>>()
        .map_err(|error| Problem::internal(&error))?;
    Ok(Json(Models {
        networks,
        classifiers: TRAINERS.to_vec(),
    }))
}

/// What was changed through this server, by whom and when
///
/// A door's own record, which is hash-chained, is at /doors/{door}/audit.
#[utoipa::path(get, path = "/api/v1/audit", tag = "server", params(Most),
    responses((status = 200, body = Changes, description = "The latest changes.")))]
pub(super) async fn journal(
    State(app): State<Shared>,
    Query(most): Query<Most>,
) -> Result<Json<Changes>, Problem> {
    let limit = most.limit.unwrap_or(100).clamp(1, 1000);
    let entries = blocking(move || app.journal.last(limit)).await?;
    Ok(Json(Changes { entries }))
}
