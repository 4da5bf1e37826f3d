//! Streams of server-sent events: made of channels, kept alive, ended when the server stops.

use std::{convert::Infallible, time::Duration};

use axum::{
    http::{HeaderValue, header},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::stream::{self, Stream};
use serde::Serialize;
use tokio::sync::watch;

/// A comment goes out after so long a silence: proxies cut lines they think dead.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// A JSON event.
pub(super) fn event(name: &str, id: Option<u64>, data: &impl Serialize) -> Event {
    let event = Event::default().event(name);
    let event = match id {
        Some(id) => event.id(id.to_string()),
        None => event,
    };
    match event.json_data(data) {
        Ok(event) => event,
        Err(error) => {
            log::error!("bug: an event has no JSON form: {error}");
            Event::default().comment("unreadable")
        }
    }
}

/// The events that `next` makes out of its state, until it makes none, or the server stops.
pub(super) fn respond<S, F, Fut>(state: S, stopping: watch::Receiver<bool>, next: F) -> Response
where
    S: Send + 'static,
    F: Fn(S) -> Fut + Send + 'static,
    Fut: Future<Output = Option<(Event, S)>> + Send + 'static,
{
    let events = until_stopped(state, stopping, next);
    let mut response = Sse::new(events)
        .keep_alive(KeepAlive::new().interval(ALIVE_EVERY))
        .into_response();
    // nginx would hold events back until its buffer is full.
    let headers = response.headers_mut();
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn until_stopped<S, F, Fut>(
    state: S,
    stopping: watch::Receiver<bool>,
    next: F,
) -> impl Stream<Item = Result<Event, Infallible>>
where
    F: Fn(S) -> Fut,
    Fut: Future<Output = Option<(Event, S)>>,
{
    stream::unfold(
        (state, stopping, next),
        |(state, mut stopping, next)| async move {
            let made = {
                let stopped = Box::pin(async {
                    // An error: the server is gone, which is a stop as well.
                    let _ = stopping.wait_for(|told| *told).await;
                    None
                });
                let made = Box::pin(next(state));
                futures_util::future::select(made, stopped)
                    .await
                    .factor_first()
                    .0
            };
            made.map(|(event, state)| (Ok(event), (state, stopping, next)))
        },
    )
}
