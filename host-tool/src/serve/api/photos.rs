//! The create call: photos for a person, or for `none`, each answered by itself; and the photos kept.

use std::path::PathBuf;

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::upload::{Form, Part};
use crate::{
    embed::{Kind, sha256},
    enroll::plan,
    serve::{
        extract::{Path, Query},
        names::{PhotoName, UserId, Whose},
        problem::Problem,
        quality,
        recognise::{Detected, check_pixels, corners, thumb},
        state::{App, Shared, blocking},
    },
};

/// Longest side of a small picture, in pixels.
const THUMB_PX: u32 = 320;

/// Photos in a form.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct Photos {
    /// JPEG, PNG, WebP or BMP; the field may come several times.
    #[schema(value_type = Vec<String>, format = Binary)]
    photo: Vec<String>,
}

/// What became of the photos, in their order.
#[derive(Serialize, ToSchema)]
pub(super) struct Created {
    /// The user id.
    #[schema(example = "main")]
    user: String,
    /// The person, or `none`.
    #[schema(example = "ada_lovelace")]
    person: String,
    /// How many were accepted.
    accepted: usize,
    /// Each photo.
    photos: Vec<Answer>,
}

/// What became of a photo.
#[derive(Serialize, ToSchema)]
pub(super) struct Answer {
    /// The name its file had.
    #[schema(example = "ada.jpg")]
    file: String,
    /// Whether it is kept.
    accepted: bool,
    /// What it is called here, if it is kept.
    #[schema(example = "0930e3aa8cae5920329c0c8cbc6a2ab7.jpg")]
    photo: Option<String>,
    /// Why it is not kept.
    #[schema(example = "no face found")]
    why: Option<String>,
    /// The face it is about, if one was found.
    face: Option<Detected>,
}

/// Photos of a person.
#[derive(Serialize, ToSchema)]
pub(super) struct Kept {
    /// Their names.
    photos: Vec<String>,
}

/// How large a picture.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Size {
    /// `true`: the face alone, at most 320 pixels a side.
    #[serde(default)]
    thumb: bool,
}

/// Create: upload photos of a person, or of people who are not to be let in (`none`)
///
/// Every photo is answered by itself: it is kept if it shows one face, large enough, or one much larger than all others. It
/// takes effect with the next training. A photo that is there already is accepted again, and kept once.
#[utoipa::path(post, path = "/api/v1/datasets/{user}/people/{person}/photos", tag = "create",
    params(
        ("user" = String, Path, description = "The user id; a new one makes a dataset.", example = "main"),
        ("person" = String, Path, description = "The person's id, or `none`; a new one makes a person.", example = "ada_lovelace"),
    ),
    request_body(content = Photos, content_type = "multipart/form-data"),
    responses(
        (status = 200, body = Created, description = "Each photo: accepted, or why not."),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "No form, or no photo in it."),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "Too many bytes."),
    ))]
pub(super) async fn create(
    State(app): State<Shared>,
    Path((user, whose)): Path<(UserId, Whose)>,
    mut form: Form,
) -> Result<Json<Created>, Problem> {
    let mut photos = Vec::new();
    while let Some(part) = form.next().await? {
        let Part::Photo { file, bytes } = part else {
            return Err(Problem::bad_request(
                "the form has a value that is no photo",
            ));
        };
        let taken = match bytes {
            _ if photos.len() >= app.limits.photos => Err(Problem::too_large(format!(
                "only {} photos at once are taken",
                app.limits.photos
            ))),
            None => Err(Problem::too_large(format!(
                "more than {} bytes",
                app.limits.photo_bytes
            ))),
            Some(bytes) => take(&app, &user, &whose, bytes).await,
        };
        photos.push(answer(file, taken)?);
    }
    if photos.is_empty() {
        return Err(Problem::bad_request(
            "the form has no photo: name its field photo",
        ));
    }
    let accepted = photos.iter().filter(|photo| photo.accepted).count();
    let (user, person) = (user.to_string(), whose.to_string());
    blocking({
        let subject = format!("{user}/{person}");
        let outcome = format!("{accepted} of {} photos accepted", photos.len());
        move || app.journal.add("", "create", &subject, &outcome)
    })
    .await?;
    Ok(Json(Created {
        user,
        person,
        accepted,
        photos,
    }))
}

/// What became of a photo that could be looked at.
pub(super) struct Taken {
    pub(super) kept: Result<PhotoName, String>,
    face: Option<Detected>,
}

