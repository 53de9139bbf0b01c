//! The last steps: nothing that can be given back is kept, then the payload.

use super::Room;
use crate::fault::{At, Fault};
use crate::filters;
use casemate_confine::landlock as rules;
use casemate_confine::seccomp;
use casemate_sys::exec::{self, Strings};
use casemate_wire::PathAccess;
use rustix::io::Errno;
use std::ffi::CString;
use std::path::PathBuf;

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
    confined(match room.job.capabilities.as_slice() {
        [] => casemate_confine::capabilities::drop_all(),
        held => casemate_confine::capabilities::hold_ambient(held),
    })
}

pub fn no_new_privs(_: &mut Room<'_>) -> Result<(), Fault> {
    confined(casemate_confine::process::no_new_privs())
}

pub fn landlock(room: &mut Room<'_>) -> Result<(), Fault> {
    let job = &room.job.landlock;
    let access = |a: PathAccess| rules::Access {
        read: a.read,
        write: a.write,
        execute: a.execute,
        ioctl_dev: a.ioctl_dev,
    };
    let program = room.job.init.then_some(room.init);
    let rules = rules::Rules {
        paths: job.paths.iter().map(|rule| (PathBuf::from(&rule.path), access(rule.access))).collect(),
        bind_tcp: job.bind_tcp.clone(),
        connect_tcp: job.connect_tcp.clone(),
        scoped: job.scoped,
    };
    confined(rules::apply(&rules, program))
}

pub fn descriptors(_: &mut Room<'_>) -> Result<(), Fault> {
    casemate_sys::inherited::keep_from_children().at("close_range")
}

pub fn filters(room: &mut Room<'_>) -> Result<(), Fault> {
    confined(seccomp::install_bytes(filters::baseline(&room.job.capabilities)))?;
    confined(seccomp::install_bytes(&room.job.seccomp))
}

pub fn exec(room: &mut Room<'_>) -> Result<(), Fault> {
    let process = &room.job.process;
    let env = Strings::new(&process.env).at("environment")?;
    let program = process.argv.first().ok_or_else(|| Fault::refused("argv is empty"))?;
    let name = String::from_utf8_lossy(program);
    if room.job.init {
        let argv: Vec<&[u8]> =
            [b"casemate-init".as_slice()].into_iter().chain(process.argv.iter().map(Vec::as_slice)).collect();
        let argv = Strings::new(&argv).at("argv")?;
        return Err(exec::execve_descriptor(room.init, &argv, &env)).at("casemate-init");
    }
    let argv = Strings::new(&process.argv).at("argv")?;
    let path = process.env.iter().find_map(|entry| entry.strip_prefix(b"PATH="));
    let mut last = Errno::NOENT;
    for candidate in exec::candidates(program, path) {
        let candidate = CString::new(candidate).map_err(|_| Fault::refused("argv[0] has a NUL"))?;
        let error = exec::execve(&candidate, &argv, &env);
        match Errno::from_io_error(&error) {
            // As execvp: a place where the program is not, or may not be run, does not end the search.
            Some(Errno::NOENT | Errno::NOTDIR) => {}
            Some(Errno::ACCESS) => last = Errno::ACCESS,
            Some(errno) => return Err(errno).at(name),
            None => return Err(error).at(name),
        }
    }
    Err(last).at(format_args!("{name} (is it in the image, executable by the container's user, on PATH?)"))
}

/// A failure of the confine crate: mostly something that this kernel cannot do.
pub fn confined<T>(result: Result<T, casemate_confine::Error>) -> Result<T, Fault> {
    result.map_err(|error| {
        if error.not_enforceable() { Fault::not_enforceable(&error) } else { Fault::container(&error) }
    })
}
