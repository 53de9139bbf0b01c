//! Between the launcher and the helper: a process that is `casemate` under another name, puts itself into the helper's
//! session, cgroups and identity, and then becomes `casemate-helper`.
//!
//! It exists because all of this has to happen after fork and before exec, which safe Rust does by executing itself. Nobody
//! gains by calling it: it does nothing that its caller may not do.

use super::{Error, Ids, preload, privilege};
use rustix::io::FdFlags;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// argv[0] of the start stage.
pub const NAME: &str = "casemate-launch";
/// Where the helper finds its listening socket.
const SOCKET: i32 = 3;

/// What the start stage is told. It travels as arguments in a fixed order: `uid:gid` or `-`, the number of cgroup files, these
/// files, the state directory, the number of stores or `-`, these stores, the helper's path, its arguments.
#[derive(Debug, PartialEq, Eq)]
pub struct Orders {
    /// The helper's user, where it is not the caller.
    pub user: Option<Ids>,
    /// `cgroup.procs` files to enter.
    pub entrances: Vec<PathBuf>,
    /// Where the helper has its layers.
    pub state: PathBuf,
    /// Stores whose layers it is lent; `None`: those that it is lent already.
    pub preload: Option<Vec<PathBuf>>,
    /// The program.
    pub helper: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl Orders {
    /// As arguments.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let ids = self.user.map_or("-".to_owned(), |ids| format!("{}:{}", ids.uid, ids.gid));
        let mut out: Vec<OsString> = vec![ids.into(), self.entrances.len().to_string().into()];
        out.extend(self.entrances.iter().map(OsString::from));
        out.push(self.state.clone().into());
        out.push(self.preload.as_ref().map_or("-".to_owned(), |stores| stores.len().to_string()).into());
        out.extend(self.preload.iter().flatten().map(OsString::from));
        out.push(self.helper.clone().into());
        out.extend(self.arguments.iter().cloned());
        out
    }

    /// From arguments.
    pub fn from_arguments(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut arguments = arguments.into_iter();
        let user = match arguments.next()?.to_str()? {
            "-" => None,
            ids => {
                let (uid, gid) = ids.split_once(':')?;
                Some(Ids { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
            }
        };
        let count: usize = arguments.next()?.to_str()?.parse().ok()?;
        let entrances: Vec<PathBuf> = arguments.by_ref().take(count).map(PathBuf::from).collect();
        let state = arguments.next()?.into();
        let (stores, many) = match arguments.next()?.to_str()? {
            "-" => (None, 0),
            many => {
                let many: usize = many.parse().ok()?;
                (Some(arguments.by_ref().take(many).map(PathBuf::from).collect::<Vec<_>>()), many)
            }
        };
        let whole = entrances.len() == count && stores.as_ref().is_none_or(|stores| stores.len() == many);
        let helper = arguments.next()?.into();
        whole.then(|| Self { user, entrances, state, preload: stores, helper, arguments: arguments.collect() })
    }
}

/// Runs as the start stage: standard input is the listening socket, output and error are the log. Returns only what failed.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Error {
    match Orders::from_arguments(arguments) {
        Some(orders) => carry_out(&orders).err().unwrap_or_else(|| Error::new(NAME, "run", "cannot happen")),
        None => Error::new(NAME, "read its orders", "they are incomplete").remedy("use `casemate up`"),
    }
}

fn carry_out(orders: &Orders) -> Result<std::convert::Infallible, Error> {
    let step = |name| move |errno| Error::new(NAME, name, errno);
    casemate_sys::inherited::keep_from_children()
        .map_err(|errno| Error::new(NAME, "mark inherited descriptors", errno))?;
    rustix::process::setsid().map_err(step("open a session"))?;
    rustix::process::chdir("/").map_err(step("change to /"))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // An ignored SIGCHLD outlives execve, and would have the kernel bury the containers before the helper knows how they ended.
    casemate_sys::signal::reset_all();
    never_spared().map_err(|error| Error::new(NAME, "give up being spared by the OOM killer", error))?;
    let socket = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), SOCKET).map_err(step("place the socket"))?;
    if rustix::fd::AsRawFd::as_raw_fd(&socket) != SOCKET {
        return Err(Error::new(NAME, "place the socket", "descriptor 3 is taken"));
    }
    rustix::io::fcntl_setfd(&socket, FdFlags::empty()).map_err(step("place the socket"))?;
    for entrance in &orders.entrances {
        std::fs::write(entrance, "0").map_err(|error| Error::at(entrance, "enter the cgroup", error))?;
    }
    if let Some(ids) = orders.user {
        privilege::become_helper(ids)?;
    }
    if let Some(stores) = &orders.preload {
        preload::link(&orders.state, stores)?;
    }
    let error = Command::new(&orders.helper).args(&orders.arguments).env_clear().stdin(Stdio::null()).exec();
    Err(Error::at(&orders.helper, "execute", error).remedy("install it beside `casemate`"))
}

/// What the caller is spared, as a service with `OOMScoreAdjust=-1000` is, its containers must not be: they would inherit it.
pub(super) fn never_spared() -> std::io::Result<()> {
    const SCORE: &str = "/proc/self/oom_score_adj";
    if std::fs::read_to_string(SCORE)?.starts_with('-') { std::fs::write(SCORE, "0") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_journey() {
        for (user, entrances) in [(None, vec![]), (Some(Ids { uid: 1, gid: 2 }), vec!["/a".into(), "/b".into()])] {
            for preload in [None, Some(vec![]), Some(vec!["/p".into(), "/q".into()])] {
                let arguments = vec!["--x".into(), "y".into()];
                let entrances = entrances.clone();
                let orders = Orders { user, entrances, state: "/s".into(), preload, helper: "/h".into(), arguments };
                assert_eq!(Orders::from_arguments(orders.to_arguments()), Some(orders));
            }
        }
        for bad in [
            &[][..],
            &["-"],
            &["1"],
            &["-", "1", "/h"],
            &["-", "x", "/s", "-", "/h"],
            &["a:b", "0", "/s", "-", "/h"],
            &["-", "0", "/s", "-"],
            &["-", "0", "/s", "x", "/h"],
            &["-", "0", "/s", "2", "/p", "/h"],
        ] {
            assert_eq!(Orders::from_arguments(bad.iter().map(OsString::from)), None, "{bad:?}");
        }
    }
}
