//! The predict call, looking for faces only, and the pictures predict drew.

use axum::{Json, extract::State, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    photos::{picture, read},
    upload::Upload,
};
use crate::{
    cmd::predict::encode,
    draw::draw,
    serve::{
        extract::{Path, Query},
        names::{PhotoName, UserId},
        problem::Problem,
        recognise::{Detected, Found, decode, detect as find, recognise},
        state::{Shared, blocking},
        unknown::Unknown,
    },
};

/// A photo in a form.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct Photo {
    /// JPEG, PNG, WebP or BMP.
    #[schema(value_type = String, format = Binary)]
    photo: Vec<u8>,
}

/// What besides the faces.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Every class with its probability, for each face.
    #[serde(default)]
    all_predictions: bool,
    /// Keep the photo with boxes and names drawn in, as `output/DATE_tagged.jpg`.
    #[serde(default)]
    tagged: bool,
    /// Keep the faces nobody recognised for review. They are personal data of strangers.
    #[serde(default)]
    keep_unknown: bool,
}

/// Who is in the photo.
#[derive(Serialize, ToSchema)]
pub(super) struct Predicted {
    /// Width and height of the upright photo, in pixels.
    size: [u32; 2],
    /// All faces, the surest first.
    faces: Vec<Found>,
    /// Where the tagged picture is, if it was asked for.
    #[schema(example = "/api/v1/datasets/main/outputs/2026-01-31T12-00-00-000Z_tagged.jpg")]
    tagged: Option<String>,
    /// How many unknown faces were kept for review.
    kept_unknown: usize,
}

/// The faces of a photo.
#[derive(Serialize, ToSchema)]
pub(super) struct Faces {
    /// Width and height of the upright photo, in pixels.
    size: [u32; 2],
    /// All faces, the surest first.
    faces: Vec<Detected>,
}

/// Tagged pictures.
#[derive(Serialize, ToSchema)]
pub(super) struct Outputs {
    /// Their names, the latest first.
    outputs: Vec<String>,
}

/// Predict: who is in a photo
///
/// Every face is judged by the rule a door uses: a stranger has no label, however near the nearest person is. One photo is
/// one frame; a door asks for several in agreement.
#[utoipa::path(post, path = "/api/v1/datasets/{user}/predict", tag = "predict",
    params(("user" = String, Path, description = "The user id.", example = "main"), Wanted),
    request_body(content((Photo = "multipart/form-data"), ("image/jpeg"))),
    responses(
        (status = 200, body = Predicted, description = "The faces; none is no error."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such dataset."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Train first."),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "Too many bytes or pixels."),
        (status = 415, body = Problem, content_type = "application/problem+json", description = "Neither a form nor a photo."),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "The photo cannot be read."),
    ))]
pub(super) async fn predict(
    State(app): State<Shared>,
    Path(user): Path<UserId>,
    Query(wanted): Query<Wanted>,
    upload: Upload,
) -> Result<Json<Predicted>, Problem> {
    app.dataset(&user)?;
    let judge = {
        let (app, user) = (app.clone(), user.clone());
        blocking(move || app.judges.of(&user, &app.datasets.recogniser(&user))).await?
    };
    let (bytes, limits) = (upload.bytes.clone(), app.limits);
    let recognised = app
        .engine
        .run(move |desk| {
            let photo = decode(&bytes, "the photo", &limits)?;
            recognise(desk, &judge, photo)
        })
        .await?;
    let told = blocking(move || {
        let faces = recognised.found(wanted.all_predictions);
        let (width, height) = recognised.photo.dimensions();
        let kept_unknown = match wanted.keep_unknown {
            true => {
                let _one = app.datasets.writing_in(&user)?;
                Unknown::new(app.datasets.unknown_dir(&user))
                    .keep(&recognised, app.limits.unknown)?
            }
            false => 0,
        };
        let tagged = match wanted.tagged {
            true => {
                let tags: Vec<_> = recognised
                    .faces
                    .iter()
                    .map(|(face, verdict, _)| verdict.tag(face))
                    .collect();
                let mut photo = recognised.photo;
                draw(&mut photo, &tags);
                let jpeg = encode(&photo, image::ImageFormat::Jpeg)?;
                let name = app.datasets.put_output(&user, &jpeg)?;
                Some(format!("/api/v1/datasets/{user}/outputs/{name}"))
            }
            false => None,
        };
        Ok::<_, crate::Error>(Predicted {
            size: [width, height],
            faces,
            tagged,
            kept_unknown,
        })
    });
    Ok(Json(told.await?))
}

/// Find the faces in a photo, and say what could be better about each
///
/// For whoever is before a camera. Nobody is recognised, nothing is kept.
#[utoipa::path(post, path = "/api/v1/detect", tag = "predict",
    request_body(content((Photo = "multipart/form-data"), ("image/jpeg"))),
    responses(
        (status = 200, body = Faces, description = "The faces; none is no error."),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "Too many bytes or pixels."),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "The photo cannot be read."),
    ))]
pub(super) async fn detect(
    State(app): State<Shared>,
    upload: Upload,
) -> Result<Json<Faces>, Problem> {
    let (bytes, limits) = (upload.bytes.clone(), app.limits);
    let found = app.engine.run(move |desk| {
        let photo = decode(&bytes, "the photo", &limits)?;
        let faces = find(desk, &photo)?;
        Ok(Faces {
            size: [photo.width(), photo.height()],
            faces,
        })
    });
    Ok(Json(found.await?))
}

/// The pictures predict drew
#[utoipa::path(get, path = "/api/v1/datasets/{user}/outputs", tag = "predict",
    params(("user" = String, Path, description = "The user id.", example = "main")),
    responses((status = 200, body = Outputs, description = "Their names, the latest first.")))]
pub(super) async fn list_outputs(
    State(app): State<Shared>,
    Path(user): Path<UserId>,
) -> Result<Json<Outputs>, Problem> {
    app.dataset(&user)?;
    let outputs = blocking(move || app.datasets.outputs(&user)).await?;
    let outputs = outputs
        .iter()
        .map(|name| name.as_str().to_owned())
        .collect();
    Ok(Json(Outputs { outputs }))
}

/// A picture predict drew
#[utoipa::path(get, path = "/api/v1/datasets/{user}/outputs/{output}", tag = "predict",
    params(
        ("user" = String, Path, description = "The user id.", example = "main"),
        ("output" = String, Path, description = "Its name.", example = "2026-01-31T12-00-00-000Z_tagged.jpg"),
    ),
    responses(
        (status = 200, description = "The picture.", content_type = "image/jpeg"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is none."),
    ))]
pub(super) async fn show_output(
    State(app): State<Shared>,
    Path((user, name)): Path<(UserId, PhotoName)>,
) -> Result<Response, Problem> {
    let bytes = read(app.datasets.output_path(&user, &name)).await?;
    let bytes = bytes.ok_or_else(|| Problem::not_found("there is no such picture"))?;
    Ok(picture("image/jpeg", bytes))
}
