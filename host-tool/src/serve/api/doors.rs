//! The doors this host is paired with: how they are, letting somebody in, lockdown, what happens, and pushing people.

mod push;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use facelatch_protocol::{DisplayName, DoorState, audit::Record};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{self, error::RecvError};
use utoipa::{IntoParams, ToSchema};

use crate::{
    audit::Export,
    client::{self, Client},
    cmd::{audit::Line as AuditLine, status},
    doors::Door,
    home::unix_ms_now,
    serve::{
        doors::{Line, Told},
        extract::{Json as Body, Path, Query},
        jobs::{Kind, Report},
        names::UserId,
        problem::Problem,
        sse,
        state::{Shared, blocking},
    },
};

/// Doors this host is paired with.
#[derive(Serialize, ToSchema)]
pub(super) struct AllDoors {
    /// By name.
    doors: Vec<ListedDoor>,
}

/// A door, as this host knows it.
#[derive(Serialize, ToSchema)]
pub(super) struct ListedDoor {
    /// The name it gave itself.
    #[schema(example = "front")]
    name: String,
    /// Its key, as 64 hexadecimal digits: who it is.
    key: String,
    /// What this host may ask for: "operator" or "admin".
    role: &'static str,
    /// Where it was reached, the latest first.
    reached_at: Vec<String>,
    /// When paired, in milliseconds since 1970.
    paired_unix_ms: u64,
}

/// Who asks.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Operator {
    /// The person who asks, for the record: at most 64 bytes.
    #[schema(example = "Grace, reception")]
    operator: String,
}

/// What the door does now.
#[derive(Serialize, ToSchema)]
pub(super) struct Latched {
    /// The door's name.
    device: String,
    /// Its state.
    #[schema(example = "unlocked")]
    door: &'static str,
    /// When it locks again, in milliseconds since 1970.
    unlocked_until_unix_ms: Option<u64>,
}

/// What to push.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Pushed {
    /// Whose people; `main` if not given.
    #[param(example = "main")]
    dataset: Option<String>,
    /// The networks too, for a door that has others.
    #[serde(default)]
    with_networks: bool,
    /// Have the door forget people enrolled at the door itself.
    #[serde(default)]
    replace: bool,
}

/// From where.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    /// First number wanted.
    from: Option<u64>,
    /// At most so many, the last ones.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<usize>,
}

/// A door's record.
#[derive(Serialize, ToSchema)]
pub(super) struct Audit {
    /// Whether every record continues the one before, and the one seen last is there.
    holds: bool,
    /// What does not hold.
    broken: Option<String>,
    /// Number of the oldest record the door keeps.
    first_seq: u64,
    /// Number of the next record.
    next_seq: u64,
    /// The records, the latest first: seq, unix_ms, what, and what belongs to it.
    #[schema(value_type = Vec<Object>)]
    records: Vec<AuditLine>,
}

impl From<Door> for ListedDoor {
    fn from(door: Door) -> ListedDoor {
        ListedDoor {
            name: door.name,
            key: door.key.to_string(),
            role: door.role.as_str(),
            reached_at: door.targets,
            paired_unix_ms: door.paired_unix_ms,
        }
    }
}

/// All doors this host is paired with
///
/// Asks none of them. To pair, use `facelatch pair`.
#[utoipa::path(get, path = "/api/v1/doors", tag = "doors",
    responses((status = 200, body = AllDoors, description = "By name.")))]
pub(super) async fn list_doors(State(app): State<Shared>) -> Result<Json<AllDoors>, Problem> {
    let doors = blocking(move || app.doors.all()).await?;
    let doors = doors.into_iter().map(ListedDoor::from).collect();
    Ok(Json(AllDoors { doors }))
}

/// How a door is
#[utoipa::path(get, path = "/api/v1/doors/{door}", tag = "doors",
    params(("door" = String, Path, description = "Its name, its key, or the first 8 digits of it or more.", example = "front")),
    responses(
        (status = 200, body = status::Report, description = "As it says itself."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such door."),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "It does not answer."),
    ))]
