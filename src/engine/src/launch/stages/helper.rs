//! The stage before a helper that `casemate up` starts: leaves the caller's session, enters the helper's cgroups, switches to the
//! helper's user, links read-only layers, and executes `casemate-helper`.

use super::{Error, Ids, detach_from_caller, parse_ids, pass_stdin_as, reset_oom_score};
use crate::launch::{privilege, read_only_stores};
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// argv[0] of this stage.
pub const NAME: &str = "casemate-launch";
/// The descriptor of the helper's listening socket.
const SOCKET: i32 = 3;

/// The launch arguments, in this order on the command line: `uid:gid` or `-`, the number of cgroup files, these files, the state
/// directory, the number of read-only stores or `-`, these stores, the helper's path, its arguments.
#[derive(Debug, PartialEq, Eq)]
pub struct HelperArguments {
    /// The helper's user, where it is not the caller.
    pub user: Option<Ids>,
    /// `cgroup.procs` files of the cgroups to enter.
    pub cgroup_procs: Vec<PathBuf>,
    /// The state directory.
    pub state: PathBuf,
    /// Read-only stores whose layers are linked into the state directory; `None`: leave the links as they are.
    pub read_only_stores: Option<Vec<PathBuf>>,
    /// The path of casemate-helper.
    pub helper: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl HelperArguments {
    /// As a command line.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let ids = self.user.map_or("-".to_owned(), |ids| format!("{}:{}", ids.uid, ids.gid));
        let mut out: Vec<OsString> = vec![ids.into(), self.cgroup_procs.len().to_string().into()];
        out.extend(self.cgroup_procs.iter().map(OsString::from));
        out.push(self.state.clone().into());
        out.push(self.read_only_stores.as_ref().map_or("-".to_owned(), |stores| stores.len().to_string()).into());
        out.extend(self.read_only_stores.iter().flatten().map(OsString::from));
        out.push(self.helper.clone().into());
        out.extend(self.arguments.iter().cloned());
        out
    }

    /// From a command line.
    pub fn from_arguments(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut arguments = arguments.into_iter();
        let user = match arguments.next()?.to_str()? {
            "-" => None,
            ids => Some(parse_ids(ids)?),
        };
        let count: usize = arguments.next()?.to_str()?.parse().ok()?;
        let cgroup_procs: Vec<PathBuf> = arguments.by_ref().take(count).map(PathBuf::from).collect();
        let state = arguments.next()?.into();
        let (stores, store_count) = match arguments.next()?.to_str()? {
            "-" => (None, 0),
            count => {
                let count: usize = count.parse().ok()?;
                (Some(arguments.by_ref().take(count).map(PathBuf::from).collect::<Vec<_>>()), count)
            }
        };
        let complete = cgroup_procs.len() == count && stores.as_ref().is_none_or(|stores| stores.len() == store_count);
        let helper = arguments.next()?.into();
        complete.then(|| Self {
            user,
            cgroup_procs,
            state,
            read_only_stores: stores,
            helper,
            arguments: arguments.collect(),
        })
    }
}

/// Runs this stage; standard input is the listening socket, output and error are the log. Returns only on an error.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Error {
    match HelperArguments::from_arguments(arguments) {
        Some(arguments) => execute(&arguments).err().unwrap_or_else(|| Error::new(NAME, "run", "cannot happen")),
        None => Error::new(NAME, "read its arguments", "incomplete").remedy("use `casemate up`"),
    }
}

fn execute(arguments: &HelperArguments) -> Result<Infallible, Error> {
    detach_from_caller(NAME)?;
    reset_oom_score().map_err(|error| Error::new(NAME, "reset oom_score_adj", error))?;
    let _socket = pass_stdin_as(SOCKET, NAME)?;
    for procs in &arguments.cgroup_procs {
        std::fs::write(procs, "0").map_err(|error| Error::at(procs, "enter the cgroup", error))?;
    }
    if let Some(ids) = arguments.user {
        privilege::switch_to_helper_user(ids)?;
    }
    if let Some(stores) = &arguments.read_only_stores {
        read_only_stores::link_layers(&arguments.state, stores)?;
    }
    let error = Command::new(&arguments.helper).args(&arguments.arguments).env_clear().stdin(Stdio::null()).exec();
    Err(Error::at(&arguments.helper, "execute", error).remedy("install it beside `casemate`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_parsed_as_they_were_written() {
        for (user, cgroup_procs) in [(None, vec![]), (Some(Ids { uid: 1, gid: 2 }), vec!["/a".into(), "/b".into()])] {
            for read_only_stores in [None, Some(vec![]), Some(vec!["/p".into(), "/q".into()])] {
                let arguments = HelperArguments {
                    user,
                    cgroup_procs: cgroup_procs.clone(),
                    state: "/s".into(),
                    read_only_stores,
                    helper: "/h".into(),
                    arguments: vec!["--x".into(), "y".into()],
                };
                assert_eq!(HelperArguments::from_arguments(arguments.to_arguments()), Some(arguments));
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
            assert_eq!(HelperArguments::from_arguments(bad.iter().map(OsString::from)), None, "{bad:?}");
        }
    }
}
