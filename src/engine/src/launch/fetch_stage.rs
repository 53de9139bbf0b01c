//! Between a verb that asks registries and casemate-fetch: a process that is `casemate` under another name, takes a user of its own and no
//! capability, leaves the caller's terminal, and becomes `casemate-fetch`. As the start stage, it may do nothing its caller may not.

use super::{Error, Ids, privilege};
use casemate_fetch_wire::SOCKET;
use rustix::io::FdFlags;
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// argv[0] of this stage.
pub const NAME: &str = "casemate-launch-fetch";

/// What it is told, as arguments: `uid:gid`, then the program.
#[derive(Debug, PartialEq, Eq)]
pub struct Orders {
    /// Who it becomes; the caller itself where that is an ordinary user.
    pub user: Ids,
    /// casemate-fetch.
    pub program: PathBuf,
}

impl Orders {
    /// As arguments.
    pub fn to_arguments(&self) -> Vec<OsString> {
        vec![format!("{}:{}", self.user.uid, self.user.gid).into(), self.program.clone().into()]
    }

    /// From arguments.
    pub fn from_arguments(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut arguments = arguments.into_iter();
        let ids = arguments.next()?;
        let (uid, gid) = ids.to_str()?.split_once(':')?;
        let user = Ids { uid: uid.parse().ok()?, gid: gid.parse().ok()? };
        let program = arguments.next()?.into();
        arguments.next().is_none().then_some(Self { user, program })
    }
}

/// Runs as this stage: standard input is the connection to the manager. Returns only what failed.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Error {
    match Orders::from_arguments(arguments) {
        Some(orders) => carry_out(&orders).err().unwrap_or_else(|| Error::new(NAME, "run", "cannot happen")),
        None => Error::new(NAME, "read its orders", "they are incomplete").remedy("use `casemate pull`"),
    }
}

fn carry_out(orders: &Orders) -> Result<Infallible, Error> {
    let step = |name| move |errno| Error::new(NAME, name, errno);
    casemate_sys::inherited::keep_from_children().map_err(step("mark inherited descriptors"))?;
    rustix::process::setsid().map_err(step("open a session"))?;
    rustix::process::chdir("/").map_err(step("change to /"))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    casemate_sys::signal::reset_all();
    let socket = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), SOCKET).map_err(step("place the socket"))?;
    if rustix::fd::AsRawFd::as_raw_fd(&socket) != SOCKET {
        return Err(Error::new(NAME, "place the socket", "descriptor 3 is taken"));
    }
    rustix::io::fcntl_setfd(&socket, FdFlags::empty()).map_err(step("place the socket"))?;
    privilege::become_powerless(orders.user)?;
    // Not the caller's terminal: whoever takes this program over must not write to it.
    let error = Command::new(&orders.program)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .exec();
    Err(Error::at(&orders.program, "execute", error).remedy("install it beside `casemate`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_journey() {
        let orders = Orders { user: Ids { uid: 1, gid: 2 }, program: "/p".into() };
        assert_eq!(Orders::from_arguments(orders.to_arguments()), Some(orders));
        for bad in [&[][..], &["1:2"], &["1", "/p"], &["1:x", "/p"], &["1:2", "/p", "x"]] {
            assert_eq!(Orders::from_arguments(bad.iter().map(OsString::from)), None, "{bad:?}");
        }
    }
}
