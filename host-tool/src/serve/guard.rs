//! Who may ask at all: the first thing every request meets, and what every answer carries.
//!
//! ```text
//! Host header      an address, localhost, or a name of --name; else 421. A page on the web that had its own name resolved
//!                  to this machine (DNS rebinding) calls the server by that name.
//! token            Authorization: Bearer TOKEN, or Basic with the token as password
//! session          the console's cookie; to change something also the header X-Facelatch and no foreign origin, which a
//!                  form on another site cannot send
//! ```

use std::{net::IpAddr, time::Instant};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use data_encoding::BASE64;

use super::{
    problem::Problem,
    state::{App, Shared},
};

/// The console's cookie.
pub(super) const COOKIE: &str = "facelatch";
/// The header the console sends with whatever changes something.
const OWN_HEADER: &str = "x-facelatch";

/// Scripts and styles from here only, nothing inline, nothing framed; pictures also as made by the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Lets a request through, or answers it; a panic on the way is a 500.
pub(super) async fn guard(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let is_api = !is_page(request.uri().path());
    let mut response = match admitted(&app, &request, Instant::now()) {
        Ok(()) => unpanicked(next.run(request)).await,
        Err(problem) => problem.into_response(),
    };
    harden(response.headers_mut(), is_api);
    response
}

/// Runs on a task of its own, which a panic ends alone; dropped with the connection.
async fn unpanicked(answer: impl Future<Output = Response> + Send + 'static) -> Response {
    struct Task(tokio::task::JoinHandle<Response>);
    impl Drop for Task {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let mut task = Task(tokio::spawn(answer));
    match (&mut task.0).await {
        Ok(response) => response,
        Err(error) => Problem::internal(&format!("bug: {error}")).into_response(),
    }
}

fn admitted(app: &App, request: &Request, now: Instant) -> Result<(), Problem> {
    let headers = request.headers();
    let host = host(request).unwrap_or_default();
    if !is_known_name(host, &app.names) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this server goes by another name: start it with --name to allow this one",
        ));
    }
    if is_open(request.method(), request.uri().path()) {
        return Ok(());
    }
    if let Some(token) = bearer(headers) {
        return match app.token.is(&token) {
            true => Ok(()),
            false => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "the token is not this server's",
            )),
        };
    }
    match session(headers) {
        Some(secret) if app.sessions.is_open(secret, now) => {
            from_own_page(request.method(), headers, host)
        }
        Some(_) => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "the session has ended: sign in again",
        )),
        None => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "show the token: Authorization: Bearer TOKEN",
        )),
    }
}

/// What anybody may ask for: the pages, which hold nothing of anybody, the documentation, and signing in.
fn is_open(method: &Method, path: &str) -> bool {
    match path {
        "/api/v1/health" | "/api/v1/openapi.json" => true,
        "/api/v1/session" => *method == Method::POST,
        path => is_page(path),
    }
}

fn is_page(path: &str) -> bool {
    !path.starts_with("/api/") && path != "/face-recognition"
}

fn host(request: &Request) -> Option<&str> {
    match request.headers().get(header::HOST) {
        Some(host) => host.to_str().ok(),
        None => request
            .uri()
            .authority()
            .map(|authority| authority.as_str()),
    }
}

/// An address cannot be rebound, a name can.
fn is_known_name(host: &str, names: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok()
        || names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The token in a request: as bearer, or as the password of whatever user.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Some(String::new());
    }
    let decoded = BASE64.decode(rest.trim().as_bytes()).unwrap_or_default();
    let text = String::from_utf8(decoded).unwrap_or_default();
    Some(
        text.split_once(':')
            .map_or_else(String::new, |(_, password)| password.to_owned()),
    )
}