/// Looks at a photo, and keeps it if it makes a template; else nothing is kept of it.
///
/// # Errors
/// What is wrong with the photo alone, as 413 or 422; else the server's failure.
pub(super) async fn take(
    app: &Shared,
    user: &UserId,
    whose: &Whose,
    bytes: Bytes,
) -> Result<Taken, Problem> {
    let limits = app.limits;
    let named = blocking(move || {
        check_pixels(&bytes, &limits)?;
        let name = PhotoName::of(&bytes).ok_or_else(|| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "it is not a JPEG, PNG, WebP or BMP picture",
            )
        })?;
        Ok::<_, Problem>((sha256(&bytes), name, bytes))
    });
    let (photo, name, bytes) = named.await?;
    let of = whose.person().map(ToString::to_string);
    let path = PathBuf::from(name.as_str());
    let (bytes, looked) = app
        .engine
        .run(move |desk| {
            let outcome = desk.read(&path, &bytes, Kind::Template)?;
            let plans = plan(&[(of.as_deref(), path.as_path(), &outcome)]);
            let refusal = plans.into_values().flat_map(|plan| plan.refused).next();
            let reading = outcome.map_err(|_| unreadable_words(refusal.as_ref()))?;
            let photo = facelatch_models::image::decode(&bytes, "the photo")?;
            let face = reading.main_face().map(|face| Detected {
                rect: corners(face),
                landmarks: face.landmarks,
                score: face.score,
                hint: quality::hint(&photo, face),
            });
            Ok((
                bytes,
                (refusal.map(|refused| refused.refusal.to_string()), face),
            ))
        })
        .await?;
    let (refusal, face) = looked;
    let kept = match refusal {
        Some(why) => Err(why),
        None => {
            let (app, user, whose) = (app.clone(), user.clone(), whose.clone());
            blocking(move || {
                keep(&app, &user, &whose, &name, &bytes).map(|kept| kept.map(|()| name))
            })
            .await?
        }
    };
    if kept.is_err() {
        app.engine.run(move |desk| Ok(desk.forget(photo)?)).await?;
    }
    Ok(Taken { kept, face })
}

fn unreadable_words(refused: Option<&crate::enroll::Refused>) -> Problem {
    let why = refused.map_or_else(
        || "it cannot be read".to_owned(),
        |refused| refused.refusal.to_string(),
    );
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why)
}

/// Keeps a photo that makes a template, unless it is somebody else's or there are too many; else why not.
fn keep(
    app: &App,
    user: &UserId,
    whose: &Whose,
    name: &PhotoName,
    bytes: &[u8],
) -> Result<Result<(), String>, Problem> {
    let _one = app.datasets.writing();
    if let Some(owner) = app.datasets.owner(user, name)?
        && owner != *whose
    {
        return Ok(Err(format!("the same file is in the folder of {owner}")));
    }
    if app.datasets.photos(user, whose)?.len() >= app.limits.photos_per_person {
        return Ok(Err(format!(
            "{whose} has {} photos, as many as are kept",
            app.limits.photos_per_person
        )));
    }
    app.datasets.put_photo(user, whose, name, bytes)?;
    Ok(Ok(()))
}

/// A photo's own trouble is its answer; the server's failure is everybody's.
fn answer(file: String, taken: Result<Taken, Problem>) -> Result<Answer, Problem> {
    let refused = |why: String, face| Answer {
        file: file.clone(),
        accepted: false,
        photo: None,
        why: Some(why),
        face,
    };
    match taken {
        Ok(Taken {
            kept: Ok(name),
            face,
        }) => Ok(Answer {
            file,
            accepted: true,
            photo: Some(name.as_str().to_owned()),
            why: None,
            face,
        }),
        Ok(Taken {
            kept: Err(why),
            face,
        }) => Ok(refused(why, face)),
        Err(problem) if problem.is_of_the_photo() => Ok(refused(problem.detail().to_owned(), None)),
        Err(problem) => Err(problem),
    }
}

/// A person's photos
#[utoipa::path(get, path = "/api/v1/datasets/{user}/people/{person}/photos", tag = "people",
    params(
        ("user" = String, Path, description = "The user id.", example = "main"),
        ("person" = String, Path, description = "The person's id, or `none`.", example = "ada_lovelace"),
    ),
    responses((status = 200, body = Kept, description = "Their names; none if there is no such person.")))]
