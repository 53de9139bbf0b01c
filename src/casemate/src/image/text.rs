//! What the image verbs print: tables of 80 columns, sizes, dates, JSON. Text from outside never moves the cursor.

use crate::{Code, Error, escaped};
pub(crate) use casemate_error::bytes as size;
use serde::Serialize;
use std::io::{ErrorKind, Write};

/// Prints to standard output. A reader that went away has seen enough; what could not be written otherwise is an error.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::new(Code::Failed, "standard output", "write", error))
        }
        _ => Ok(()),
    }
}

/// Prints a value as JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Error::new(Code::Failed, "the answer", "encode", error))?;
    print(&format!("{text}\n"))
}

/// Tells the caller something on standard error, which may be closed.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "casemate: {}", escaped(text));
}

/// A text in so many columns: too long, it keeps its end, where names differ.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let text = escaped(text);
    let count = text.chars().count();
    if count <= columns {
        return format!("{text:<columns$}");
    }
    let tail: String = text.chars().skip(count - (columns - 1)).collect();
    format!("…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_end_and_its_column() {
        assert_eq!(fit("ab", 4), "ab  ");
        assert_eq!(fit("abcd", 4), "abcd");
        assert_eq!(fit("abcde", 4), "…cde");
        assert_eq!(fit("\u{1b}[2J", 10), "\\u{1b}[2J ");
    }
}
