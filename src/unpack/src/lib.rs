//! Proves one blob and writes one layer, lists the files of a layer, or lists the members of an image archive: the only program
//! that reads archives.
//!
//! Every mode confines itself before the first byte of input. What is hostile here is the input; the one who starts the program
//! chooses what it sees: `layer`, `list` and `measure` stand in a directory as `/`, in namespaces of its own, `index` opens nothing.
#![forbid(unsafe_code)]

mod budget;
mod confine;
pub mod decode;
mod fail;
mod index;
mod layer;
mod made;
mod names;
mod path;
pub mod tar;
mod tree;
mod walk;

use casemate_wire::encode;
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

pub use index::index;

/// Runs the mode that the arguments name. The outcome goes to descriptor 1; 0 when it is a success, 1 when not, 2 for bad usage.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<Option<String>> = arguments.skip(1).map(|text| text.into_string().ok()).collect();
    let arguments: Vec<&str> = arguments.iter().map(|text| text.as_deref().unwrap_or_default()).collect();
    let (encoded, good) = match arguments.as_slice() {
        ["layer", request] => {
            let outcome = layer::run(request);
            (encode(&outcome), outcome.is_ok())
        }
        [word @ ("list" | "measure")] => {
            let purpose = if *word == "list" { walk::Purpose::List } else { walk::Purpose::Measure };
            let outcome = walk::run(purpose);
            (encode(&outcome), outcome.is_ok())
        }
        ["index"] => {
            let outcome = index::run();
            let encoded = casemate_index_wire::encode(&outcome);
            (encoded, outcome.is_ok())
        }
        _ => {
            // Standard error may be closed.
            let _ = writeln!(std::io::stderr(), "usage: casemate-unpack layer REQUEST | list | measure | index");
            return ExitCode::from(2);
        }
    };
    let mut out = std::io::stdout();
    match encoded.map(|bytes| out.write_all(&bytes).and_then(|()| out.flush())) {
        Ok(Ok(())) if good => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
