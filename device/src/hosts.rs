//! Who may talk to this door: paired hosts with their roles, the pairing window with its code, the keys that sign bundles.
//!
//! Shared by the link's sessions (who is this, which code is open), the loop (changes, which it also puts on record) and
//! `swap` (whose bundles are taken): behind a lock that is held for a look-up or for writing one small file. What a role
//! may ask for is in `link`; the handshakes are in `facelatch_protocol::session`.
//!
//! ```text
//! keys/hosts, keys/hosts.copy     sealed with the device's sealing key: postcard(Stored); the first that is whole counts
//! ```

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use facelatch_protocol::{
    DisplayName, Host, HostsPage, PairingCode, PublicKey, Role, TrustedKeys, session,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    seal::{self, Key, replace_private},
    store::signature,
};

/// Most paired hosts.
pub const MAX_HOSTS: usize = 64;
/// Wrong codes that close a pairing window.
pub const TRIES: u8 = 3;

const FORMAT: u16 = 1;
const FILES: [&str; 2] = ["hosts", "hosts.copy"];
const PURPOSE: &str = "facelatch hosts 1";

/// Why pairing, revoking or a change of keys was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No window is open, or it was opened anew meanwhile.
    #[error("no pairing window is open")]
    Closed,
    /// No room for another host.
    #[error("at most {MAX_HOSTS} hosts can be paired: revoke one")]
    TooMany,
    /// Not paired.
    #[error("no such host is paired")]
    Unknown,
    /// Nobody could ever pair or push again.
    #[error("the last admin cannot be revoked: pair another one first")]
    LastAdmin,
    /// Not newer, or not signed by a trusted key.
    #[error("the new signing keys are not newer, or no trusted key signed them")]
    Keys,
}

/// Paired hosts, pairing window, signing keys.
#[derive(Debug)]
pub struct Hosts {
    folder: PathBuf,
    sealing: Key,
    link: Key,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    hosts: BTreeMap<PublicKey, Host>,
    trusted: Option<TrustedKeys>,
    window: Option<Window>,
}

/// An open pairing window.
#[derive(Debug, Clone)]
pub struct Window {
    /// The code to be typed at the host.
    pub code: PairingCode,
    /// The highest role it gives.
    pub role: Role,
    /// When it closes by itself.
    pub closes: Instant,
    tries_left: u8,
}

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u16,
    hosts: Vec<Host>,
    trusted: Option<TrustedKeys>,
}

