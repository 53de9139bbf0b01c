//! Progress on a terminal; silence elsewhere.

use casemate_image::store::{Progress, Silent};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// A bar on standard error if that is a terminal.
pub(crate) fn progress() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() { Box::new(Bar::new()) } else { Box::new(Silent) }
}

struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        Self(ProgressBar::new(0))
    }

    /// Another bar. It is drawn whatever was drawn a moment ago: unpacking a layer says nothing until it is done.
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
        // Enough of a digest to tell one from another.
        let name: String = name.chars().filter(|c| !c.is_control()).take(19).collect();
        self.begin("{msg:.dim} {bar:24} {bytes}/{total_bytes}", name, 0, size);
    }

    fn at(&mut self, done: u64) {
        self.0.set_position(done);
    }

    fn waiting(&mut self) {
        super::waiting();
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
