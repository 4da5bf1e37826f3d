//! The console and the documentation page: files of this folder's `web`, part of the program, so that both work offline
//! and nothing is built.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{extract::Path, problem::Problem};

/// A file of the page.
struct Asset {
    path: &'static str,
    media_type: &'static str,
    bytes: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PAGE: &str = "text/html; charset=utf-8";

macro_rules! assets {
    ($($path:literal: $media_type:expr),* $(,)?) => {
        &[$(Asset { path: $path, media_type: $media_type, bytes: include_str!(concat!("web/", $path)) }),*]
    };
}

const ASSETS: &[Asset] = assets! {
    "style.css": STYLE,
    "app.js": SCRIPT,
    "api.js": SCRIPT,
    "dom.js": SCRIPT,
    "faces.js": SCRIPT,
    "camera.js": SCRIPT,
    "people.js": SCRIPT,
    "person.js": SCRIPT,
    "training.js": SCRIPT,
    "recognise.js": SCRIPT,
    "map.js": SCRIPT,
    "review.js": SCRIPT,
    "doors.js": SCRIPT,
    "activity.js": SCRIPT,
    "docs.js": SCRIPT,
    "icon.svg": "image/svg+xml",
};

/// The console.
pub(super) async fn console(headers: HeaderMap) -> Response {
    answer(&headers, PAGE, include_str!("web/index.html"))
}

/// The documentation.
pub(super) async fn docs(headers: HeaderMap) -> Response {
    answer(&headers, PAGE, include_str!("web/docs.html"))
}

/// What the pages load.
pub(super) async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.path == path) {
        Some(asset) => answer(&headers, asset.media_type, asset.bytes),
        None => Problem::not_found(format!("there is no file {path}")).into_response(),
    }
}

/// A file, unless the browser has it already.
fn answer(headers: &HeaderMap, media_type: &'static str, bytes: &'static str) -> Response {
    let digest = crate::cache::hex(&crate::embed::sha256(bytes.as_bytes()));
    let tag = format!("\"{}\"", &digest[..16]);
    let has_it = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = match has_it {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, media_type)], bytes).into_response(),
    };
    // Hexadecimal digits in quotes.
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
