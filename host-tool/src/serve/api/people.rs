//! The people of a dataset.

use axum::{Json, extract::State, http::StatusCode};
use facelatch_protocol::{DisplayName, PersonId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    dataset::NONE,
    home::id_for,
    serve::{
        datasets::{Datasets, Listed},
        extract::{Json as Body, Path},
        names::{UserId, Whose},
        problem::Problem,
        state::{Shared, blocking},
    },
};

/// The people of a dataset.
#[derive(Serialize, ToSchema)]
pub(super) struct People {
    /// By id.
    people: Vec<Listed>,
    /// Photos of people who are not to be let in.
    none: Listed,
}

/// A name to show.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    /// At most 64 bytes.
    #[schema(example = "Ada Lovelace")]
    name: String,
}

/// Everybody, with their photos
#[utoipa::path(get, path = "/api/v1/datasets/{user}/people", tag = "people",
    params(("user" = String, Path, description = "The user id.", example = "main")),
    responses(
        (status = 200, body = People, description = "By id."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such dataset."),
    ))]
pub(super) async fn list_people(
    State(app): State<Shared>,
    Path(user): Path<UserId>,
) -> Result<Json<People>, Problem> {
    app.dataset(&user)?;
    let (people, none) = blocking(move || app.datasets.people(&user)).await?;
    Ok(Json(People { people, none }))
}

/// Add a person by name
///
/// The id is made of the name; photos are uploaded to it.
#[utoipa::path(post, path = "/api/v1/datasets/{user}/people", tag = "people", request_body = Named,
    params(("user" = String, Path, description = "The user id.", example = "main")),
    responses(
        (status = 201, body = Listed, description = "Added."),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "No name."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "There is somebody with this id."),
    ))]
pub(super) async fn add_person(
    State(app): State<Shared>,
    Path(user): Path<UserId>,
    Body(named): Body<Named>,
) -> Result<(StatusCode, Json<Listed>), Problem> {
    let name = display_name(&named)?;
    let id =
        id_for(&name).filter(|id| Whose::parse(id).is_ok_and(|whose| whose.person().is_some()));
    let id = id.ok_or_else(|| Problem::bad_request(format!("the name {name:?} makes no id")))?;
    let added = blocking(move || {
        if find(&app.datasets, &user, &id)?.is_some() {
            return Err(Problem::conflict(format!(
                "there is somebody with the id {id} already"
            )));
        }
        app.datasets.name_person(&user, &id, &name)?;
        app.journal
            .add("", "add person", &format!("{user}/{id}"), "done")?;
        found(&app.datasets, &user, &id)
    });
    Ok((StatusCode::CREATED, Json(added.await?)))
}

/// One person
#[utoipa::path(get, path = "/api/v1/datasets/{user}/people/{person}", tag = "people",
    params(
        ("user" = String, Path, description = "The user id.", example = "main"),
        ("person" = String, Path, description = "The person's id.", example = "ada_lovelace"),
    ),
    responses(
        (status = 200, body = Listed, description = "What is kept of them."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such person."),
    ))]
pub(super) async fn show_person(
    State(app): State<Shared>,
    Path((user, id)): Path<(UserId, Whose)>,
) -> Result<Json<Listed>, Problem> {
    let id = a_person(id)?;
    Ok(Json(
        blocking(move || found(&app.datasets, &user, &id)).await?,
    ))
}

/// Give a person another name, or make a person with this id
#[utoipa::path(put, path = "/api/v1/datasets/{user}/people/{person}", tag = "people", request_body = Named,
    params(
        ("user" = String, Path, description = "The user id.", example = "main"),
        ("person" = String, Path, description = "The person's id.", example = "ada_lovelace"),
    ),
    responses(
        (status = 200, body = Listed, description = "As they are now."),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "No name."),
    ))]
pub(super) async fn rename_person(
    State(app): State<Shared>,
    Path((user, id)): Path<(UserId, Whose)>,
    Body(named): Body<Named>,
) -> Result<Json<Listed>, Problem> {
    let (id, name) = (a_person(id)?, display_name(&named)?);
    let renamed = blocking(move || {
        app.datasets.name_person(&user, &id, &name)?;
        app.journal
            .add("", "name person", &format!("{user}/{id}"), "done")?;
        found(&app.datasets, &user, &id)
    });
    Ok(Json(renamed.await?))
}

/// Remove a person with all photos and templates
///
/// What was computed of the photos, and a classifier that knows the person, go at once: train again. Tagged pictures,
/// evaluations and faces for review that show them stay until they or the dataset are removed. Doors know the person until the
/// next push.
#[utoipa::path(delete, path = "/api/v1/datasets/{user}/people/{person}", tag = "people",
    params(
        ("user" = String, Path, description = "The user id.", example = "main"),
        ("person" = String, Path, description = "The person's id.", example = "ada_lovelace"),
    ),
    responses(
        (status = 204, description = "No photo and no template is kept of them, nor what was computed of these."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such person."),
    ))]
pub(super) async fn remove_person(
    State(app): State<Shared>,
    Path((user, id)): Path<(UserId, Whose)>,
) -> Result<StatusCode, Problem> {
    let id = a_person(id)?;
    blocking(move || {
        if !app.datasets.remove_person(&user, &id)? {
            return Err(unknown(&user, &id));
        }
        app.journal
            .add("", "remove person", &format!("{user}/{id}"), "done")?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

fn a_person(whose: Whose) -> Result<PersonId, Problem> {
    match whose {
        Whose::Person(id) => Ok(id),
        Whose::Nobody => Err(Problem::bad_request("none is nobody")),
    }
}

fn display_name(named: &Named) -> Result<DisplayName, Problem> {
    let name = named.name.trim();
    if name.eq_ignore_ascii_case(NONE) {
        return Err(Problem::bad_request(format!("{NONE} is nobody")));
    }
    DisplayName::parse(name).map_err(|why| Problem::bad_request(format!("the name {name:?} {why}")))
}

fn find(datasets: &Datasets, user: &UserId, id: &PersonId) -> Result<Option<Listed>, Problem> {
    let (people, _) = datasets.people(user)?;
    Ok(people.into_iter().find(|listed| listed.person == **id))
}

fn found(datasets: &Datasets, user: &UserId, id: &PersonId) -> Result<Listed, Problem> {
    find(datasets, user, id)?.ok_or_else(|| unknown(user, id))
}

fn unknown(user: &UserId, id: &PersonId) -> Problem {
    Problem::not_found(format!("there is no person {id} in dataset {user}"))
}
