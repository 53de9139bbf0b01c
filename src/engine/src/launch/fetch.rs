//! Connections to casemate-fetch, one process for each: started by systemd where its socket exists, else as a child.

use super::helper_process::program;
use super::stages::fetch::{self as stage, FetchArguments};
use super::systemd_socket::{Service, SystemdSocket};
use super::{Directories, Error, Identities};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Opens `count` connections. Call it before [`super::enter`]: only root can give a child the user of casemate-fetch.
pub fn connect(directories: &Directories, count: u8) -> Result<Vec<OwnedFd>, Error> {
    let identities = Identities::of_caller()?;
    casemate_sys::inherited::keep_from_children()
        .map_err(|errno| Error::new("this process", "mark inherited descriptors", errno))?;
    match SystemdSocket::find(Service::Fetch, directories, &identities)? {
        Some(socket) => (0..count).map(|_| socket.connect()).collect(),
        None => (0..count).map(|_| start(&identities)).collect(),
    }
}

fn start(identities: &Identities) -> Result<OwnedFd, Error> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|errno| Error::new("casemate-fetch", "make a socket pair", errno))?;
    let program = program()?;
    let arguments = FetchArguments { user: identities.fetch(), program: program.with_file_name("casemate-fetch") };
    Command::new(&program)
        .arg0(stage::NAME)
        .args(arguments.to_arguments())
        .env_clear()
        .stdin(theirs)
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| Error::at(&arguments.program, "start", error))?;
    Ok(ours)
}