pub(super) async fn list_photos(
    State(app): State<Shared>,
    Path((user, whose)): Path<(UserId, Whose)>,
) -> Result<Json<Kept>, Problem> {
    app.dataset(&user)?;
    let photos = blocking(move || app.datasets.photos(&user, &whose)).await?;
    let photos = photos.iter().map(|name| name.as_str().to_owned()).collect();
    Ok(Json(Kept { photos }))
}

/// A photo, or the face in it
#[utoipa::path(get, path = "/api/v1/datasets/{user}/people/{person}/photos/{photo}", tag = "people",
    params(
        ("user" = String, Path, description = "The user id.", example = "main"),
        ("person" = String, Path, description = "The person's id, or `none`.", example = "ada_lovelace"),
        ("photo" = String, Path, description = "The photo's name.", example = "0930e3aa8cae5920329c0c8cbc6a2ab7.jpg"),
        Size,
    ),
    responses(
        (status = 200, description = "The picture.", content_type = "image/jpeg"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such photo."),
    ))]
pub(super) async fn show_photo(
    State(app): State<Shared>,
    Path((user, whose, name)): Path<(UserId, Whose, PhotoName)>,
    Query(size): Query<Size>,
) -> Result<Response, Problem> {
    let media_type = name.media_type();
    let (own, photo) = (app.clone(), (user, whose, name));
    let found = blocking(move || {
        let (user, whose, name) = &photo;
        let small = match size.thumb {
            true => own.datasets.thumb(user, whose, name)?,
            false => None,
        };
        let path = own.datasets.photo_path(user, whose, name)?;
        Ok::<_, crate::Error>((small, path, photo))
    });
    let (small, path, photo) = found.await?;
    if let Some(small) = small {
        return Ok(picture("image/jpeg", small));
    }
    let bytes = read(path.clone()).await?.ok_or_else(no_such_photo)?;
    match size.thumb {
        true => Ok(picture(
            "image/jpeg",
            cut_out(app, photo, path, bytes).await?,
        )),
        false => Ok(picture(media_type, bytes)),
    }
}

/// The face in a photo, cut out and kept, unless the photo has gone meanwhile.
async fn cut_out(
    app: Shared,
    (user, whose, name): (UserId, Whose, PhotoName),
    path: PathBuf,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, Problem> {
    let work = app.engine.run(move |desk| {
        let jpeg = thumb(desk, &path, &bytes, THUMB_PX)?;
        Ok((sha256(&bytes), jpeg))
    });
    let (photo, jpeg) = work.await?;
    let own = app.clone();
    let kept = blocking(move || {
        let is_there = own.datasets.put_thumb(&user, &whose, &name, &jpeg)?;
        Ok::<_, crate::Error>(is_there.then_some(jpeg))
    });
    match kept.await? {
        Some(jpeg) => Ok(jpeg),
        None => {
            app.engine.run(move |desk| Ok(desk.forget(photo)?)).await?;
            Err(no_such_photo())
        }
    }
}

fn no_such_photo() -> Problem {
    Problem::not_found("there is no such photo")
}

/// Remove a photo, and the template made of it
///
/// What was computed of it goes at once, and a classifier that learned from it: train again.
#[utoipa::path(delete, path = "/api/v1/datasets/{user}/people/{person}/photos/{photo}", tag = "people",
    params(
        ("user" = String, Path, description = "The user id.", example = "main"),
        ("person" = String, Path, description = "The person's id, or `none`.", example = "ada_lovelace"),
        ("photo" = String, Path, description = "The photo's name.", example = "0930e3aa8cae5920329c0c8cbc6a2ab7.jpg"),
    ),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such photo."),
    ))]
pub(super) async fn remove_photo(
    State(app): State<Shared>,
    Path((user, whose, name)): Path<(UserId, Whose, PhotoName)>,
) -> Result<StatusCode, Problem> {
    blocking(move || {
        if !app.datasets.remove_photo(&user, &whose, &name)? {
            return Err(no_such_photo());
        }
        app.journal.add(
            "",
            "remove photo",
            &format!("{user}/{whose}/{}", name.as_str()),
            "done",
        )?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// A file's bytes; `None` if there is none.
pub(super) async fn read(path: PathBuf) -> Result<Option<Vec<u8>>, Problem> {
    blocking(move || match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(crate::Error::storage("read", path)(error)),
    })
    .await
}

/// A picture as an answer.
pub(super) fn picture(media_type: &'static str, bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, media_type)], bytes).into_response()
}
