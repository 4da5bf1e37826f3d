//! The pairing window of the running door: opened at the first start, by holding the button, or by an admin; shown on
//! standard output with its code as text and as a QR code, and put on record.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use facelatch_boards::Pattern;
use facelatch_protocol::Role;
use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};

use super::Running;
use crate::{audit::What, error::Error, hosts::Window};

impl Running {
    /// Opens the window, closing one that is open, and shows its code.
    pub(crate) fn open_pairing(&mut self, role: Role) -> Result<Window, Error> {
        let lasts = Duration::from_millis(self.config.pairing.window_ms);
        let window = self.hosts.open_window(role, Instant::now(), lasts)?;
        log::info!("pairing window open for {} s, for {role}s", lasts.as_secs());
        if self.show_codes {
            let notice = notice(&window.code.to_string(), lasts);
            // A door goes on when nobody reads what it prints.
            if let Err(error) = writeln!(io::stdout(), "{notice}") {
                log::warn!("the pairing code could not be printed: {error}");
            }
        }
        self.noted(What::PairingOpened { role })?;
        Ok(window)
    }

    /// A door without an admin waits for its first one.
    pub(crate) fn first_pairing(&mut self) -> Result<(), Error> {
        match self.hosts.has_admin() {
            true => Ok(()),
            false => self.open_pairing(Role::Admin).map(|_| ()),
        }
    }

    pub(super) fn pairing_by_button(&mut self) {
        match self.open_pairing(Role::Admin) {
            Ok(_) => self.show(Pattern::Enrolling),
            Err(error) => {
                log::error!("pairing: {error}");
                self.storage_failed(&error);
            }
        }
    }

    /// Puts something on record.
    pub(crate) fn noted(&mut self, what: What) -> Result<(), Error> {
        let now = self.unix_ms();
        self.events.record(now, what)
    }
}

/// What whoever stands at the device reads.
fn notice(code: &str, lasts: Duration) -> String {
    let picture = QrCode::with_error_correction_level(code, EcLevel::L)
        .map(|qr| {
            // Consoles are dark: what the code calls dark must stay so.
            let mut picture = qr.render::<Dense1x2>();
            picture
                .dark_color(Dense1x2::Light)
                .light_color(Dense1x2::Dark)
                .build()
        })
        // Text of this length always fits; without the picture, the text is enough.
        .unwrap_or_default();
    format!(
        "pairing code {code}\ntype it at the host within {} min: facelatch pair --to ADDRESS --code {code}\n{picture}",
        lasts.as_secs().div_ceil(60)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notice_holds_the_code_in_a_line_of_its_own_and_a_picture() {
        let code = "7KQM-29FX-ABCD-EFGH";
        let text = notice(code, Duration::from_secs(90));
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(&*format!("pairing code {code}")));
        assert!(lines.next().unwrap().contains("within 2 min"));
        let picture: Vec<&str> = lines.collect();
        // Version 1, 21 modules, and two times four of margin; two rows a line.
        assert_eq!(picture.len(), 15, "{text}");
        assert!(picture.iter().all(|line| line.chars().count() == 29));
    }
}
