//! Progress on a terminal; silence elsewhere.

use crate::image::import::{Progress, Silent};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// A bar on standard error if that is a terminal.
pub(in crate::cli) fn progress() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() { Box::new(Bar::new()) } else { Box::new(Silent) }
}

struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{msg:.dim} {bar:24} {bytes}/{total_bytes}");
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }
}

impl Progress for Bar {
    fn blob(&mut self, name: &str, size: u64) {
        // Enough of a digest to tell one from another.
        let name: String = name.chars().filter(|c| !c.is_control()).take(19).collect();
        self.0.set_length(size);
        self.0.set_position(0);
        self.0.set_message(name);
    }

    fn at(&mut self, done: u64) {
        self.0.set_position(done);
    }

    fn layer(&mut self, number: usize, of: usize) {
        self.0.set_length(of as u64);
        self.0.set_position(number as u64);
        self.0
            .set_style(ProgressStyle::with_template("{msg} {bar:24}").unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.0.set_message(format!("unpacking layer {number} of {of}"));
        self.0.tick();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
