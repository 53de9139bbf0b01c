//! Privilege separation of `lock` and `update`: a child process as the manager's user talks to the registry and parses its data; the
//! caller's process, which can write the file, receives one digest per image and nothing else.

use crate::{Code, Error};
use casemate_engine::launch;
use casemate_sys::process::{SingleThreaded, exit_now, fork_plain};
use casemate_wire::Digest;
use rustix::fd::OwnedFd;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitOptions, waitpid};
use std::fs::File;
use std::io::{Read, Write};

/// Runs `work` in a child process as the manager's user. Returns `count` digests, or the exit code of the child.
pub fn digests(
    count: usize,
    work: impl FnOnce() -> Result<Vec<Digest>, Error>,
) -> Result<Result<Vec<Digest>, u8>, Error> {
    let failed =
        |step: &'static str| move |error: std::io::Error| Error::new(Code::Failed, "this process", step, error);
    let (read, write) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed("make a pipe")(errno.into()))?;
    let proof = SingleThreaded::prove().map_err(failed("count its threads"))?;
    match fork_plain(&proof).map_err(|errno| failed("fork")(errno.into()))? {
        None => {
            drop(read);
            exit_now(child(write, work))
        }
        Some(pid) => {
            drop(write);
            let mut received = Vec::new();
            File::from(read).take(32 * count as u64 + 1).read_to_end(&mut received).map_err(failed("read digests"))?;
            let code = exit_code(pid).map_err(failed("wait for the child"))?;
            if code != 0 {
                return Ok(Err(code));
            }
            let (digests, rest) = received.as_chunks::<32>();
            if digests.len() != count || !rest.is_empty() {
                return Err(Error::new(
                    Code::Failed,
                    "this process",
                    "read digests",
                    "the child did not send one for each image",
                ));
            }
            Ok(Ok(digests.iter().map(|digest| Digest::from_bytes(*digest)).collect()))
        }
    }
}

/// The child process; returns its exit code.
fn child(pipe: OwnedFd, work: impl FnOnce() -> Result<Vec<Digest>, Error>) -> u8 {
    let outcome = launch::switch_to_manager_user().map_err(Error::from).and_then(|()| work()).and_then(|digests| {
        let bytes: Vec<u8> = digests.iter().flat_map(|digest| *digest.as_bytes()).collect();
        File::from(pipe)
            .write_all(&bytes)
            .map_err(|error| Error::new(Code::Failed, "this process", "send digests", error))
    });
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "casemate: {error}");
            error.code() as u8
        }
    }
}

fn exit_code(pid: i32) -> std::io::Result<u8> {
    let child = Pid::from_raw(pid).ok_or(std::io::ErrorKind::InvalidInput)?;
    let status = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()))?;
    let code = status.and_then(|(_, status)| status.exit_status());
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(Code::Failed as u8))
}
