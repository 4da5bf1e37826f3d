//! What handlers take out of a request: axum's own extractors, with our problems for answers.

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The values in the path.
pub(super) struct Path<T>(pub(super) T);

/// The values behind the question mark.
pub(super) struct Query<T>(pub(super) T);

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, Problem> {
        let taken = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        taken
            .map(|axum::extract::Path(value)| Path(value))
            .map_err(|why| Problem::new(why.status(), why.body_text()))
    }
}

impl<T, S> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Query<T>, Problem> {
        let taken = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        taken
            .map(|axum::extract::Query(value)| Query(value))
            .map_err(|why| Problem::bad_request(why.body_text()))
    }
}

impl<T, S> FromRequest<S> for Json<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Json<T>, Problem> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Json(value)),
            Err(why) if why.status() == StatusCode::UNPROCESSABLE_ENTITY => {
                Err(Problem::bad_request(why.body_text()))
            }
            Err(why) => Err(Problem::new(why.status(), why.body_text())),
        }
    }
}
