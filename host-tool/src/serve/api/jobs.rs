//! Jobs: how they stand, their progress as events, and ending them.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::serve::{
    extract::Path,
    jobs::{JobId, Report, Stand},
    problem::Problem,
    sse,
    state::Shared,
};

/// Jobs.
#[derive(Serialize, ToSchema)]
pub(super) struct AllJobs {
    /// The latest first; of those that ended, the last hundred.
    jobs: Vec<Report>,
}

/// All jobs
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs",
    responses((status = 200, body = AllJobs, description = "The latest first.")))]
pub(super) async fn list_jobs(State(app): State<Shared>) -> Json<AllJobs> {
    Json(AllJobs {
        jobs: app.jobs.all(),
    })
}

/// One job
#[utoipa::path(get, path = "/api/v1/jobs/{job}", tag = "jobs",
    params(("job" = u64, Path, description = "Its number.", example = 1)),
    responses(
        (status = 200, body = Report, description = "How it stands."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is none."),
    ))]
pub(super) async fn show_job(
    State(app): State<Shared>,
    Path(id): Path<JobId>,
) -> Result<Json<Report>, Problem> {
    Ok(Json(app.jobs.find(id)?.report()))
}

/// Cancel a job
///
/// It ends at its next step; what it has not kept by then stays as it was. One that has ended stays ended.
#[utoipa::path(delete, path = "/api/v1/jobs/{job}", tag = "jobs",
    params(("job" = u64, Path, description = "Its number.", example = 1)),
    responses(
        (status = 202, body = Report, description = "It was told."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is none."),
    ))]
pub(super) async fn cancel_job(
    State(app): State<Shared>,
    Path(id): Path<JobId>,
) -> Result<(StatusCode, Json<Report>), Problem> {
    let job = app.jobs.find(id)?;
    job.cancel();
    Ok((StatusCode::ACCEPTED, Json(job.report())))
}

/// A job's progress, as server-sent events
///
/// `progress` events while it goes on, then one `done`, `failed` or `cancelled`, and the stream ends. The data of each is the
/// job, as above.
#[utoipa::path(get, path = "/api/v1/jobs/{job}/events", tag = "jobs",
    params(("job" = u64, Path, description = "Its number.", example = 1)),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "The events."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is none."),
    ))]
pub(super) async fn job_events(
    State(app): State<Shared>,
    Path(id): Path<JobId>,
) -> Result<Response, Problem> {
    let watched = Some(app.jobs.find(id)?.watch());
    Ok(sse::respond(
        watched,
        app.stopping(),
        |watched| async move {
            let mut watched: tokio::sync::watch::Receiver<Report> = watched?;
            watched.changed().await.ok()?;
            let report = watched.borrow_and_update().clone();
            let event = sse::event(report.state.event(), None, &report);
            let next = (report.state == Stand::Running).then_some(watched);
            Some((event, next))
        },
    ))
}
