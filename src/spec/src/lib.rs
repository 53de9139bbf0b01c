//! casemate.toml: text in, [`Spec`] out, or every error that the file has.
//!
//! Pure: no file is opened and no clock is read here. `decode` takes the parser's tables apart (keys, types, single values)
//! into a mirror of the file, `validate` compares values with each other, `resolve` fills in the defaults. Findings go on being
//! collected through the first two, so that one run shows all of them.
//!
//! ```
//! let today = casemate_spec::Date::from_unix(1_795_219_200);
//! let found = casemate_spec::parse("schema = 2", today).unwrap_err();
//! assert_eq!(found[0].rule, "missing-key");
//! ```
#![forbid(unsafe_code)]

mod ceiling;
mod cursor;
mod date;
mod decode;
mod endpoint;
mod finding;
mod grammar;
mod image_ref;
mod images;
pub mod keys;
mod logging;
mod model;
mod nearest;
mod policy;
mod raw;
mod render;
mod resolve;
pub mod rules;
mod validate;
mod values;
mod words;

pub use date::Date;
pub use endpoint::{LoginSource, Mirror, Proxy, Registry};
pub use finding::{Finding, Related};
pub use image_ref::host_and_port;
pub use image_ref::{ImagePin, ImagePinError};
pub use images::{ImageAt, images, replaced};
pub use logging::{LogDriver, Logging, ManagerLog};
pub use model::{
    ContainerSpec, Device, IoLimit, Landlock, Mount, Persistence, Position, Resources, Restart, RestartPolicy, Root,
    Seccomp, Security, Spec, Ulimit, User, Volume, Waivable, Waiver,
};
pub use policy::{Limit, Policy, StorePolicy, Verify};
pub use render::render;
pub use rules::Severity;
pub use values::{AbsolutePath, ByteSize, CpuList, Cpus, NonRootGid, NonRootUid, ValueError};
pub use words::{signal, signal_name};

use finding::Findings;

/// The rule that time alone breaks: a file that was applied before stays valid for its containers.
pub const WAIVER_EXPIRED: &str = rules::WAIVER_EXPIRED.id;

/// The longest file, in bytes.
pub const MAX_FILE: usize = 1 << 20;

/// The text of a file's bytes, which the caller need not read further than [`MAX_FILE`] and one more.
pub fn text(bytes: &[u8]) -> Result<&str, Vec<Finding>> {
    let mut findings = Findings::new("");
    if bytes.len() > MAX_FILE {
        findings.add(&rules::FILE_SIZE, &(0..0), format!("the file is longer than {MAX_FILE} bytes"));
        return Err(findings.finish());
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("the file is not UTF-8: byte {} begins no character", error.valid_up_to());
        findings.add(&rules::FILE_ENCODING, &(0..0), message);
        findings.finish()
    })
}

/// Reads a file as of a day. The warnings of a good file, or the errors and warnings of a bad one, in the order of the text.
pub fn parse(text: &str, today: Date) -> Result<(Spec, Vec<Finding>), Vec<Finding>> {
    let mut findings = Findings::new(text);
    if text.len() > MAX_FILE {
        findings.add(&rules::FILE_SIZE, &(0..0), format!("the file is longer than {MAX_FILE} bytes"));
        return Err(findings.finish());
    }
    let table = grammar::parse(text, &mut findings);
    let raw = decode::spec(table.get_ref(), &mut findings);
    validate::validate(&raw, today, &mut findings);
    if findings.has_errors() {
        return Err(findings.finish());
    }
    match resolve::spec(raw, &findings) {
        Some(spec) => Ok((spec, findings.finish())),
        None => Err(findings.finish()),
    }
}

/// `[store]` of a file that was applied once, for the verbs that are given none. What is wrong with the rest of it, a waiver that
/// has expired since above all, is not their matter.
pub fn store_policy(text: &str) -> StorePolicy {
    let mut findings = Findings::new(text);
    if text.len() > MAX_FILE {
        return StorePolicy::default();
    }
    let table = grammar::parse(text, &mut findings);
    resolve::store(&decode::spec(table.get_ref(), &mut findings).store)
}
