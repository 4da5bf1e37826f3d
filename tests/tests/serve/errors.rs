//! What the server refuses: every refusal is a problem, nothing is let in without the token, no name leads out of the
//! workspace.

use std::fs;

use facelatch_tests::server::{Answer, Server, form};
use serde_json::{Value, json};

use crate::photo;

fn is_problem(answer: &Answer, status: u16) -> Result<(), String> {
    let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let sound = answer.status.as_u16() == status
        && answer.media_type == "application/problem+json"
        && problem["status"] == status
        && problem["type"]
            .as_str()
            .is_some_and(|kind| kind.starts_with("/docs#problem-"))
        && problem["detail"]
            .as_str()
            .is_some_and(|detail| !detail.is_empty());
    if sound {
        return Ok(());
    }
    Err(format!(
        "{} {}: {}",
        answer.status,
        answer.media_type,
        answer.text()
    ))
}

#[test]
fn nothing_is_told_or_changed_without_the_token() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    let document = server
        .ask_with("GET", "/api/v1/openapi.json", &[], &[])
        .expect(200);
    let mut failures = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let path = path.replace("{user}", "main").replace(['{', '}'], "");
        for (method, operation) in item.as_object().expect("an item") {
            if operation["security"] == json!([{}]) {
                continue;
            }
            let method = method.to_uppercase();
            for headers in [
                &[][..],
                &[("authorization", "Bearer wrong")],
                &[("cookie", "facelatch=wrong")],
            ] {
                let answer = server.ask_with(&method, &path, headers, &[]);
                if let Err(why) = is_problem(&answer, 401) {
                    failures.push(format!("{method} {path} with {headers:?}: {why}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");

    let secret = json!({ "token": server.token() }).to_string();
    let headers = [("content-type", "application/json")];
    let signed_in = server.ask_with("POST", "/api/v1/session", &headers, secret.as_bytes());
    assert_eq!(signed_in.status, 204);
    let cookie = signed_in.headers["set-cookie"].to_str().expect("a text");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().expect("a pair");
    let with = |method: &str, more: &[(&str, &str)]| {
        let headers = [&[("cookie", cookie)], more].concat();
        server
            .ask_with(method, "/api/v1/datasets/main", &headers, &[])
            .status
            .as_u16()
    };
    assert_eq!(with("GET", &[]), 200);
    assert_eq!(with("DELETE", &[]), 403, "a form on another site");
    assert_eq!(
        with(
            "DELETE",
            &[("x-facelatch", "1"), ("origin", "http://evil.example")]
        ),
        403
    );
    assert_eq!(
        with("DELETE", &[("x-facelatch", "1")]),
        404,
        "nothing to remove"
    );
    let rebound = server.ask_with("GET", "/", &[("host", "evil.example")], &[]);
    is_problem(&rebound, 421).expect("another name");
    let page = server.ask_with("GET", "/", &[], &[]);
    let policy = page.headers["content-security-policy"]
        .to_str()
        .expect("a text");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
}

#[test]
fn wrong_requests_are_answered_with_problems() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(
        folder.path(),
        &[
            "--max-photo-mb",
            "1",
            "--max-photos",
            "2",
            "--max-photo-mpx",
            "1",
        ],
    );
    let main = "/api/v1/datasets/main";
    let asked: &[(&str, &str, &str, &[u8], u16)] = &[
        ("GET", "/api/v1/nothing", "", b"", 404),
        ("GET", "/nothing", "", b"", 404),
        ("GET", "/assets/../api.rs", "", b"", 404),
        ("PATCH", "/api/v1/datasets", "", b"", 405),
        ("GET", "/api/v1/datasets/nobody", "", b"", 404),
        ("GET", "/api/v1/datasets/..%2F..%2Fetc", "", b"", 400),
        (
            "GET",
            "/api/v1/datasets/main/people/..%2F..%2Fkeys/photos",
            "",
            b"",
            400,
        ),
        (
            "GET",
            "/api/v1/datasets/main/people/ada/photos/..%2F..%2F..%2Fkeys%2Fhost",
            "",
            b"",
            400,
        ),
        (
            "GET",
            "/api/v1/datasets/main/people/ada/photos/x.jpg",
            "",
            b"",
            404,
        ),
        (
            "GET",
            "/api/v1/datasets/main/outputs/..%2Fx.jpg",
            "",
            b"",
            400,
        ),
        (
            "GET",
            "/api/v1/datasets/main/evaluations/..%2F..%2F..%2Fcounter",
            "",
            b"",
            404,
        ),
        (
            "GET",
            "/api/v1/datasets/main/map?method=magic",
            "",
            b"",
            400,
        ),
        ("GET", "/api/v1/jobs/x", "", b"", 400),
        ("GET", "/api/v1/jobs/99", "", b"", 404),
        ("GET", "/api/v1/doors/front", "", b"", 404),
        (
            "POST",
            "/api/v1/doors/front/unlock",
            "application/json",
            b"{\"operator\":\"\"}",
            400,
        ),
        (
            "POST",
            "/api/v1/doors/front/unlock",
            "application/json",
            b"{\"operator\":\"ada\"}",
            404,
        ),
        (
            "POST",
            "/api/v1/doors/front/unlock",
            "application/json",
            b"{",
            400,
        ),
        (
            "POST",
            "/api/v1/doors/front/unlock",
            "text/plain",
            b"{}",
            415,
        ),
        (
            "POST",
            "/api/v1/datasets/main/people",
            "application/json",
            b"{\"name\":\"none\"}",
            400,
        ),
        (
            "POST",
            "/api/v1/datasets/main/people",
            "application/json",
            b"{\"name\":\"x\",\"age\":1}",
            400,
        ),
        ("DELETE", "/api/v1/datasets/main/people/none", "", b"", 400),
        ("DELETE", "/api/v1/datasets/main/people/ada", "", b"", 404),
        (
            "POST",
            "/api/v1/datasets/main/train?classifier=oracle",
            "",
            b"",
            400,
        ),
        ("POST", "/api/v1/datasets/main/train?c=-1", "", b"", 400),
        (
            "POST",
            "/api/v1/datasets/main/predict",
            "image/jpeg",
            b"no photo",
            409,
        ),
        ("POST", "/api/v1/detect", "image/jpeg", b"no photo", 422),
        ("POST", "/api/v1/detect", "text/plain", b"no photo", 415),
        (
            "POST",
            "/api/v1/detect",
            "multipart/form-data; boundary=x",
            b"--x--\r\n",
            400,
        ),
        (
            "POST",
            "/api/v1/detect",
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Dis",
            400,
        ),
        (
            "POST",
            "/api/v1/datasets/main/people/ada/photos",
            "image/jpeg",
            b"no form",
            415,
        ),
        (
            "POST",
            "/api/v1/datasets/main/unknown",
            "application/json",
            b"{\"faces\":[],\"decision\":\"forget\"}",
            400,
        ),
        (
            "POST",
            "/api/v1/datasets/main/unknown",
            "application/json",
            b"{\"faces\":[\"../x.jpg\"],\"decision\":\"forget\"}",
            400,
        ),
    ];
    let token = format!("Bearer {}", server.token());
    let mut failures = Vec::new();
    for (method, path, kind, body, status) in asked {
        let mut headers = vec![("authorization", token.as_str())];
        if !kind.is_empty() {
            headers.push(("content-type", kind));
        }
        let answer = server.ask_with(method, path, &headers, body);
        if let Err(why) = is_problem(&answer, *status) {
            failures.push(format!("{method} {path}: expected {status}, {why}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    let large = vec![0xff; (1 << 20) + 1];
    let answer = server.upload("/api/v1/detect", &[("large.jpg", &large)]);
    is_problem(&answer, 413).expect("too many bytes");
    let answer = server.upload("/api/v1/detect", &[("large.jpg", &vec![0xff; 4 << 20])]);
    is_problem(&answer, 413).expect("more than a whole request may have");
    let many_pixels = encoded(1001, 1000);
    let answer = server.upload("/api/v1/detect", &[("wide.png", &many_pixels)]);
    is_problem(&answer, 413).expect("too many pixels");

    let long = json!({ "token": "x".repeat(64 << 10) }).to_string();
    let kind = [("content-type", "application/json")];
    let answer = server.ask_with("POST", "/api/v1/session", &kind, long.as_bytes());
    is_problem(&answer, 413).expect("anybody may send it");

    // Each photo is answered by itself.
    let good = photo("visitors/obama2.jpg");
    let sent: &[(&str, &[u8])] = &[
        ("large.jpg", &large),
        ("wide.png", &many_pixels),
        ("good.jpg", &good),
    ];
    let answered = server
        .upload(&format!("{main}/people/ada/photos"), sent)
        .expect(200);
    let whys: Vec<_> = answered["photos"]
        .as_array()
        .expect("each")
        .iter()
        .map(|p| p["why"].to_string())
        .collect();
    assert!(
        whys[0].contains("bytes")
            && whys[1].contains("pixels")
            && whys[2].contains("only 2 photos"),
        "{whys:?}"
    );
    assert_eq!(answered["accepted"], 0);
    let answered = server
        .upload(&format!("{main}/people/ada/photos"), &sent[1..])
        .expect(200);
    assert_eq!(answered["photos"][1]["accepted"], true, "{answered}");
}

#[test]
fn what_is_kept_is_its_owners_alone_and_a_stopped_server_ends_in_order() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = folder.path().join("home");
    let server = Server::start(&home, &[]);
    let good = photo("visitors/obama2.jpg");
    server
        .upload(
            "/api/v1/datasets/acme/people/ada/photos",
            &[("a.jpg", &good)],
        )
        .expect(200);
    let mut folders = vec![home.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let mode = entry.metadata().expect("there").permissions().mode() & 0o077;
            let path = entry.path();
            // The cache's entries are named after the photo, and hold no picture.
            if !path.starts_with(home.join("cache")) {
                assert_eq!(mode, 0, "{}", path.display());
            }
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    // Strangers are answered before they are read: a photo would break off on its way.
    let (kind, body) = form(&[("b.jpg", b"a photo")]);
    let headers = [
        ("content-type", kind.as_str()),
        ("authorization", "Basic eDp4"),
    ];
    assert_eq!(
        server
            .ask_with("POST", "/face-recognition", &headers, &body)
            .status,
        401
    );
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(!ended.err.contains("panicked"), "{}", ended.err);
}

fn encoded(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::new(width, height);
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .expect("a picture");
    bytes.into_inner()
}
