//! The token clients show: made at the first start, shown once, kept as its digest; and the console's sessions.
//!
//! ```text
//! HOME/keys/serve     SHA-256 of the token, sealed, readable by its owner only
//! ```
//!
//! A token is 32 random bytes, so its plain digest gives nothing away. Sessions live in memory: a restart ends them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use data_encoding::BASE32_NOPAD;
use subtle::ConstantTimeEq;

use crate::{Error, embed::sha256, home::Home, sealed};

const TAG: [u8; 4] = *b"srv1";
const REMEDY: &str = "start with --new-token";
const FILE: &str = "serve";
/// How long a session lasts after its last request.
const SESSION_IDLE: Duration = Duration::from_secs(12 * 3600);
/// Sessions at a time; the one used longest ago makes room.
const SESSIONS: usize = 64;

/// What is kept of the token.
#[derive(Clone)]
pub struct Token {
    digest: [u8; 32],
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// The workspace's token; one made just now comes with its text, to be shown once.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Storage`]; [`Error::Bug`] if the system gives no randomness.
    pub fn of(home: &Home, renew: bool) -> Result<(Token, Option<String>), Error> {
        let path = home.dir().join("keys").join(FILE);
        if !renew && let Some(digest) = sealed::read::<[u8; 32]>(&path, TAG, REMEDY)? {
            return Ok((Token { digest }, None));
        }
        let text = secret_text()?;
        let digest = sha256(text.as_bytes());
        sealed::private_dir(&home.dir().join("keys"))?;
        sealed::write_atomic(&path, &sealed::seal(TAG, &digest)?)?;
        Ok((Token { digest }, Some(text)))
    }

    /// Whether this is the token; takes the same time for every wrong one.
    #[must_use]
    pub(super) fn is(&self, text: &str) -> bool {
        sha256(text.as_bytes()).ct_eq(&self.digest).into()
    }
}

/// The console's sessions: digests of their secrets, and when each was used last.
#[derive(Default)]
pub(super) struct Sessions {
    open: Mutex<BTreeMap<[u8; 32], Instant>>,
}

impl Sessions {
    /// A new session's secret.
    pub(super) fn open(&self, now: Instant) -> Result<String, Error> {
        let text = secret_text()?;
        let mut open = self.lock();
        open.retain(|_, used| now.saturating_duration_since(*used) < SESSION_IDLE);
        if open.len() >= SESSIONS
            && let Some(oldest) = open
                .iter()
                .min_by_key(|(_, used)| **used)
                .map(|(key, _)| *key)
        {
            open.remove(&oldest);
        }
        open.insert(sha256(text.as_bytes()), now);
        Ok(text)
    }

    /// Whether the session is open; it is used then. Looked up by digest, so that time tells nothing of the secret.
    pub(super) fn is_open(&self, text: &str, now: Instant) -> bool {
        match self.lock().get_mut(&sha256(text.as_bytes())) {
            Some(used) if now.saturating_duration_since(*used) < SESSION_IDLE => {
                *used = now;
                true
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn close(&self, text: &str) {
        self.lock().remove(&sha256(text.as_bytes()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<[u8; 32], Instant>> {
        // Every change is one call: a panic elsewhere left it whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 32 random bytes as text.
fn secret_text() -> Result<String, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Error::Bug(format!("no randomness: {error}")))?;
    Ok(format!(
        "fl-{}",
        BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_once_and_known_again() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let home = Home::new(dir.path());
        let (first, text) = Token::of(&home, false).expect("writable");
        let text = text.expect("new");
        let (again, shown) = Token::of(&home, false).expect("readable");
        assert_eq!(shown, None);
        for token in [first, again.clone()] {
            assert!(token.is(&text));
            assert!(!token.is(&text[1..]) && !token.is("") && !token.is(&format!("{text} ")));
        }
        let (renewed, other) = Token::of(&home, true).expect("writable");
        assert!(renewed.is(&other.expect("new")) && !renewed.is(&text));
        let kept = std::fs::read(dir.path().join("keys/serve")).expect("written");
        let secret = text.as_bytes();
        assert!(!kept.windows(secret.len()).any(|window| window == secret));
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(dir.path().join("keys/serve"))
            .expect("there")
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn sessions_end_when_unused_and_make_room() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let first = sessions.open(start).expect("random");
        assert!(sessions.is_open(&first, start + SESSION_IDLE / 2));
        assert!(
            sessions.is_open(&first, start + SESSION_IDLE),
            "used in between"
        );
        assert!(!sessions.is_open(&first, start + SESSION_IDLE * 3));
        assert!(!sessions.is_open("x", start));
        let fresh = sessions.open(start).expect("random");
        for n in 0..SESSIONS as u32 {
            sessions
                .open(start + Duration::from_secs(1 + u64::from(n)))
                .expect("random");
        }
        assert!(!sessions.is_open(&fresh, start), "the oldest made room");
        let last = sessions.open(start).expect("random");
        sessions.close(&last);
        assert!(!sessions.is_open(&last, start));
    }
}
