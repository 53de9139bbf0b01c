//! Connections to casemate-fetch, each with a process of its own at its end: systemd's, where its socket is, else a child.

use super::fetch_stage::{self, Orders};
use super::spawn::program;
use super::units::{Service, Units};
use super::{Directories, Error, Identities};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Connects so many times. To be called before [`super::enter`]: a child takes its own user, which only root can give it.
pub fn connect(directories: &Directories, count: u8) -> Result<Vec<OwnedFd>, Error> {
    let identities = Identities::of_caller()?;
    casemate_sys::inherited::keep_from_children()
        .map_err(|errno| Error::new("this process", "mark inherited descriptors", errno))?;
    match Units::find(Service::Fetch, directories, &identities)? {
        Some(units) => (0..count).map(|_| units.connect()).collect(),
        None => (0..count).map(|_| start(&identities)).collect(),
    }
}

fn start(identities: &Identities) -> Result<OwnedFd, Error> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|errno| Error::new("casemate-fetch", "make a connection for", errno))?;
    let program = program()?;
    let orders = Orders { user: identities.fetch(), program: program.with_file_name("casemate-fetch") };
    Command::new(&program)
        .arg0(fetch_stage::NAME)
        .args(orders.to_arguments())
        .env_clear()
        .stdin(theirs)
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| Error::at(&orders.program, "start", error))?;
    Ok(ours)
}
