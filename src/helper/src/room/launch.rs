//! The last steps: nothing that can be given back is kept, then the payload.

use super::Room;
use crate::filters;
use casemate_confine::{At, Fault, capabilities, landlock, seccomp};
use casemate_sys::exec::{self, Strings};
use rustix::io::Errno;
use std::os::fd::AsFd;

pub fn working_directory(room: &mut Room<'_>) -> Result<(), Fault> {
    let path = &room.job.process.cwd;
    rustix::process::chdir(path.as_str()).at(path)?;
    // A directory outside the root has no path that begins with `/` (CVE-2024-21626).
    let here = rustix::process::getcwd(Vec::new()).at(path)?;
    if here.as_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(Fault::refused(format_args!("{path} lies outside the root")))
    }
}

pub fn capabilities(room: &mut Room<'_>) -> Result<(), Fault> {
    capabilities::hold_ambient(&room.job.confinement.capabilities)
}

pub fn landlock(room: &mut Room<'_>) -> Result<(), Fault> {
    landlock::apply(&room.job.confinement.landlock, room.job.process.init.then_some(room.realm.init.as_fd()))
}

pub fn filters(room: &mut Room<'_>) -> Result<(), Fault> {
    // From here on it is the job's filter that decides, and that need not let a report through.
    rustix::io::write(room.report, super::EXECUTING).at("report")?;
    seccomp::install_bytes(filters::baseline(&room.job.confinement.capabilities))?;
    seccomp::install_bytes(&room.job.confinement.seccomp)
}

pub fn exec(room: &mut Room<'_>) -> Result<(), Fault> {
    let process = &room.job.process;
    let program = process.argv.first().ok_or_else(|| Fault::refused("argv is empty"))?;
    let init = room.job.process.init.then_some(&b"casemate-init"[..]);
    let argv: Vec<&[u8]> = init.into_iter().chain(process.argv.iter().map(Vec::as_slice)).collect();
    let (argv, env) = (Strings::new(&argv).at("argv")?, Strings::new(&process.env).at("environment")?);
    if room.job.process.init {
        return Err(exec::execve_descriptor(room.realm.init.as_fd(), &argv, &env)).at("casemate-init");
    }
    let path = process.env.iter().find_map(|entry| entry.strip_prefix(b"PATH="));
    let errno = exec::search(program, path, &argv, &env);
    let fault = Fault::of(String::from_utf8_lossy(program), &errno.into());
    Err(match errno {
        Errno::NOENT | Errno::ACCESS => fault.hint("is it in the image, executable by the container's user, on PATH?"),
        _ => fault,
    })
}
