//! A running `facelatchd` on the sim board: its own process, its own data folder.

use std::cell::OnceCell;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use facelatch_host::client::{Client, Credentials, Pushed, Trial};
use facelatch_host::cmd::pair;
use facelatch_host::connect::Target;
use facelatch_host::home::Home;
use facelatch_protocol::{DisplayName, PairingCode, PublicKey, Role};

use crate::PATIENCE;
use crate::people::enrolled;
use crate::programs::{Ended, program, root};

/// A door as a process. Dropping it kills it.
pub struct Door {
    child: Child,
    /// Its log.
    lines: Receiver<String>,
    heard: Vec<String>,
    /// What it prints for people, such as its pairing code.
    said: Receiver<String>,
    address: SocketAddr,
    data: PathBuf,
    credentials: OnceCell<Credentials>,
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
        let mut args = command.get_args().skip_while(|arg| *arg != "--data");
        let data = args.nth(1).map(PathBuf::from);
        let data = data.expect("a door has a data folder");
        if !data.join("keys").exists() {
            // A door with a new data folder is another door.
            let _ = fs::remove_file(paired_file(&data));
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let lines = lines_of(child.stderr.take().expect("stderr is piped"));
        let said = lines_of(child.stdout.take().expect("stdout is piped"));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut door = Door {
            child,
            lines,
            heard: Vec::new(),
            said,
            address: nowhere,
            data,
            credentials: OnceCell::new(),
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

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
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

    /// A session with it, as the host that enrolled the people.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn client(&self) -> Client {
        Client::connect(&self.target(), self.credentials(), PATIENCE).expect("the door answers")
    }

    /// What a session takes. The first time, pairs the workspace with the enrolled people, as admin; a door that is started
    /// again on the same data is known from then on.
    ///
    /// # Panics
    /// If it cannot be paired with.
    pub fn credentials(&self) -> &Credentials {
        self.credentials.get_or_init(|| {
            let home = Home::new(&enrolled().home());
            let secret = home.keys().host().expect("a workspace");
            let known = fs::read_to_string(paired_file(&self.data)).ok();
            let door = known.as_deref().and_then(PublicKey::parse);
            let door = door.unwrap_or_else(|| self.pair(&home, Role::Admin));
            fs::write(paired_file(&self.data), door.to_string()).expect("a small file");
            Credentials { secret, door }
        })
    }

    /// Pushes a bundle and waits until it has proved itself, which takes frames to judge: see [`crate::watch`].
    ///
    /// # Panics
    /// If it does not.
    pub fn push_proven(&self, bundle: &Path) -> Pushed {
        let mut client = self.client();
        let pushed = client.push(bundle, |_, _| {}).expect("a good bundle");
        let trial = client.await_trial(pushed.id, PATIENCE, |_| {});
        assert_eq!(trial.expect("the door answers"), Trial::Confirmed);
        pushed
    }

    /// Pairs a workspace with the code the door shows; the door's key.
    ///
    /// # Panics
    /// If it shows none or refuses.
    pub fn pair(&self, home: &Home, role: Role) -> PublicKey {
        let name = DisplayName::parse("tests").expect("a name");
        let request = pair::request(home, name, role).expect("a workspace");
        let secret = home.keys().host().expect("a workspace");
        let line = Client::reach(&self.target(), PATIENCE).expect("the door listens");
        let code = self.pairing_code();
        let paired = Client::pair(line, "the door", &secret, &code, &request, PATIENCE);
        paired.expect("the door takes its code").1.door
    }

    /// The pairing code it prints.
    ///
    /// # Panics
    /// If the time is up.
    pub fn pairing_code(&self) -> PairingCode {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.said.recv_timeout(left).expect("a pairing code");
            if let Some(code) = line.strip_prefix("pairing code ") {
                return PairingCode::parse(code.trim()).expect("a code");
            }
        }
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
            out: self.said.iter().collect::<Vec<_>>().join("\n"),
            err: std::mem::take(&mut self.heard).join("\n"),
        }
    }
}

/// Beside the data folder: which door it is.
fn paired_file(data: &Path) -> PathBuf {
    data.with_extension("paired")
}

/// The lines of a stream, as they come.
pub fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Drop for Door {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