pub(super) async fn door_status(
    State(app): State<Shared>,
    Path(named): Path<String>,
) -> Result<Json<status::Report>, Problem> {
    let asked = blocking(move || {
        let (mut client, _) = app.doors.open(&named)?;
        Ok::<_, Problem>(status::ask(&mut client)?)
    });
    Ok(Json(asked.await?))
}

/// Let somebody in
///
/// For as long as the door lets anybody in. Who asks goes on this server's record, this host on the door's.
#[utoipa::path(post, path = "/api/v1/doors/{door}/unlock", tag = "doors", request_body = Operator,
    params(("door" = String, Path, description = "Its name or key.", example = "front")),
    responses(
        (status = 200, body = Latched, description = "What it does now."),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "No operator."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such door."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The door refused: lockdown, fault, role."),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "It does not answer."),
    ))]
pub(super) async fn unlock_door(
    State(app): State<Shared>,
    Path(named): Path<String>,
    Body(who): Body<Operator>,
) -> Result<Json<Latched>, Problem> {
    latch(app, named, who, "unlock", Client::unlock).await
}

/// Begin a lockdown: nobody gets in until it is released
#[utoipa::path(post, path = "/api/v1/doors/{door}/lockdown", tag = "doors", request_body = Operator,
    params(("door" = String, Path, description = "Its name or key.", example = "front")),
    responses(
        (status = 200, body = Latched, description = "What it does now."),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "No operator."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such door."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The door refused."),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "It does not answer."),
    ))]
pub(super) async fn lock_down_door(
    State(app): State<Shared>,
    Path(named): Path<String>,
    Body(who): Body<Operator>,
) -> Result<Json<Latched>, Problem> {
    latch(app, named, who, "lockdown", |client| client.lockdown(true)).await
}

/// End a lockdown
#[utoipa::path(post, path = "/api/v1/doors/{door}/release", tag = "doors", request_body = Operator,
    params(("door" = String, Path, description = "Its name or key.", example = "front")),
    responses(
        (status = 200, body = Latched, description = "What it does now."),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "No operator."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such door."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The door refused."),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "It does not answer."),
    ))]
pub(super) async fn release_door(
    State(app): State<Shared>,
    Path(named): Path<String>,
    Body(who): Body<Operator>,
) -> Result<Json<Latched>, Problem> {
    latch(app, named, who, "release", |client| client.lockdown(false)).await
}

/// Asks a door for something that goes on the record, done or not.
async fn latch(
    app: Shared,
    named: String,
    who: Operator,
    action: &'static str,
    ask: impl FnOnce(&mut Client) -> Result<DoorState, client::Error> + Send + 'static,
) -> Result<Json<Latched>, Problem> {
    let operator = who.operator.trim();
    let operator = DisplayName::parse(operator).map_err(|why| {
        Problem::bad_request(format!("the operator {operator:?} {why}: say who asks"))
    })?;
    let latched = blocking(move || {
        let name = app.doors.find(&named)?.name;
        let asked = app.doors.open(&named).and_then(|(mut client, _)| {
            let state = ask(&mut client)?;
            Ok(Latched {
                device: client.device().to_owned(),
                door: state.as_str(),
                unlocked_until_unix_ms: state.until_unix_ms(),
            })
        });
        let outcome = asked
            .as_ref()
            .map_or_else(Problem::detail, |latched| latched.door);
        app.journal.add(&operator, action, &name, outcome)?;
        asked
    });
    Ok(Json(latched.await?))
}

/// Push a dataset's people to a door, in the background
///
/// Packs, signs, sends what the door has not got, and waits for the end of the trial; the workspace's policy.toml goes
/// along. The job's `result` says how the trial ended.
#[utoipa::path(post, path = "/api/v1/doors/{door}/push", tag = "doors",
    params(("door" = String, Path, description = "Its name or key.", example = "front"), Pushed),
    responses(
        (status = 202, body = Report, description = "The job has begun."),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "No such user id."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such door or dataset."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "A push to it is under way."),
    ))]