/// The secret in the console's cookie.
pub(super) fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let mut pairs = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// Whether a request with the cookie was made by our own page, as far as it matters: what only reads is kept from other
/// sites by the browser itself.
fn from_own_page(method: &Method, headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let text = |name: HeaderName| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let own_origin = text(header::ORIGIN)
        .is_none_or(|origin| origin.split_once("://").is_some_and(|(_, at)| at == host));
    let own_site = text(HeaderName::from_static("sec-fetch-site"))
        .is_none_or(|site| site == "same-origin" || site == "none");
    if headers.contains_key(OWN_HEADER) && own_origin && own_site {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "a session may change things from the console's own page only; programs show the token",
    ))
}

/// What every answer says to browsers; an answer that brings its own policy keeps it.
fn harden(headers: &mut HeaderMap, is_api: bool) {
    let fixed: [(&'static str, &'static str); 6] = [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        (
            "permissions-policy",
            "camera=(self), microphone=(), geolocation=()",
        ),
    ];
    for (name, value) in fixed {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    let cache = if is_api { "no-store" } else { "no-cache" };
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static(cache));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_our_own_names_are_answered() {
        let names = ["door.example".to_owned()];
        let cases = [
            ("127.0.0.1:7118", true),
            ("127.0.0.1", true),
            ("[::1]:7118", true),
            ("localhost:7118", true),
            ("LOCALHOST", true),
            ("192.0.2.7:80", true),
            ("Door.example:443", true),
            ("evil.example:7118", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
            ("door.example:x", false),
        ];
        for (host, want) in cases {
            assert_eq!(is_known_name(host, &names), want, "{host:?}");
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).expect("printable"),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn tokens_are_found_where_clients_put_them() {
        let basic = format!("Basic {}", BASE64.encode(b"any:fl-x"));
        let cases = [
            ("Bearer fl-x", Some("fl-x")),
            ("bearer  fl-x ", Some("fl-x")),
            (basic.as_str(), Some("fl-x")),
            ("Basic !!!", Some("")),
            ("Digest a=b", Some("")),
        ];
        for (value, want) in cases {
            assert_eq!(
                bearer(&headers(&[("authorization", value)])).as_deref(),
                want,
                "{value}"
            );
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
        let cookies = headers(&[("cookie", "a=b; facelatch=fl-s; facelatchx=no")]);
        assert_eq!(session(&cookies), Some("fl-s"));
        assert_eq!(session(&headers(&[("cookie", "facelatchx=no")])), None);
    }

    #[test]
    fn a_session_changes_things_from_its_own_page_only() {
        let own: &[(&str, &str)] = &[
            ("x-facelatch", "1"),
            ("origin", "http://127.0.0.1:1"),
            ("sec-fetch-site", "same-origin"),
        ];
        type Case = (Method, &'static [(&'static str, &'static str)], bool);
        let cases: &[Case] = &[
            (Method::GET, &[], true),
            (Method::POST, &[("x-facelatch", "1")], true),
            (Method::POST, &[], false),
            (Method::DELETE, &[("origin", "http://127.0.0.1:1")], false),
            (
                Method::PUT,
                &[("x-facelatch", "1"), ("origin", "http://evil.example")],
                false,
            ),
            (
                Method::PUT,
                &[("x-facelatch", "1"), ("origin", "null")],
                false,
            ),
            (
                Method::POST,
                &[("x-facelatch", "1"), ("sec-fetch-site", "cross-site")],
                false,
            ),
            (
                Method::POST,
                &[("x-facelatch", "1"), ("sec-fetch-site", "same-site")],
                false,
            ),
        ];
        for (method, pairs, want) in cases {
            let admitted = from_own_page(method, &headers(pairs), "127.0.0.1:1").is_ok();
            assert_eq!(admitted, *want, "{method} {pairs:?}");
        }
        let pairs: Vec<(&'static str, &str)> = vec![
            ("x-facelatch", own[0].1),
            ("origin", own[1].1),
            ("sec-fetch-site", own[2].1),
        ];
        assert!(from_own_page(&Method::POST, &headers(&pairs), "127.0.0.1:1").is_ok());
    }
}
