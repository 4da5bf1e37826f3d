//! A running `facelatch serve`: its own process, spoken to over HTTP as any client would.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use serde_json::Value;
use ureq::Agent;
use ureq::http::{Response, StatusCode};

use crate::PATIENCE;
use crate::door::lines_of;
use crate::programs::{Ended, facelatch};

/// A server. Dropping it kills it.
pub struct Server {
    child: Child,
    /// Locked only to be shared between threads that upload.
    complaints: Mutex<Receiver<String>>,
    url: String,
    token: String,
    agent: Agent,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The content type, or nothing.
    pub media_type: String,
    /// Its other headers.
    pub headers: ureq::http::HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Server {
    /// Starts a server on a workspace, on a port the system chooses, with more arguments.
    ///
    /// # Panics
    /// If it does not say where it listens.
    pub fn start(home: &Path, args: &[&str]) -> Server {
        let mut child = facelatch(home)
            .args(["--json", "serve", "--listen", "127.0.0.1:0", "--new-token"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let said = lines_of(child.stdout.take().expect("standard output is piped"));
        let complaints = lines_of(child.stderr.take().expect("standard error is piped"));
        let Ok(line) = said.recv_timeout(PATIENCE) else {
            panic!(
                "it does not listen: {:?}",
                complaints.try_iter().collect::<Vec<_>>()
            );
        };
        let started: Value = serde_json::from_str(&line).expect("a JSON value");
        let text = |key: &str| started[key].as_str().expect("a text").to_owned();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build();
        Server {
            child,
            complaints: Mutex::new(complaints),
            url: text("url"),
            token: text("token"),
            agent: agent.into(),
        }
    }

    /// Where it is, such as `http://127.0.0.1:7118`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What clients show.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An address of it.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// A request with the token, and without a body.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn ask(&self, method: &str, path: &str) -> Answer {
        let token = format!("Bearer {}", self.token);
        self.ask_with(method, path, &[("authorization", &token)], &[])
    }

    /// A JSON body with the token.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let token = format!("Bearer {}", self.token);
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", "application/json"),
        ];
        self.ask_with(method, path, &headers, body.to_string().as_bytes())
    }

    /// Photos as a form, with the token.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn upload(&self, path: &str, photos: &[(&str, &[u8])]) -> Answer {
        let token = format!("Bearer {}", self.token);
        let (kind, body) = form(photos);
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", kind.as_str()),
        ];
        self.ask_with("POST", path, &headers, &body)
    }

    /// A request with exactly these headers.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn ask_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(self.at(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("a request");
        let answer = self.agent.run(request);
        read(answer.unwrap_or_else(|error| panic!("{method} {path}: {error}")))
    }

    /// Waits for a job's end; what came of it.
    ///
    /// # Panics
    /// If it does not end well.
    pub fn finished(&self, job: &Value) -> Value {
        let id = job["id"]
            .as_u64()
            .unwrap_or_else(|| panic!("no job: {job}"));
        // Its events end with it.
        let events = self.ask("GET", &format!("/api/v1/jobs/{id}/events")).text();
        assert!(events.contains("event: done"), "{events}");
        self.ask("GET", &format!("/api/v1/jobs/{id}")).json()["result"].clone()
    }

    /// Asks it to stop, as the system's service manager does, and waits for its end.
    ///
    /// # Panics
    /// If the time is up.
    pub fn stop(mut self) -> Ended {
        let told = std::process::Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(told.success());
        let deadline = Instant::now() + PATIENCE;
        let mut err = Vec::new();
        let complaints = self
            .complaints
            .get_mut()
            .expect("no thread panicked with it");
        loop {
            match complaints.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => err.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("still running:\n{}", err.join("\n")),
            }
        }
        let status = self.child.wait().expect("it was started");
        Ended {
            code: status.code(),
            out: String::new(),
            err: err.join("\n"),
        }
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}: no JSON: {}", self.status, self.text()))
    }

    /// The body as JSON of an answer with this status.
    ///
    /// # Panics
    /// If the status is another.
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self.json()
    }
}

/// Photos as `multipart/form-data`: content type and body.
pub fn form(photos: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    const BOUNDARY: &str = "----facelatch-test-boundary";
    let mut body = Vec::new();
    for (file, bytes) in photos {
        let mut part = String::new();
        // Writing to a string does not fail.
        let _ = write!(
            part,
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"{file}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(part.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={BOUNDARY}"), body)
}

fn read(mut answer: Response<ureq::Body>) -> Answer {
    let body = answer
        .body_mut()
        .with_config()
        .limit(64 << 20)
        .read_to_vec();
    let media_type = answer
        .headers()
        .get("content-type")
        .and_then(|value| value.to_str().ok());
    Answer {
        status: answer.status(),
        media_type: media_type.unwrap_or_default().to_owned(),
        headers: answer.headers().clone(),
        body: body.expect("an answer that ends"),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
