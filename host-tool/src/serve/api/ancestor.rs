//! The recognition call of the program this one descends from (arsfutura/face-recognition, `POST /face-recognition`), with
//! its form and the exact shape of its answer, so that its clients change nothing but the address.
//!
//! They know no bearer token, but an address may carry one: `http://any:TOKEN@host/face-recognition`.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::upload::Upload;
use crate::{
    dataset::NONE,
    serve::{
        extract::{Path, Query},
        names::UserId,
        problem::Problem,
        recognise::{Found, Prediction, decode, recognise},
        state::{Shared, blocking},
    },
};

/// What besides the faces; a form's field of the same name does as well.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Include {
    /// `true` or `1`: all predictions of each face.
    include_predictions: Option<String>,
}

/// A photo in a form.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct Image {
    /// The photo.
    #[schema(value_type = String, format = Binary)]
    image: Vec<u8>,
    /// Whether to include all predictions.
    include_predictions: Option<bool>,
}

/// All faces.
#[derive(Serialize, ToSchema)]
pub(super) struct AncestorFaces {
    faces: Vec<AncestorFace>,
}

/// A face.
#[derive(Serialize, ToSchema)]
pub(super) struct AncestorFace {
    /// The person recognised; for a stranger the label is `none`, and the confidence what the classifier leaves for
    /// anybody but the nearest person.
    top_prediction: Prediction,
    bounding_box: BoundingBox,
    /// Every class, if asked for; else null.
    all_predictions: Option<Vec<Prediction>>,
}

/// A box, in pixels of the upright photo.
#[derive(Serialize, ToSchema)]
pub(super) struct BoundingBox {
    left: f32,
    top: f32,
    right: f32,
    bottom: f32,
}

impl From<Found> for AncestorFace {
    fn from(found: Found) -> AncestorFace {
        let [x, y, w, h] = found.rect;
        let confidence = found.confidence.unwrap_or(0.0);
        let top_prediction = match found.label {
            Some(label) => Prediction { label, confidence },
            None => Prediction {
                label: NONE.to_owned(),
                confidence: 1.0 - confidence,
            },
        };
        AncestorFace {
            top_prediction,
            bounding_box: BoundingBox {
                left: x,
                top: y,
                right: x + w,
                bottom: y + h,
            },
            all_predictions: found.all_predictions,
        }
    }
}

/// The ancestor's call, on the dataset `main`
#[utoipa::path(post, path = "/face-recognition", tag = "ancestor", params(Include),
    request_body(content = Image, content_type = "multipart/form-data"),
    responses(
        (status = 200, body = AncestorFaces, description = "The faces."),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "No photo in the form."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Train first."),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "The photo cannot be read."),
    ))]
pub(super) async fn face_recognition(
    app: State<Shared>,
    include: Query<Include>,
    upload: Upload,
) -> Result<Json<AncestorFaces>, Problem> {
    face_recognition_in(app, Path(UserId::main()), include, upload).await
}

/// The ancestor's call, on any dataset
#[utoipa::path(post, path = "/api/v1/datasets/{user}/face-recognition", tag = "ancestor",
    params(("user" = String, Path, description = "The user id.", example = "main"), Include),
    request_body(content = Image, content_type = "multipart/form-data"),
    responses(
        (status = 200, body = AncestorFaces, description = "The faces."),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "No photo in the form."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such dataset."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Train first."),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "The photo cannot be read."),
    ))]
pub(super) async fn face_recognition_in(
    State(app): State<Shared>,
    Path(user): Path<UserId>,
    Query(include): Query<Include>,
    upload: Upload,
) -> Result<Json<AncestorFaces>, Problem> {
    app.dataset(&user)?;
    let include = include
        .include_predictions
        .or_else(|| upload.values.get("include_predictions").cloned());
    let all =
        include.is_some_and(|text| matches!(text.to_ascii_lowercase().as_str(), "true" | "1"));
    let (limits, engine) = (app.limits, app.engine.clone());
    let judge = blocking(move || app.judges.of(&user, &app.datasets.recogniser(&user))).await?;
    let bytes = upload.bytes.clone();
    let recognised = engine.run(move |desk| {
        let photo = decode(&bytes, "the photo", &limits)?;
        Ok(recognise(desk, &judge, photo)?.found(all))
    });
    let faces = recognised
        .await?
        .into_iter()
        .map(AncestorFace::from)
        .collect();
    Ok(Json(AncestorFaces { faces }))
}
