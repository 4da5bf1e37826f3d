//! What handlers take out of a request: axum's own extractors, with our problems for answers.

use std::time::Duration;

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::problem::Problem;

/// Longest wait for the whole of a JSON body.
const WHOLE_BODY: Duration = Duration::from_secs(30);

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
        json(request, state, WHOLE_BODY).await.map(Json)
    }
}

async fn json<T: DeserializeOwned, S: Send + Sync>(
    request: Request,
    state: &S,
    longest: Duration,
) -> Result<T, Problem> {
    let taken = timeout(longest, axum::Json::<T>::from_request(request, state)).await;
    let stalled = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the request stalled");
    match taken.map_err(stalled)? {
        Ok(axum::Json(value)) => Ok(value),
        Err(why) if why.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            Err(Problem::bad_request(why.body_text()))
        }
        Err(why) => Err(Problem::new(why.status(), why.body_text())),
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, Bytes},
        http::header,
        response::IntoResponse,
    };

    use super::*;

    #[test]
    fn a_body_that_does_not_come_is_not_waited_for() {
        let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let request = Request::builder()
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from_stream(never))
            .expect("a request");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let taken = runtime.block_on(json::<u8, ()>(request, &(), Duration::ZERO));
        let answer = taken.expect_err("nothing came").into_response();
        assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
    }
}
