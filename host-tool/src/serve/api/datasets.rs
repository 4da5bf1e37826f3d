//! Datasets side by side: the user ids.

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::serve::{
    datasets::Summary,
    extract::Path,
    names::UserId,
    problem::Problem,
    state::{Shared, blocking},
};

/// All datasets.
#[derive(Serialize, ToSchema)]
pub(super) struct AllDatasets {
    /// By name.
    datasets: Vec<Summary>,
}

/// All datasets
///
/// `main` is the workspace itself: its people are those of the command line. Others are made by the first photo or person.
#[utoipa::path(get, path = "/api/v1/datasets", tag = "datasets",
    responses((status = 200, body = AllDatasets, description = "By name.")))]
pub(super) async fn list_datasets(State(app): State<Shared>) -> Result<Json<AllDatasets>, Problem> {
    let datasets = blocking(move || {
        let all = app.datasets.all()?;
        all.iter()
            .map(|user| app.datasets.summary(user))
            .collect::<Result<_, _>>()
    });
    Ok(Json(AllDatasets {
        datasets: datasets.await?,
    }))
}

/// One dataset
#[utoipa::path(get, path = "/api/v1/datasets/{user}", tag = "datasets",
    params(("user" = String, Path, description = "The user id.", example = "main")),
    responses(
        (status = 200, body = Summary, description = "How it is."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is none."),
    ))]
pub(super) async fn show_dataset(
    State(app): State<Shared>,
    Path(user): Path<UserId>,
) -> Result<Json<Summary>, Problem> {
    app.dataset(&user)?;
    Ok(Json(blocking(move || app.datasets.summary(&user)).await?))
}

/// Remove a dataset with all photos, templates and reports
///
/// Of `main` only the photos, outputs and reports go; its people stay enrolled, as the command line's. What was computed of
/// the photos goes with them.
#[utoipa::path(delete, path = "/api/v1/datasets/{user}", tag = "datasets",
    params(("user" = String, Path, description = "The user id.", example = "main")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is none."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "A job on it is under way."),
    ))]
pub(super) async fn remove_dataset(
    State(app): State<Shared>,
    Path(user): Path<UserId>,
) -> Result<StatusCode, Problem> {
    blocking(move || {
        let is_busy = || app.jobs.is_about(user.as_str());
        if !app.datasets.remove(&user, is_busy)? {
            return Err(Problem::not_found(format!("there is no dataset {user}")));
        }
        app.journal
            .add("", "remove dataset", user.as_str(), "done")?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
