//! `casemate keys`.

use super::print;
use super::{Code, Error};
use casemate_spec as spec;
use std::process::ExitCode;

/// The width of the text: that of a plain terminal.
const WIDTH: usize = 80;

const EXAMPLE: &str = "Examples:\n  casemate keys | less\n  casemate keys containers.web.resources\n  \
    casemate keys memory_high";

/// Print the keys of casemate.toml, each with its values, its default, its effect and what weakens it
///
/// Without a path, prints every key, table by table. A path is that of a table or a key; any name can stand for NAME, and the last part of a
/// key's path is enough.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Keys {
    /// A table or a key, such as containers.NAME.resources or memory_high
    path: Option<String>,
}

impl Keys {
    pub(super) fn run(&self) -> Result<ExitCode, Error> {
        let path = self.path.as_deref().unwrap_or_default();
        let Some(text) = spec::help(path, WIDTH) else {
            let error = Error::new(Code::Usage, super::escaped(path), "find", "casemate.toml has no such table or key");
            let near = spec::nearest_key(path).map(|near| format!("did you mean `{near}`?"));
            return Err(error.remedy(near.unwrap_or_else(|| "`casemate keys` prints all".to_owned())));
        };
        print::text(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}
