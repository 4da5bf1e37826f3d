//! A running `facelatchd` on the sim board: its own process, its own data folder.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use facelatch_host::client::Client;
use facelatch_host::connect::Target;

use crate::PATIENCE;
use crate::programs::{Ended, program, root};

/// A door as a process. Dropping it kills it.
pub struct Door {
    child: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
    address: SocketAddr,
}

/// `facelatchd` with its data in `data`, listening on a port the system chooses, ready for more arguments.
pub fn facelatchd(data: &Path) -> Command {
    let mut command = Command::new(program("facelatchd"));
    command
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .current_dir(root());
    command.env("RUST_LOG", "info");
    command
}

impl Door {
    /// Starts a door and waits until it listens.
    ///
    /// # Panics
    /// If it ends or stays silent instead.
    pub fn start(command: &mut Command) -> Door {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let stderr = child.stderr.take().expect("stderr is piped");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut door = Door {
            child,
            lines,
            heard: Vec::new(),
            address: nowhere,
        };
        let line = door.wait_for("listening on ");
        let address = line
            .rsplit("listening on ")
            .next()
            .and_then(|a| a.trim().parse().ok());
        door.address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        door
    }

    /// Waits for a line of the log that contains `text`.
    ///
    /// # Panics
    /// If the door ends first or the time is up.
    pub fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    self.heard.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(why @ (RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) => {
                    panic!("no {text:?} ({why}) in:\n{}", self.heard.join("\n"))
                }
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as the host names it.
    pub fn target(&self) -> Target {
        self.address
            .to_string()
            .parse()
            .expect("an address is a target")
    }

    /// A session with it.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn client(&self) -> Client {
        Client::connect(&self.target(), PATIENCE).expect("the door answers")
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it was started");
    }

    /// Asks it to stop, as the system's service manager does.
    pub fn stop(self) -> Ended {
        let pid = self.child.id().to_string();
        let told = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill runs");
        assert!(told.success());
        self.ended()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If the time is up.
    pub fn ended(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        // Its log ends when the process does.
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.heard.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("still running:\n{}", self.heard.join("\n"))
                }
            }
        }
        let status = self.child.wait().expect("it was started");
        Ended {
            code: status.code(),
            out: String::new(),
            err: std::mem::take(&mut self.heard).join("\n"),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
