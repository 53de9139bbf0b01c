//! Two processes for one verb: the caller's, which may write the file and reads nothing that a registry sent, and one without any
//! right, which talks and parses. Between them goes one digest an image, and nothing else.

use crate::{Code, Error};
use casemate_engine::launch;
use casemate_sys::process::{SingleThreaded, exit_now, fork_plain};
use casemate_wire::Digest;
use rustix::fd::OwnedFd;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitOptions, waitpid};
use std::fs::File;
use std::io::{Read, Write};

/// Runs `work` apart, as the manager's user; gives its digests, as many as asked for, or says how it ended.
pub fn digests(
    count: usize,
    work: impl FnOnce() -> Result<Vec<Digest>, Error>,
) -> Result<Result<Vec<Digest>, u8>, Error> {
    let failed =
        |step: &'static str| move |error: std::io::Error| Error::new(Code::Failed, "this process", step, error);
    let (read, write) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed("make a pipe")(errno.into()))?;
    let alone = SingleThreaded::prove().map_err(failed("count its threads"))?;
    match fork_plain(&alone).map_err(|errno| failed("fork")(errno.into()))? {
        None => {
            drop(read);
            exit_now(apart(write, work))
        }
        Some(child) => {
            drop(write);
            let mut told = Vec::new();
            File::from(read).take(32 * count as u64 + 1).read_to_end(&mut told).map_err(failed("read digests"))?;
            let code = ended(child).map_err(failed("wait for the other one"))?;
            if code != 0 {
                return Ok(Err(code));
            }
            let (digests, rest) = told.as_chunks::<32>();
            if digests.len() != count || !rest.is_empty() {
                return Err(Error::new(Code::Failed, "this process", "read digests", "not one for each image"));
            }
            Ok(Ok(digests.iter().map(|digest| Digest::from_bytes(*digest)).collect()))
        }
    }
}

/// The other one's life; its exit code.
fn apart(pipe: OwnedFd, work: impl FnOnce() -> Result<Vec<Digest>, Error>) -> u8 {
    let outcome = launch::switch_to_manager_user().map_err(Error::from).and_then(|()| work()).and_then(|digests| {
        let bytes: Vec<u8> = digests.iter().flat_map(|digest| *digest.as_bytes()).collect();
        File::from(pipe)
            .write_all(&bytes)
            .map_err(|error| Error::new(Code::Failed, "this process", "tell digests", error))
    });
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "casemate: {error}");
            error.code() as u8
        }
    }
}

fn ended(child: i32) -> std::io::Result<u8> {
    let child = Pid::from_raw(child).ok_or(std::io::ErrorKind::InvalidInput)?;
    let status = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()))?;
    let code = status.and_then(|(_, status)| status.exit_status());
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(Code::Failed as u8))
}