impl Hosts {
    /// Opens the file in `folder`; without one nobody is paired.
    ///
    /// # Errors
    /// [`Error::KeysDamaged`] if a file is there and neither copy is whole, [`Error::Storage`].
    pub fn open(folder: &Path, keys: &seal::DeviceKeys) -> Result<Hosts, Error> {
        let mut hosts = Hosts {
            folder: folder.to_owned(),
            sealing: keys.sealing.derive(PURPOSE),
            link: keys.link.clone(),
            state: Mutex::default(),
        };
        let mut damaged: Option<PathBuf> = None;
        for name in FILES {
            let path = folder.join(name);
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => {
                    log::error!("cannot read {}: {e}", path.display());
                    damaged = Some(path);
                    continue;
                }
            };
            if let Some(state) = hosts.parse(&bytes) {
                if let Some(other) = damaged.take() {
                    log::error!("{} was damaged; its copy is used", other.display());
                }
                hosts.state = Mutex::new(state);
                hosts.make_alike(&bytes);
                return Ok(hosts);
            }
            damaged = Some(path);
        }
        match damaged {
            None => Ok(hosts),
            Some(path) => Err(Error::KeysDamaged {
                path,
                why: "its bytes were changed or cut",
            }),
        }
    }

    /// Writes what is damaged, gone or older than the copy in use, as a power cut between the two leaves it: a host that was
    /// revoked must not come back with an old copy.
    fn make_alike(&self, sealed: &[u8]) {
        for path in FILES.map(|name| self.folder.join(name)) {
            if fs::read(&path).is_ok_and(|bytes| bytes == sealed) {
                continue;
            }
            if let Err(error) = replace_private(&path, sealed) {
                log::error!("cannot write {}: {error}", path.display());
            }
        }
    }

    /// Whether anybody was ever paired here.
    #[must_use]
    pub fn exist(folder: &Path) -> bool {
        FILES.iter().any(|name| folder.join(name).exists())
    }

    /// The device's static secret for handshakes.
    #[must_use]
    pub fn own_secret(&self) -> &[u8; 32] {
        self.link.bytes()
    }

    /// The device's public key.
    #[must_use]
    pub fn own_key(&self) -> PublicKey {
        session::public_key(self.link.bytes())
    }

    /// A host's role; `None` if it is not paired.
    #[must_use]
    pub fn role(&self, host: &PublicKey) -> Option<Role> {
        self.lock().hosts.get(host).map(|host| host.role)
    }

    /// A host's name, as it said when it paired; `None` if it is not paired.
    #[must_use]
    pub fn name(&self, host: &PublicKey) -> Option<DisplayName> {
        self.lock().hosts.get(host).map(|host| host.name.clone())
    }

    /// Whether anybody can administer this door.
    #[must_use]
    pub fn has_admin(&self) -> bool {
        has_admin(&self.lock().hosts)
    }

    /// The keys that sign bundles; `None` until an admin has paired.
    #[must_use]
    pub fn trusted(&self) -> Option<TrustedKeys> {
        self.lock().trusted
    }

    /// Paired hosts by key, after `after`.
    #[must_use]
    pub fn page(&self, after: Option<&PublicKey>) -> HostsPage {
        let state = self.lock();
        let rest = state.hosts.iter();
        let rest = rest.filter(|(key, _)| after.is_none_or(|after| *key > after));
        HostsPage {
            hosts: rest
                .map(|(_, host)| host.clone())
                .take(facelatch_protocol::HOSTS_PER_PAGE)
                .collect(),
        }
    }

    /// Opens the pairing window, closing one that is open.
    ///
    /// # Errors
    /// [`Error::Bug`] without randomness.
    pub fn open_window(&self, role: Role, now: Instant, lasts: Duration) -> Result<Window, Error> {
        let mut random = [0; 10];
        seal::fill(&mut random)?;
        let window = Window {
            code: PairingCode::new(random),
            role,
            closes: now + lasts,
            tries_left: TRIES,
        };
        self.lock().window = Some(window.clone());
        Ok(window)
    }

    /// Closes the pairing window; true if it was open.
    pub fn close_window(&self) -> bool {
        self.lock().window.take().is_some()
    }

    /// The open pairing window.
    #[must_use]
    pub fn window(&self, now: Instant) -> Option<Window> {
        let mut state = self.lock();
        state.window.take_if(|window| now >= window.closes);
        state.window.clone()
    }

    /// Counts a wrong code against the open window; returns how many more it takes. The last one closes it.
    pub fn wrong_code(&self) -> u8 {
        let mut state = self.lock();
        let Some(window) = &mut state.window else {
            return 0;
        };
        window.tries_left -= 1;
        let left = window.tries_left;
        if left == 0 {
            state.window = None;
        }
        left
    }

    /// Remembers a host that has shown that it knows the open window's code, which is used up by that. The first admin
    /// brings the keys that sign bundles. Returns the role given: at most the one asked for and the window's.
    ///
    /// # Errors
    /// [`Error::Hosts`], [`Error::Storage`].
    pub fn pair(&self, pairing: &Pairing, unix_ms: u64, now: Instant) -> Result<Role, Error> {
        let mut state = self.lock();
        let window = state.window.as_ref();
        let window = window.filter(|w| w.code == pairing.code && now < w.closes);
        let role = window.ok_or(Refused::Closed)?.role.min(pairing.role);
        if state.hosts.len() >= MAX_HOSTS && !state.hosts.contains_key(&pairing.host) {
            return Err(Refused::TooMany.into());
        }
        let mut hosts = state.hosts.clone();
        hosts.insert(
            pairing.host,
            Host {
                key: pairing.host,
                name: pairing.name.clone(),
                role,
                paired_unix_ms: unix_ms,
            },
        );
        if has_admin(&state.hosts) && !has_admin(&hosts) {
            return Err(Refused::LastAdmin.into());
        }
        let brought = pairing.keys.filter(|_| role == Role::Admin);
        let trusted = state.trusted.or(brought);
        self.write(&hosts, trusted)?;
        *state = State {
            hosts,
            trusted,
            window: None,
        };
        Ok(role)
    }

    /// Forgets a host.
    ///
    /// # Errors
    /// [`Error::Hosts`], [`Error::Storage`].
    pub fn revoke(&self, host: &PublicKey) -> Result<(), Error> {
        let mut state = self.lock();
        let mut hosts = state.hosts.clone();
        hosts.remove(host).ok_or(Refused::Unknown)?;
        if !has_admin(&hosts) {
            return Err(Refused::LastAdmin.into());
        }
        self.write(&hosts, state.trusted)?;
        state.hosts = hosts;
        Ok(())
    }

    /// Replaces the keys that sign bundles: newer ones, named by one of the old. The ones it has already are taken again,
    /// for a host that has lost the answer; others of the same serial never.
    ///
    /// # Errors
    /// [`Error::Hosts`], [`Error::Storage`].
    pub fn replace_keys(&self, keys: TrustedKeys, signature: &[u8]) -> Result<(), Error> {
        let mut state = self.lock();
        let old = state.trusted.ok_or(Refused::Keys)?;
        if keys == old {
            return Ok(());
        }
        let text = std::str::from_utf8(signature).map_err(|_| Refused::Keys)?;
        if keys.serial <= old.serial {
            return Err(Refused::Keys.into());
        }
        signature::check(keys.statement().as_bytes(), text, Some(&old))
            .map_err(|_| Refused::Keys)?;
        self.write(&state.hosts, Some(keys))?;
        state.trusted = Some(keys);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is made whole before it is put in place.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parse(&self, bytes: &[u8]) -> Option<State> {
        let plain = self.sealing.open(PURPOSE.as_bytes(), bytes)?;
        let (stored, []) = postcard::take_from_bytes::<Stored>(&plain).ok()? else {
            return None;
        };
        (stored.format == FORMAT).then(|| State {
            hosts: stored.hosts.into_iter().map(|h| (h.key, h)).collect(),
            trusted: stored.trusted,
            window: None,
        })
    }

    fn write(
        &self,
        hosts: &BTreeMap<PublicKey, Host>,
        trusted: Option<TrustedKeys>,
    ) -> Result<(), Error> {
        let stored = Stored {
            format: FORMAT,
            hosts: hosts.values().cloned().collect(),
            trusted,
        };
        let plain =
            postcard::to_allocvec(&stored).map_err(|e| Error::Bug(format!("hosts: {e}")))?;
        let sealed = self.sealing.seal(PURPOSE.as_bytes(), &plain)?;
        let first = self.folder.join(FILES[0]);
        replace_private(&first, &sealed).map_err(Error::storage("write", &first))?;
        // What the first says is so. A copy that cannot be written now is by the next change, or at the next start.
        self.make_alike(&sealed);
        Ok(())
    }
}