pub(super) async fn push_to_door(
    State(app): State<Shared>,
    Path(named): Path<String>,
    Query(pushed): Query<Pushed>,
) -> Result<(StatusCode, Json<Report>), Problem> {
    let user = pushed
        .dataset
        .as_deref()
        .map_or_else(|| Ok(UserId::main()), UserId::parse);
    let user = user.map_err(Problem::bad_request)?;
    app.dataset(&user)?;
    let own = app.clone();
    let door = blocking(move || own.doors.find(&named)).await?;
    let own = app.clone();
    let report = app
        .jobs
        .start(Kind::Push, format!("door {}", door.key), move |job| {
            push::push(
                &own,
                &door,
                &user,
                pushed.with_networks,
                pushed.replace,
                job,
            )
        })?;
    Ok((StatusCode::ACCEPTED, Json(report)))
}

/// What happens at a door, as server-sent events
///
/// `event` events carry what `facelatch events --json` prints, with `seq` as their id; `line` events say whether the door is
/// heard. First come those remembered, from `from` or the `Last-Event-ID` header on.
#[utoipa::path(get, path = "/api/v1/doors/{door}/events", tag = "doors",
    params(
        ("door" = String, Path, description = "Its name or key.", example = "front"),
        ("from" = Option<u64>, Query, description = "First number wanted.", example = 1),
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "The events."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such door."),
    ))]
pub(super) async fn door_events(
    State(app): State<Shared>,
    Path(named): Path<String>,
    Query(since): Query<Since>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
    let from = last
        .map(|last| last.saturating_add(1))
        .or(since.from)
        .unwrap_or(0);
    let own = app.clone();
    let (mut before, told) = blocking(move || own.doors.listen(&named, from)).await?;
    before.reverse();
    Ok(sse::respond((before, told), app.stopping(), next_event))
}

type Listening = (Vec<Told>, broadcast::Receiver<Told>);

async fn next_event(
    (mut before, mut told): Listening,
) -> Option<(axum::response::sse::Event, Listening)> {
    let next = match before.pop() {
        Some(next) => Ok(next),
        None => told.recv().await,
    };
    let event = match next {
        Ok(Told::Event(event)) => sse::event("event", Some(event.seq), &*event),
        Ok(Told::Line(line)) => sse::event("line", None, &line),
        Err(RecvError::Lagged(count)) => {
            let why = Some(format!("{count} events were missed"));
            sse::event(
                "line",
                None,
                &Line {
                    connected: true,
                    why,
                },
            )
        }
        Err(RecvError::Closed) => return None,
    };
    Some((event, (before, told)))
}

/// A door's own record
///
/// Read whole from the door and checked: every record is chained to the one before. Nothing is remembered of it here;
/// `facelatch audit verify` does.
#[utoipa::path(get, path = "/api/v1/doors/{door}/audit", tag = "doors",
    params(("door" = String, Path, description = "Its name or key.", example = "front"), Since),
    responses(
        (status = 200, body = Audit, description = "The records."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such door."),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "It does not answer."),
    ))]
pub(super) async fn door_audit(
    State(app): State<Shared>,
    Path(named): Path<String>,
    Query(since): Query<Since>,
) -> Result<Json<Audit>, Problem> {
    let limit = since.limit.unwrap_or(100).clamp(1, 10_000);
    let audit = blocking(move || {
        let (mut client, door) = app.doors.open(&named)?;
        let mut page = |seq| client.audit_page(seq);
        let export = Export::fetch(door.key, unix_ms_now(), &mut page, &mut |_, _| {})?;
        Ok::<_, Problem>(shown(&export, &door, since.from.unwrap_or(0), limit))
    });
    Ok(Json(audit.await?))
}

fn shown(export: &Export, door: &Door, from: u64, limit: usize) -> Audit {
    let mut records = std::collections::VecDeque::new();
    // A flaw ends the walk, and is told by `verify`.
    let _ = export.walk(&mut |seq, record: Record<'_>| {
        if seq >= from {
            records.push_front(AuditLine::new(seq, record.entry()));
            records.truncate(limit);
        }
    });
    let judged = export.verify(door.audit);
    Audit {
        holds: judged.is_ok(),
        broken: judged.err().map(|flaw| flaw.to_string()),
        first_seq: export.head.first_seq,
        next_seq: export.head.next_seq,
        records: records.into(),
    }
}
