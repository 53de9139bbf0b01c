//! casemate.toml: text in, [`Spec`] out, or every error of the file.
//!
//! Pure: no file is opened and no clock is read here. `check` holds the parser's tables against the table of keys, value by
//! value; `validate` compares values with each other; both collect findings, so that one run reports all of them. From a file
//! without errors `model` reads [`Spec`], which answers for each key with its value and where that comes from.
//!
//! ```
//! let today = casemate_spec::Date::from_unix(1_795_219_200);
//! let found = casemate_spec::parse("schema = 2", today).unwrap_err();
//! assert_eq!(found[0].rule, "missing-key");
//! ```
#![forbid(unsafe_code)]

mod ceiling;
mod check;
mod date;
mod documents;
mod endpoint;
mod explain;
mod file;
mod finding;
mod grammar;
mod image_ref;
mod images;
mod item;
mod keys;
mod model;
mod names;
mod nearest;
mod position;
mod render;
pub mod rules;
mod types;
mod validate;
mod values;
mod view;

pub use date::Date;
pub use documents::{KeyInfo, example, help, keys, nearest_key, reference, schema};
pub use endpoint::{Mirror, Proxy};
pub use explain::{Explained, Origin};
pub use finding::{Finding, Related};
pub use image_ref::{ImagePin, ImagePinError, host_and_port};
pub use images::{ImageAt, images, replaced};
pub use keys::Widens;
pub use model::{
    ContainerSpec, Device, IoLimit, Landlock, Limit, LogDriver, Logging, LoginSource, ManagerLog, Mount, Persistence,
    Policy, Registry, Resources, Restart, RestartPolicy, Root, Seccomp, Security, Spec, StorePolicy, Ulimit, User,
    Verify, Volume, Waivable, Waiver,
};
pub use names::{signal, signal_name};
pub use position::Position;
pub use render::render;
pub use rules::Severity;
pub use values::{AbsolutePath, ByteSize, CpuList, Cpus, NonRootGid, NonRootUid, ValueError};

use file::File;
use finding::Findings;
use view::Level;

/// The rule that time alone breaks: a file that was applied before stays valid for its containers.
pub const WAIVER_EXPIRED: &str = rules::WAIVER_EXPIRED.id;

/// The longest file, in bytes.
pub const MAX_FILE: usize = 1 << 20;

/// The text of a file's bytes, of which the caller need not read more than [`MAX_FILE`] and one more.
pub fn text(bytes: &[u8]) -> Result<&str, Vec<Finding>> {
    let mut findings = Findings::new("");
    if bytes.len() > MAX_FILE {
        too_long(&mut findings);
        return Err(findings.finish());
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("the file is not UTF-8: byte {} begins no character", error.valid_up_to());
        findings.add(&rules::FILE_ENCODING, &(0..0), message);
        findings.finish()
    })
}

fn too_long(findings: &mut Findings<'_>) {
    findings.add(&rules::FILE_SIZE, &(0..0), format!("the file is longer than {MAX_FILE} bytes"));
}

/// Reads a file as of a day: a good file with its warnings, or all errors and warnings of a bad one, in the order of the text.
pub fn parse(text: &str, today: Date) -> Result<(Spec, Vec<Finding>), Vec<Finding>> {
    let mut findings = Findings::new(text);
    if text.len() > MAX_FILE {
        too_long(&mut findings);
        return Err(findings.finish());
    }
    let table = grammar::parse(text, &mut findings);
    check::table(&keys::file::TABLE, Level::Own, table.get_ref(), &(0..0), &mut findings);
    let file = File::new(table.get_ref());
    validate::validate(&file, today, &mut findings);
    let spec = if findings.has_errors() { None } else { Spec::read(&file, findings.lines()) };
    match spec {
        Some(spec) => Ok((spec, findings.finish())),
        None => Err(findings.finish()),
    }
}

/// `[store]` of a file that was applied once, for verbs that are given no file. Errors in the rest of it, such as a waiver that
/// has expired since, do not concern them.
pub fn store_policy(text: &str) -> StorePolicy {
    if text.len() > MAX_FILE {
        return StorePolicy::default();
    }
    let table = grammar::parse(text, &mut Findings::silent());
    StorePolicy::read(&File::new(table.get_ref()).root.group(&keys::file::STORE_TABLE))
}