fn has_admin(hosts: &BTreeMap<PublicKey, Host>) -> bool {
    hosts.values().any(|host| host.role == Role::Admin)
}

/// A host that has shown that it knows a code.
#[derive(Debug, Clone)]
pub struct Pairing {
    /// Its key.
    pub host: PublicKey,
    /// Its name.
    pub name: DisplayName,
    /// The role it wants.
    pub role: Role,
    /// An admin's: the keys to trust, if there are none yet.
    pub keys: Option<TrustedKeys>,
    /// The code it knew.
    pub code: PairingCode,
}

#[cfg(test)]
mod tests {
    use facelatch_protocol::SigningKey;
    use tempfile::TempDir;

    use super::*;

    const LASTS: Duration = Duration::from_secs(600);

    fn open(dir: &TempDir) -> Result<Hosts, Error> {
        let keys = seal::DeviceKeys::open(dir.path(), true).unwrap();
        Hosts::open(dir.path(), &keys)
    }

    fn pairing(host: u8, role: Role, code: &PairingCode) -> Pairing {
        Pairing {
            host: PublicKey([host; 32]),
            name: DisplayName::parse("laptop").unwrap(),
            role,
            keys: None,
            code: code.clone(),
        }
    }

    fn paired(hosts: &Hosts, host: u8, role: Role) -> Result<Role, Error> {
        let now = Instant::now();
        let code = hosts.open_window(Role::Admin, now, LASTS).unwrap().code;
        hosts.pair(&pairing(host, role, &code), 5, now)
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> Refused {
        match result {
            Err(Error::Hosts(refused)) => refused,
            other => panic!("{other:?}"),
        }
    }

    fn keys(serial: u64, number: u8) -> TrustedKeys {
        let key = SigningKey {
            number: [number; 8],
            key: [number; 32],
        };
        TrustedKeys {
            serial,
            keys: [key, key],
        }
    }

    #[test]
    fn a_code_pairs_one_host_with_at_most_the_windows_role_and_is_kept() {
        let dir = TempDir::new().unwrap();
        let hosts = open(&dir).unwrap();
        let now = Instant::now();
        assert!(hosts.window(now).is_none() && !hosts.has_admin());
        let window = hosts.open_window(Role::Operator, now, LASTS).unwrap();
        let wants = pairing(1, Role::Admin, &window.code);
        assert_eq!(hosts.pair(&wants, 5, now).unwrap(), Role::Operator);
        assert_eq!(refused(hosts.pair(&wants, 5, now)), Refused::Closed);
        assert!(hosts.window(now).is_none(), "used up");
        assert_eq!(paired(&hosts, 2, Role::Admin).unwrap(), Role::Admin);

        let again = open(&dir).unwrap();
        assert_eq!(again.role(&PublicKey([1; 32])), Some(Role::Operator));
        assert_eq!(again.role(&PublicKey([2; 32])), Some(Role::Admin));
        assert_eq!(again.role(&PublicKey([3; 32])), None);
        assert_eq!(again.page(None).hosts.len(), 2);
        assert_eq!(again.page(Some(&PublicKey([1; 32]))).hosts.len(), 1);
    }

    #[test]
    fn a_window_closes_by_time_and_by_wrong_codes() {
        let dir = TempDir::new().unwrap();
        let hosts = open(&dir).unwrap();
        let now = Instant::now();
        let window = hosts.open_window(Role::Admin, now, LASTS).unwrap();
        assert!(
            hosts
                .window(now + LASTS - Duration::from_millis(1))
                .is_some()
        );
        let late = hosts.pair(&pairing(1, Role::Admin, &window.code), 5, now + LASTS);
        assert_eq!(refused(late), Refused::Closed);
        assert!(hosts.window(now + LASTS).is_none());

        let first = hosts.open_window(Role::Admin, now, LASTS).unwrap();
        let second = hosts.open_window(Role::Admin, now, LASTS).unwrap();
        assert_ne!(first.code, second.code);
        let old = hosts.pair(&pairing(1, Role::Admin, &first.code), 5, now);
        assert_eq!(refused(old), Refused::Closed, "an older window's code");
        assert_eq!([hosts.wrong_code(), hosts.wrong_code()], [2, 1]);
        assert!(hosts.window(now).is_some());
        assert_eq!([hosts.wrong_code(), hosts.wrong_code()], [0, 0]);
        assert!(hosts.window(now).is_none());
        assert!(hosts.role(&PublicKey([1; 32])).is_none());
    }

    #[test]
    fn the_last_admin_stays_and_others_go() {
        let dir = TempDir::new().unwrap();
        let hosts = open(&dir).unwrap();
        paired(&hosts, 1, Role::Admin).unwrap();
        paired(&hosts, 2, Role::Operator).unwrap();
        let [admin, operator] = [PublicKey([1; 32]), PublicKey([2; 32])];
        assert_eq!(refused(hosts.revoke(&admin)), Refused::LastAdmin);
        hosts.revoke(&operator).unwrap();
        assert_eq!(refused(hosts.revoke(&operator)), Refused::Unknown);
        paired(&hosts, 3, Role::Admin).unwrap();
        hosts.revoke(&admin).unwrap();
        assert_eq!(open(&dir).unwrap().role(&admin), None);
    }

    #[test]
    fn only_the_first_admin_brings_keys_and_there_is_an_end_to_hosts() {
        let dir = TempDir::new().unwrap();
        let hosts = open(&dir).unwrap();
        let now = Instant::now();
        let bring = |host, role, keys| {
            let code = hosts.open_window(Role::Admin, now, LASTS).unwrap().code;
            let keys = Some(keys);
            let wants = Pairing {
                keys,
                ..pairing(host, role, &code)
            };
            hosts.pair(&wants, 5, now).unwrap();
            hosts.trusted()
        };
        assert_eq!(bring(1, Role::Operator, keys(1, 9)), None);
        assert_eq!(bring(2, Role::Admin, keys(1, 8)), Some(keys(1, 8)));
        assert_eq!(bring(3, Role::Admin, keys(2, 7)), Some(keys(1, 8)));
        assert_eq!(open(&dir).unwrap().trusted(), Some(keys(1, 8)));
        for host in 4..=MAX_HOSTS as u8 {
            paired(&hosts, host, Role::Operator).unwrap();
        }
        assert_eq!(refused(paired(&hosts, 200, Role::Admin)), Refused::TooMany);
        assert_eq!(paired(&hosts, 9, Role::Admin).unwrap(), Role::Admin);
    }

    #[test]
    fn keys_are_replaced_only_by_newer_ones_that_a_trusted_key_signed() {
        let dir = TempDir::new().unwrap();
        let hosts = open(&dir).unwrap();
        let pairs: Vec<minisign::KeyPair> = (0..3)
            .map(|_| minisign::KeyPair::generate_unencrypted_keypair().unwrap())
            .collect();
        let public = |i: usize| SigningKey::parse(&pairs[i].pk.to_base64()).unwrap();
        let signed = |by: usize, keys: &TrustedKeys| {
            let statement = keys.statement();
            minisign::sign(None, &pairs[by].sk, statement.as_bytes(), None, None)
                .unwrap()
                .into_string()
        };
        let trusted = |serial, a, b| TrustedKeys {
            serial,
            keys: [public(a), public(b)],
        };
        let next = trusted(2, 1, 2);
        let none_yet = hosts.replace_keys(next, signed(1, &next).as_bytes());
        assert_eq!(refused(none_yet), Refused::Keys);

        let now = Instant::now();
        let code = hosts.open_window(Role::Admin, now, LASTS).unwrap().code;
        let first = Pairing {
            keys: Some(trusted(1, 0, 1)),
            ..pairing(1, Role::Admin, &code)
        };
        hosts.pair(&first, 5, now).unwrap();
        let cases = [
            ("a stranger's signature", next, signed(2, &next)),
            ("no signature", next, String::new()),
            ("another statement", next, signed(1, &trusted(3, 1, 2))),
            ("not newer", trusted(1, 1, 2), signed(1, &trusted(1, 1, 2))),
        ];
        for (what, keys, signature) in cases {
            let got = hosts.replace_keys(keys, signature.as_bytes());
            assert_eq!(refused(got), Refused::Keys, "{what}");
        }
        // The first key is lost: the second names its successor.
        hosts
            .replace_keys(next, signed(1, &next).as_bytes())
            .unwrap();
        assert_eq!(open(&dir).unwrap().trusted(), Some(next));
        hosts.replace_keys(next, b"").expect("the ones it has");
        let of_one_serial = trusted(2, 0, 2);
        let other = hosts.replace_keys(of_one_serial, signed(2, &of_one_serial).as_bytes());
        assert_eq!(refused(other), Refused::Keys);
    }

    #[test]
    fn a_damaged_file_is_read_from_its_copy_and_two_are_an_error() {
        let dir = TempDir::new().unwrap();
        paired(&open(&dir).unwrap(), 1, Role::Admin).unwrap();
        let [file, copy] = FILES.map(|name| dir.path().join(name));
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 4;
            for bytes in [&changed[..], &whole[..at]] {
                fs::write(&file, bytes).unwrap();
                assert!(open(&dir).unwrap().has_admin(), "byte {at}");
                assert_eq!(fs::read(&file).unwrap(), whole, "mended from its copy");
                for path in [&file, &copy] {
                    fs::write(path, bytes).unwrap();
                }
                let both = open(&dir).map(|_| ());
                assert!(matches!(both, Err(Error::KeysDamaged { .. })), "byte {at}");
                fs::write(&copy, &whole).unwrap();
            }
        }
        fs::remove_file(&file).unwrap();
        assert!(open(&dir).unwrap().has_admin());
    }

    #[test]
    fn a_copy_that_a_power_cut_left_old_does_not_bring_a_revoked_host_back() {
        let dir = TempDir::new().unwrap();
        let hosts = open(&dir).unwrap();
        paired(&hosts, 1, Role::Admin).unwrap();
        paired(&hosts, 2, Role::Operator).unwrap();
        let [file, copy] = FILES.map(|name| dir.path().join(name));
        let old = fs::read(&copy).unwrap();
        hosts.revoke(&PublicKey([2; 32])).unwrap();
        fs::write(&copy, old).unwrap();
        open(&dir).unwrap();
        fs::write(&file, "").unwrap();
        assert_eq!(open(&dir).unwrap().role(&PublicKey([2; 32])), None);
    }

    #[test]
    fn the_last_admin_does_not_pair_themselves_away() {
        let dir = TempDir::new().unwrap();
        let hosts = open(&dir).unwrap();
        paired(&hosts, 1, Role::Admin).unwrap();
        assert_eq!(
            refused(paired(&hosts, 1, Role::Operator)),
            Refused::LastAdmin
        );
        paired(&hosts, 2, Role::Admin).unwrap();
        assert_eq!(paired(&hosts, 1, Role::Operator).unwrap(), Role::Operator);
    }
}
