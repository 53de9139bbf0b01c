//! Messages of the guest to the host: one JSON value per line, over the second serial port.

use serde::{Deserialize, Serialize};

/// The guest's device for it.
pub const DEVICE: &str = "/dev/ttyS1";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub enum Line {
    /// A test has ended.
    Test {
        /// Which.
        name: String,
        /// How.
        ok: bool,
        /// Why it failed.
        message: String,
        /// What it took.
        milliseconds: u64,
    },
    /// A fact or a figure for the reader of the run.
    Note {
        /// One line.
        text: String,
    },
    /// A phase of the work begins, in which the power may be cut.
    Mark {
        /// Which.
        name: String,
    },
    /// Nothing comes after this; the machine is about to power off, or waits for its power to be cut.
    End {},
}

/// The whole lines in what has arrived; the last may still be on its way. A line that is none is the console's noise.
pub fn parse(text: &str) -> Vec<Line> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(|line| serde_json::from_str(line.trim()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_waits() {
        let note = |text: &str| Line::Note { text: text.into() };
        let text = format!("{}\r\n{}", serde_json::to_string(&note("a")).unwrap(), "{\"line\":\"end\"}");
        assert_eq!(parse(&text), [note("a")]);
        assert_eq!(parse(&format!("{text}\n")), [note("a"), Line::End {}]);
    }
}
