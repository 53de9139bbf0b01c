//! The members of an archive, found by `casemate-unpack index`.

use crate::error::Error;
use casemate_index_wire::{MAX_INDEX, Member};
use casemate_wire::Failure;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `casemate-unpack index` on the open archive.
pub(super) fn members(unpacker: &Path, archive: &File, path: &Path) -> Result<Vec<Member>, Error> {
    let failed = |reason: String| Error::Index { archive: path.to_owned(), reason };
    let stdin = archive.try_clone().map_err(Error::io("duplicate the descriptor of", path))?;
    let mut child = Command::new(unpacker)
        .arg("index")
        .env_clear()
        .current_dir("/")
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(Error::io("start", unpacker))?;
    let mut bytes = Vec::new();
    let read = child.stdout.take().map(|pipe| pipe.take(MAX_INDEX as u64 + 1).read_to_end(&mut bytes));
    // The pipe is closed: an indexer that still writes gets SIGPIPE, so the wait ends.
    let status = child.wait().map_err(Error::io("wait for", unpacker))?;
    if let Some(Err(error)) = read {
        return Err(Error::io("read the index of", path)(error));
    }
    match casemate_index_wire::decode(&bytes) {
        Ok(Ok(members)) if status.success() => check(members, archive, path),
        Ok(Err(failure)) => Err(failed(describe(&failure))),
        Ok(Ok(_)) | Err(_) => Err(failed(format!("casemate-unpack index ended with {status} and no index"))),
    }
}

/// Checks that all members lie within the archive: the indexer has read hostile bytes, so its output is not trusted.
fn check(members: Vec<Member>, archive: &File, path: &Path) -> Result<Vec<Member>, Error> {
    let length = archive.metadata().map_err(Error::io("stat", path))?.len();
    let within = |member: &Member| member.offset.checked_add(member.size).is_some_and(|end| end <= length);
    match members.iter().find(|member| !within(member)) {
        None => Ok(members),
        Some(member) => {
            let reason = format!("{} ends after the end of the archive", member.path.escape_debug());
            Err(Error::Index { archive: path.to_owned(), reason })
        }
    }
}

fn describe(failure: &Failure) -> String {
    let Failure { step, object, errno, .. } = failure;
    let step = step.escape_debug();
    let object = object.escape_debug();
    match errno {
        Some(errno) => format!("{step}: {object}: {}", std::io::Error::from_raw_os_error(*errno)),
        None => format!("{step}: {object}"),
    }
}
