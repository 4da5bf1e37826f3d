//! Review of faces nobody recognised: who they are, or that they are nobody.

use axum::{Json, body::Bytes, extract::State, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::photos::{picture, take};
use crate::serve::{
    extract::{Json as Body, Path},
    names::{PhotoName, UserId, Whose},
    problem::Problem,
    state::{Shared, blocking},
    unknown::{Cluster, Unknown},
};

/// Faces in one request.
const MOST: usize = 200;

/// Faces nobody recognised.
#[derive(Serialize, ToSchema)]
pub(super) struct AllUnknown {
    /// In groups that look like one person each, the largest first.
    clusters: Vec<Cluster>,
}

/// What the faces are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum Decision {
    /// Photos of the person.
    Assign,
    /// Somebody who is not to be let in: a photo in `none`, which keeps the person and whoever looks alike out.
    Ignore,
    /// Nothing: they are forgotten.
    Forget,
}

/// What some faces are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Review {
    /// Their ids.
    faces: Vec<String>,
    #[schema(inline)]
    decision: Decision,
    /// The person, to assign.
    #[schema(example = "ada_lovelace")]
    person: Option<String>,
}

/// What became of them.
#[derive(Serialize, ToSchema)]
pub(super) struct Reviewed {
    /// Faces that are done with.
    done: usize,
    /// Those that could not be used, and why; they stay for review.
    refused: Vec<RefusedFace>,
}

/// A face that could not be used.
#[derive(Serialize, ToSchema)]
pub(super) struct RefusedFace {
    /// Its id.
    id: String,
    /// Why.
    why: String,
}

/// Faces nobody recognised, in groups
///
/// `predict` keeps them when asked to, with `keep_unknown`.
#[utoipa::path(get, path = "/api/v1/datasets/{user}/unknown", tag = "unknown",
    params(("user" = String, Path, description = "The user id.", example = "main")),
    responses((status = 200, body = AllUnknown, description = "The largest group first.")))]
pub(super) async fn list_unknown(
    State(app): State<Shared>,
    Path(user): Path<UserId>,
) -> Result<Json<AllUnknown>, Problem> {
    app.dataset(&user)?;
    let clusters = blocking(move || Unknown::new(app.datasets.unknown_dir(&user)).clusters());
    Ok(Json(AllUnknown {
        clusters: clusters.await?,
    }))
}

/// Say who the faces are, or that they are nobody
///
/// Takes effect with the next training.
#[utoipa::path(post, path = "/api/v1/datasets/{user}/unknown", tag = "unknown", request_body = Review,
    params(("user" = String, Path, description = "The user id.", example = "main")),
    responses(
        (status = 200, body = Reviewed, description = "What became of them."),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "No faces, or no person to assign them to."),
    ))]
pub(super) async fn review_unknown(
    State(app): State<Shared>,
    Path(user): Path<UserId>,
    Body(review): Body<Review>,
) -> Result<Json<Reviewed>, Problem> {
    app.dataset(&user)?;
    let whose = whose(&review)?;
    let ids = review
        .faces
        .iter()
        .map(|id| PhotoName::parse(id))
        .collect::<Result<Vec<_>, _>>();
    let ids = ids.map_err(Problem::bad_request)?;
    if ids.is_empty() || ids.len() > MOST {
        return Err(Problem::bad_request(format!("name 1 to {MOST} faces")));
    }
    let mut reviewed = Reviewed {
        done: 0,
        refused: Vec::new(),
    };
    for id in ids {
        match one(&app, &user, whose.as_ref(), &id).await? {
            Ok(()) => reviewed.done += 1,
            Err(why) => reviewed.refused.push(RefusedFace {
                id: id.as_str().to_owned(),
                why,
            }),
        }
    }
    let outcome = format!(
        "{} faces, {} refused",
        reviewed.done,
        reviewed.refused.len()
    );
    let subject = whose.map_or_else(|| user.to_string(), |whose| format!("{user}/{whose}"));
    blocking(move || {
        app.journal
            .add("", "review unknown faces", &subject, &outcome)
    })
    .await?;
    Ok(Json(reviewed))
}

/// Whose photos they become; nobody's if they are forgotten.
fn whose(review: &Review) -> Result<Option<Whose>, Problem> {
    match review.decision {
        Decision::Forget => Ok(None),
        Decision::Ignore => Ok(Some(Whose::Nobody)),
        Decision::Assign => {
            let person = review
                .person
                .as_deref()
                .ok_or_else(|| Problem::bad_request("name the person"))?;
            Whose::parse(person).map(Some).map_err(Problem::bad_request)
        }
    }
}

/// Does one face; or says why it cannot be used.
async fn one(
    app: &Shared,
    user: &UserId,
    whose: Option<&Whose>,
    id: &PhotoName,
) -> Result<Result<(), String>, Problem> {
    let dir = app.datasets.unknown_dir(user);
    if let Some(whose) = whose {
        let (dir, id) = (dir.clone(), id.clone());
        let Some(bytes) = blocking(move || Unknown::new(dir).picture(&id)).await? else {
            return Ok(Err("there is no such face".to_owned()));
        };
        let taken = match take(app, user, whose, Bytes::from(bytes)).await {
            Ok(taken) => taken.kept,
            Err(problem) if problem.is_of_the_photo() => Err(problem.detail().to_owned()),
            Err(problem) => return Err(problem),
        };
        if let Err(why) = taken {
            return Ok(Err(why));
        }
    }
    let id = id.clone();
    let was_there = blocking(move || Unknown::new(dir).forget(&id)).await?;
    Ok(was_there
        .then_some(())
        .ok_or_else(|| "there is no such face".to_owned()))
}

/// An unknown face's picture
#[utoipa::path(get, path = "/api/v1/datasets/{user}/unknown/{face}", tag = "unknown",
    params(
        ("user" = String, Path, description = "The user id.", example = "main"),
        ("face" = String, Path, description = "The face's id.", example = "0930e3aa8cae5920329c0c8cbc6a2ab7.jpg"),
    ),
    responses(
        (status = 200, description = "The picture.", content_type = "image/jpeg"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is none."),
    ))]
pub(super) async fn show_unknown(
    State(app): State<Shared>,
    Path((user, id)): Path<(UserId, PhotoName)>,
) -> Result<Response, Problem> {
    let bytes =
        blocking(move || Unknown::new(app.datasets.unknown_dir(&user)).picture(&id)).await?;
    let bytes = bytes.ok_or_else(|| Problem::not_found("there is no such face"))?;
    Ok(picture("image/jpeg", bytes))
}
