//! The last steps: the process gives up for good what it does not need, then becomes the program.

use super::{EXECUTING, Setup};
use crate::baseline::baseline;
use casemate_confine::{At, Error, capabilities, landlock, seccomp};
use casemate_sys::exec::{self, Strings};
use casemate_sys::inherited;
use rustix::io::Errno;
use std::os::fd::AsFd;

pub fn working_directory(setup: &Setup<'_>) -> Result<(), Error> {
    let path = &setup.process.cwd;
    rustix::process::chdir(path.as_str()).at(path)?;
    // A directory outside the root has no path that begins with `/` (CVE-2024-21626).
    let here = rustix::process::getcwd(Vec::new()).at(path)?;
    if here.as_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(Error::refused(format_args!("{path} lies outside the root")))
    }
}

pub fn capabilities(setup: &Setup<'_>) -> Result<(), Error> {
    capabilities::hold_ambient(&setup.confinement.capabilities)
}

/// The domain of an entering process has the same rules as pid 1's and is another one, since none can be joined: where signals are
/// scoped, neither can signal the other.
pub fn landlock(setup: &Setup<'_>) -> Result<(), Error> {
    let init = setup.process.init.then_some(setup.shared.init.as_fd());
    landlock::apply(&setup.confinement.landlock, init)
}

pub fn close_descriptors(_: &Setup<'_>) -> Result<(), Error> {
    inherited::keep_from_children().at("close_range")
}

pub fn filters(setup: &Setup<'_>) -> Result<(), Error> {
    // From here on the job's filter decides, which need not let a report through.
    rustix::io::write(setup.report, EXECUTING).at("report")?;
    seccomp::install_bytes(baseline(&setup.confinement.capabilities))?;
    seccomp::install_bytes(&setup.confinement.seccomp)
}

pub fn exec(setup: &Setup<'_>) -> Result<(), Error> {
    let process = setup.process;
    let program = process.argv.first().ok_or_else(|| Error::refused("argv is empty"))?;
    let init = process.init.then_some(&b"casemate-init"[..]);
    let argv: Vec<&[u8]> = init.into_iter().chain(process.argv.iter().map(Vec::as_slice)).collect();
    let argv = Strings::new(&argv).at("argv")?;
    let env = Strings::new(&process.env).at("environment")?;
    if process.init {
        return Err(exec::execve_descriptor(setup.shared.init.as_fd(), &argv, &env)).at("casemate-init");
    }
    let path = process.env.iter().find_map(|entry| entry.strip_prefix(b"PATH="));
    let errno = exec::search(program, path, &argv, &env);
    let error = Error::of(String::from_utf8_lossy(program), &errno.into());
    Err(match errno {
        Errno::NOENT | Errno::ACCESS => error.hint("is it in the image, executable by the container's user, on PATH?"),
        _ => error,
    })
}
