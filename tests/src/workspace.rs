//! A workspace of the real `facelatch`, and its verbs run to their ends as an operator runs them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use facelatch_host::home::Home;
use serde_json::Value;

use crate::PATIENCE;
use crate::door::lines_of;
use crate::people::enrolled;
use crate::programs::{Ended, facelatch, run};

/// A folder that `facelatch` works in.
#[derive(Debug)]
pub struct Workspace {
    folder: PathBuf,
}

impl Workspace {
    /// One in which nothing was done yet.
    pub fn new(folder: &Path) -> Workspace {
        Workspace {
            folder: folder.to_path_buf(),
        }
    }

    /// One with the demo's two people, enrolled and trained, which no other test changes.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn enrolled(folder: &Path) -> Workspace {
        copy(&enrolled().home(), folder);
        Workspace::new(folder)
    }

    /// The same, as the host's own code sees it.
    pub fn home(&self) -> Home {
        Home::new(&self.folder)
    }

    /// Runs a verb.
    pub fn run(&self, args: &[&str]) -> Ended {
        run(facelatch(&self.folder).args(args))
    }

    /// Runs a verb that has to succeed; what it reports as JSON, one value a line.
    ///
    /// # Panics
    /// If it does not end with 0, or reports something else.
    pub fn lines(&self, args: &[&str]) -> Vec<Value> {
        let ended = run(facelatch(&self.folder).arg("--json").args(args));
        assert_eq!(ended.code, Some(0), "{args:?}: {}{}", ended.out, ended.err);
        let value = |line| serde_json::from_str(line).expect("a JSON value a line");
        ended.out.lines().map(value).collect()
    }

    /// Runs a verb that has to succeed and reports one thing.
    ///
    /// # Panics
    /// As [`Workspace::lines`].
    pub fn done(&self, args: &[&str]) -> Value {
        let mut lines = self.lines(args);
        assert_eq!(lines.len(), 1, "{args:?}: {lines:?}");
        lines.remove(0)
    }

    /// Runs a verb that must not succeed.
    ///
    /// # Panics
    /// If it ends with another code, or does not say all of `says`.
    pub fn refused(&self, args: &[&str], code: i32, says: &[&str]) {
        let ended = self.run(args);
        assert_eq!(
            ended.code,
            Some(code),
            "{args:?}: {}{}",
            ended.out,
            ended.err
        );
        for part in says {
            assert!(
                ended.err.contains(part),
                "{args:?}: no {part:?} in {}",
                ended.err
            );
        }
    }

    /// Runs a verb that reads a line from standard input.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn told(&self, args: &[&str], line: &str) -> Ended {
        let mut child = facelatch(&self.folder)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("standard input is piped");
        writeln!(stdin, "{line}").expect("it listens");
        drop(stdin);
        child.wait_with_output().expect("it was started").into()
    }

    /// Follows a door's events, from the first one it kept.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn follow(&self, to: &str) -> Follower {
        let mut child = facelatch(&self.folder)
            .args(["--json", "events", "--follow", "--from", "1", "--to", to])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = lines_of(child.stdout.take().expect("standard output is piped"));
        let complaints = lines_of(child.stderr.take().expect("standard error is piped"));
        Follower {
            child,
            lines,
            complaints,
        }
    }
}

/// `facelatch events --follow`, running. Dropping it ends it.
pub struct Follower {
    child: Child,
    lines: Receiver<String>,
    complaints: Receiver<String>,
}

impl Follower {
    /// Waits for an event.
    ///
    /// # Panics
    /// If it does not come in time.
    pub fn wait_for(&self, what: &str, mut is_it: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no {what} in:\n{}", seen.join("\n"))
            };
            let event = serde_json::from_str(&line).expect("a JSON value a line");
            if is_it(&event) {
                return event;
            }
            seen.push(line);
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If the time is up.
    pub fn ended(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let mut out = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => out.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("still running:\n{}", out.join("\n")),
            }
        }
        let status = self.child.wait().expect("it was started");
        Ended {
            code: status.code(),
            out: out.join("\n"),
            err: self.complaints.iter().collect::<Vec<_>>().join("\n"),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a new folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}
