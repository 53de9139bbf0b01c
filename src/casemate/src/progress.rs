//! Progress bar of one image operation (import, pack, bundle, fsck) on a terminal; nothing is printed elsewhere.

use crate::print;
use casemate_image::store::{Progress, Silent};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// A progress bar if standard error is a terminal.
pub(crate) fn progress() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() { Box::new(Bar::new()) } else { Box::new(Silent) }
}

/// Prints that this process waits for the store lock.
pub(crate) fn waiting_for_store() {
    print::note("waiting: another process is changing the store");
}

/// Prints that this process waits for the reference lock.
pub(crate) fn waiting_for_removal() {
    print::note("waiting: another process is removing images");
}

struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        Self(ProgressBar::new(0))
    }

    /// Starts another step. Draws at once, against the rate limit of drawing: a layer reports nothing more until it is unpacked.
    fn begin(&self, template: &str, message: String, done: u64, of: u64) {
        self.0.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.0.set_message(message);
        self.0.set_position(done);
        self.0.set_length(of);
        self.0.force_draw();
    }
}

impl Progress for Bar {
    fn blob(&mut self, name: &str, size: u64) {
        self.begin("{msg:.dim} {bar:24} {bytes}/{total_bytes}", print::short_digest(name), 0, size);
    }

    fn at(&mut self, done: u64) {
        self.0.set_position(done);
    }

    fn waiting(&mut self) {
        waiting_for_store();
    }

    fn layer(&mut self, number: usize, of: usize) {
        let done = number.saturating_sub(1) as u64;
        self.begin("{msg} {bar:24}", format!("unpacking layer {number} of {of}"), done, of as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
