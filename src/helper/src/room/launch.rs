//! The last steps: nothing that can be given back is kept, then the payload.

use super::Room;
use crate::filters;
use casemate_confine::{At, Fault, capabilities, landlock, process, seccomp};
use casemate_sys::exec::{self, Strings};
use rustix::io::Errno;
use std::ffi::CString;
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
    match room.job.capabilities.as_slice() {
        [] => capabilities::drop_all(),
        held => capabilities::hold_ambient(held),
    }
}

pub fn no_new_privs(_: &mut Room<'_>) -> Result<(), Fault> {
    process::no_new_privs()
}

pub fn landlock(room: &mut Room<'_>) -> Result<(), Fault> {
    landlock::apply(&room.job.landlock, room.job.init.then_some(room.realm.init.as_fd()))
}

pub fn descriptors(_: &mut Room<'_>) -> Result<(), Fault> {
    casemate_sys::inherited::keep_from_children().at("close_range")
}

pub fn filters(room: &mut Room<'_>) -> Result<(), Fault> {
    seccomp::install_bytes(filters::baseline(&room.job.capabilities))?;
    seccomp::install_bytes(&room.job.seccomp)
}

pub fn exec(room: &mut Room<'_>) -> Result<(), Fault> {
    let process = &room.job.process;
    let env = Strings::new(&process.env).at("environment")?;
    let program = process.argv.first().ok_or_else(|| Fault::refused("argv is empty"))?;
    let name = String::from_utf8_lossy(program);
    // What the parent reads without a failure after it is a payload that was executed.
    rustix::io::write(room.report, super::EXECUTING).at("report")?;
    if room.job.init {
        let argv: Vec<&[u8]> =
            [&b"casemate-init"[..]].into_iter().chain(process.argv.iter().map(Vec::as_slice)).collect();
        let argv = Strings::new(&argv).at("argv")?;
        return Err(exec::execve_descriptor(room.realm.init.as_fd(), &argv, &env)).at("casemate-init");
    }
    let argv = Strings::new(&process.argv).at("argv")?;
    let path = process.env.iter().find_map(|entry| entry.strip_prefix(b"PATH="));
    let mut last = Errno::NOENT;
    for candidate in exec::candidates(program, path) {
        let candidate = CString::new(candidate).map_err(|_| Fault::refused("argv[0] has a NUL"))?;
        match exec::execve(&candidate, &argv, &env) {
            // As execvp: a place where the program is not, or may not be run, does not end the search.
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => last = Errno::ACCESS,
            errno => return Err(errno).at(name),
        }
    }
    Err(last).at(format_args!("{name} (is it in the image, executable by the container's user, on PATH?)"))
}
