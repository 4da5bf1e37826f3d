//! How good recognition is on a dataset: measured in the background, kept as JSON and as a page.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::{
    cmd::evaluate::verify,
    dataset::Dataset,
    embed::{Kind, MIN_FACE_PX, Reader, detector_config},
    serve::{
        extract::Path,
        jobs::{Ended, Job, Kind as JobKind, Report},
        names::UserId,
        problem::Problem,
        state::{App, Shared, blocking},
        training::read,
    },
};

/// The page brings its own style and pictures; nothing else may run or load.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox";

/// Evaluations of a dataset.
#[derive(Serialize, ToSchema)]
pub(super) struct Evaluations {
    /// Their names, the latest first.
    #[schema(example = json!(["2026-01-31T12-00-00-000Z"]))]
    evaluations: Vec<String>,
}

/// All evaluations of a dataset
#[utoipa::path(get, path = "/api/v1/datasets/{user}/evaluations", tag = "evaluations",
    params(("user" = String, Path, description = "The user id.", example = "main")),
    responses((status = 200, body = Evaluations, description = "The latest first.")))]
pub(super) async fn list_evaluations(
    State(app): State<Shared>,
    Path(user): Path<UserId>,
) -> Result<Json<Evaluations>, Problem> {
    app.dataset(&user)?;
    let evaluations = blocking(move || app.datasets.evaluations(&user)).await?;
    Ok(Json(Evaluations { evaluations }))
}

/// Measure recognition on a dataset's photos, in the background
///
/// Every photo against every other: error rates, charts, a map, the worst cases. The job's `result` names the evaluation.
#[utoipa::path(post, path = "/api/v1/datasets/{user}/evaluations", tag = "evaluations",
    params(("user" = String, Path, description = "The user id.", example = "main")),
    responses(
        (status = 202, body = Report, description = "The job has begun."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such dataset."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "A job on it is under way."),
    ))]
pub(super) async fn evaluate(
    State(app): State<Shared>,
    Path(user): Path<UserId>,
) -> Result<(StatusCode, Json<Report>), Problem> {
    app.dataset(&user)?;
    let own = app.clone();
    let report = app
        .jobs
        .start(JobKind::Evaluate, user.to_string(), move |job| {
            measure(&own, &user, job)
        })?;
    Ok((StatusCode::ACCEPTED, Json(report)))
}

fn measure(app: &App, user: &UserId, job: &Job) -> Result<serde_json::Value, Ended> {
    let dataset = Dataset::open(&app.datasets.training(user))?;
    read(app, &dataset, Kind::Probe, job)?;
    job.phase("comparing", 0);
    job.step(0)?;
    // All photos are in the cache by now: no networks are loaded.
    let reader = Reader::new(
        &app.zoo,
        Some(app.home.cache()),
        detector_config(MIN_FACE_PX),
    )?;
    let (figures, page) = verify(&dataset, &reader)?;
    let text = serde_json::to_vec(&figures).map_err(|error| Problem::internal(&error))?;
    let name = app.datasets.put_evaluation(user, &text, page.as_bytes())?;
    Ok(json!({ "evaluation": name }))
}

/// One evaluation, as JSON or as a page
///
/// With `Accept: text/html` as a page that needs nothing else.
#[utoipa::path(get, path = "/api/v1/datasets/{user}/evaluations/{evaluation}", tag = "evaluations",
    params(
        ("user" = String, Path, description = "The user id.", example = "main"),
        ("evaluation" = String, Path, description = "Its name.", example = "2026-01-31T12-00-00-000Z"),
    ),
    responses(
        (status = 200, description = "The figures; what each is, `facelatch evaluate --help` says.",
            content((serde_json::Value = "application/json"), (String = "text/html"))),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is none."),
    ))]
pub(super) async fn show_evaluation(
    State(app): State<Shared>,
    Path((user, name)): Path<(UserId, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let accepted = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let is_page = accepted.contains("text/html");
    let kind = if is_page { "html" } else { "json" };
    let bytes = blocking(move || app.datasets.evaluation(&user, &name, kind)).await?;
    let bytes = bytes.ok_or_else(|| Problem::not_found("there is no such evaluation"))?;
    Ok(match is_page {
        true => {
            let headers = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
            ];
            (headers, bytes).into_response()
        }
        false => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
    })
}
