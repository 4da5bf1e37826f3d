//! The train call.

use std::collections::BTreeMap;

use axum::{Json, extract::State, http::StatusCode};

use crate::serve::{
    extract::{Path, Query},
    jobs::{Kind, Report},
    names::UserId,
    problem::Problem,
    state::Shared,
    training::{config, learn},
};

/// Train: photos to templates, templates to classifier, in the background
///
/// Hyper-parameters are query values; which there are, `/api/v1/models` says. Follow the job at
/// `/api/v1/jobs/{job}/events`, or ask at `/api/v1/jobs/{job}`; its `result` holds the figures, with a cross-validation,
/// and the photos that were refused. Templates from elsewhere, of the command line's photos or of a door, stay. The job fails
/// with a 409 if they are of another embedding space, or if people change while it trains: then train again.
#[utoipa::path(post, path = "/api/v1/datasets/{user}/train", tag = "train",
    params(
        ("user" = String, Path, description = "The user id.", example = "main"),
        ("classifier" = Option<String>, Query, description = "Which classifier; softmax if not given.", example = "softmax"),
        ("c" = Option<f64>, Query, description = "softmax: inverse strength of L2 regularisation.", example = 10.0),
        ("max_iterations" = Option<u32>, Query, description = "softmax: most steps of the optimiser.", example = 300),
        ("tolerance" = Option<f64>, Query, description = "softmax: the part of its first gradient at which it stops.", example = 0.001),
    ),
    responses(
        (status = 202, body = Report, description = "The job has begun."),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "No such classifier or parameter."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such dataset."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It is being trained already."),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "Too many jobs."),
    ))]
pub(super) async fn train(
    State(app): State<Shared>,
    Path(user): Path<UserId>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<(StatusCode, Json<Report>), Problem> {
    app.dataset(&user)?;
    let config = config(&query)?;
    let own = app.clone();
    let report = app.jobs.start(Kind::Train, user.to_string(), move |job| {
        let learned = learn(&own, &user, &config, job)?;
        own.journal.add("", "train", user.as_str(), "done")?;
        Ok(learned)
    })?;
    Ok((StatusCode::ACCEPTED, Json(report)))
}
