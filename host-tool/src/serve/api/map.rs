//! A dataset's templates as points of a plane.

use axum::{Json, extract::State};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Error,
    dataset::NONE,
    evaluate::map::{Points, neighbours, principal},
    home::Template,
    serve::{
        extract::{Path, Query},
        names::UserId,
        problem::Problem,
        state::{Shared, blocking},
    },
};

/// Most templates mapped: t-SNE's work grows with their square, and somebody waits.
const MOST: usize = 600;

/// How they are laid out.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Method {
    /// The two directions in which they differ most.
    #[default]
    Pca,
    /// Neighbours near each other.
    Tsne,
}

/// How they are laid out.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Layout {
    /// `pca` or `tsne`.
    #[param(inline)]
    #[serde(default)]
    method: Method,
}

/// Templates as points.
#[derive(Serialize, ToSchema)]
pub(super) struct Map {
    /// How many templates there are; evenly thinned if that is more than points.
    templates: usize,
    /// The points, person by person.
    points: Vec<Point>,
}

/// A template.
#[derive(Serialize, ToSchema)]
pub(super) struct Point {
    /// Whose it is, or `none`.
    person: String,
    /// The photo's name, or the door it came from.
    origin: String,
    x: f64,
    y: f64,
}

/// A dataset's templates as points of a plane
///
/// Distances on a t-SNE map mean little beyond who is whose neighbour.
#[utoipa::path(get, path = "/api/v1/datasets/{user}/map", tag = "datasets",
    params(("user" = String, Path, description = "The user id.", example = "main"), Layout),
    responses(
        (status = 200, body = Map, description = "The points."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such dataset."),
    ))]
pub(super) async fn embedding_map(
    State(app): State<Shared>,
    Path(user): Path<UserId>,
    Query(layout): Query<Layout>,
) -> Result<Json<Map>, Problem> {
    app.dataset(&user)?;
    let made = blocking(move || {
        let home = app.datasets.recogniser(&user);
        let (people, none) = (home.people()?, home.none()?);
        let known = people
            .iter()
            .flat_map(|p| p.templates.iter().map(|t| (p.id.to_string(), t)));
        let all: Vec<(String, &Template)> = known
            .chain(none.iter().map(|t| (NONE.to_owned(), t)))
            .collect();
        map(&all, layout.method)
    });
    Ok(Json(made.await?))
}

fn map(all: &[(String, &Template)], method: Method) -> Result<Map, Error> {
    let step = all.len().div_ceil(MOST).max(1);
    let shown: Vec<_> = all.iter().step_by(step).collect();
    let dimension = shown
        .first()
        .map_or(0, |(_, template)| template.values.len());
    let values = shown
        .iter()
        .flat_map(|(_, template)| &template.values)
        .copied()
        .collect();
    let embeddings = Array2::from_shape_vec((shown.len(), dimension), values)
        .map_err(|_| Error::NotReady("templates are of several networks: train again".into()))?;
    let points: Points = match method {
        Method::Pca => principal(&embeddings),
        Method::Tsne => neighbours(&embeddings),
    };
    let points = shown
        .into_iter()
        .zip(points)
        .map(|((person, template), [x, y])| Point {
            person: person.clone(),
            origin: template.origin.clone(),
            x,
            y,
        });
    Ok(Map {
        templates: all.len(),
        points: points.collect(),
    })
}
