//! Progress bars on standard error; silent when it is not a terminal.

use std::borrow::Cow;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `total` steps, such as photos or bytes.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar that says what is being done and counts `unit`.
    #[must_use]
    pub fn new(doing: impl Into<Cow<'static, str>>, total: u64, unit: &'static str) -> Progress {
        let template =
            format!("{{msg:24}} {{wide_bar}} {{human_pos}}/{{human_len}} {unit} {{eta}}");
        Progress::styled(doing.into(), total, &template)
    }

    /// A bar over bytes.
    #[must_use]
    pub fn bytes(doing: &'static str, total: u64) -> Progress {
        Progress::styled(
            doing.into(),
            total,
            "{msg:24} {wide_bar} {bytes}/{total_bytes} {eta}",
        )
    }

    fn styled(doing: Cow<'static, str>, total: u64, template: &str) -> Progress {
        let bar = ProgressBar::new(total);
        // The templates above are well formed; without one the bar has its default look.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(doing);
        Progress(bar)
    }

    /// `n` more steps are done.
    pub fn advance(&self, n: u64) {
        self.0.inc(n);
    }

    /// There are so many steps in all.
    pub fn set_total(&self, n: u64) {
        self.0.set_length(n);
    }

    /// So many steps are done in all.
    pub fn set(&self, n: u64) {
        self.0.set_position(n);
    }

    /// Takes the bar off the screen.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
