//! Output of the verbs: text and JSON on standard output, notes on standard error, table columns. Control characters in text that comes
//! from images, registries or containers are escaped.

use crate::{Code, Error, escaped};
pub(crate) use casemate_error::bytes as size;
use serde::Serialize;
use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// Prints to standard output. A reader that closed the pipe, as `head` does, is not an error.
pub(crate) fn text(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::new(Code::Failed, "standard output", "write", error))
        }
        _ => Ok(()),
    }
}

/// Prints a value to standard output as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|error| Error::new(Code::Failed, "JSON output", "encode", error))?;
    text(&format!("{json}\n"))
}

/// Prints a note to standard error, which may be closed.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "casemate: {}", escaped(text));
}

/// The algorithm of a digest and its first 12 digits, as other tools shorten it.
pub(crate) fn short_digest(digest: impl Display) -> String {
    digest.to_string().chars().filter(|c| !c.is_control()).take("sha256:".len() + 12).collect()
}

/// Pads a text to a column of this width. A longer text keeps its end, where image names differ.
pub(crate) fn column(text: &str, width: usize) -> String {
    let text = escaped(text);
    let count = text.chars().count();
    if count <= width {
        return format!("{text:<width$}");
    }
    let tail: String = text.chars().skip(count - (width - 1)).collect();
    format!("…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_pads_short_text_and_keeps_the_end_of_long_text() {
        assert_eq!(column("ab", 4), "ab  ");
        assert_eq!(column("abcd", 4), "abcd");
        assert_eq!(column("abcde", 4), "…cde");
        assert_eq!(column("\u{1b}[2J", 10), "\\u{1b}[2J ");
    }
}
