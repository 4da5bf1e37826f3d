//! The host against a door, over real sockets and pseudo-terminals: sessions, pushes, and the program's verbs. The door is
//! a fake one, so that it can misbehave; whole flows with the real one are in the workspace's `tests`.

mod audit;
mod fake_door;
mod policy;
mod pushes;
mod sessions;
mod verbs;

use std::time::Duration;

use facelatch_host::{
    client::{Client, Credentials, Error},
    connect::Target,
    keys::{HostSecret, Keys},
};
use facelatch_protocol::Role;

use self::fake_door::FakeDoor;

/// Longer than anything here takes, unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// A host that doors can know.
struct Us {
    keys: Keys,
    _folder: tempfile::TempDir,
}

impl Us {
    fn new() -> Us {
        let folder = tempfile::tempdir().unwrap();
        Us {
            keys: Keys::new(folder.path().join("keys")),
            _folder: folder,
        }
    }

    fn secret(&self) -> HostSecret {
        self.keys.host().unwrap()
    }

    /// Has a door know this host and its signing keys.
    fn known_to(&self, door: &FakeDoor) -> Credentials {
        door.knows(self.secret().public(), Role::Admin);
        door.state().keys = Some(self.keys.trusted().unwrap());
        Credentials {
            secret: self.secret(),
            door: door.key(),
        }
    }

    fn try_reach(&self, door: &FakeDoor, target: &Target) -> Result<Client, Error> {
        Client::connect(target, &self.known_to(door), PATIENCE)
    }

    fn reach(&self, door: &FakeDoor, target: &Target) -> Client {
        self.try_reach(door, target).unwrap()
    }
}
