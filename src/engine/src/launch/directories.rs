//! Where an instance keeps its state and meets its callers: paths, and the directories made with the right owners.

use super::walk::{expect_directory, give, is_empty, open_or_make, own_directory};
use super::{Error, Identities, Ids};
use casemate_wire::Name;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, statat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The two directories of an instance, and those that it only reads. Absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// What outlives a boot: blobs, layers, images, volumes, revisions, logs.
    pub state: PathBuf,
    /// What ends with the boot: sockets, locks, journals.
    pub run: PathBuf,
    /// Stores of others that are looked into after the own one, and never written; `None`: not known, no file was given.
    pub preload: Option<Vec<PathBuf>>,
}

impl Directories {
    /// Without a store of others.
    pub fn new(state: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Self {
        Self { state: state.into(), run: run.into(), preload: None }
    }

    /// The stores of others.
    pub fn preloaded(&self) -> &[PathBuf] {
        self.preload.as_deref().unwrap_or_default()
    }

    /// The helper's listening socket.
    pub fn helper_socket(&self) -> PathBuf {
        self.run.join("helper.sock")
    }

    /// The manager's control socket.
    pub fn control_socket(&self) -> PathBuf {
        self.run.join("control.sock")
    }

    /// What the helper says.
    pub fn helper_log(&self) -> PathBuf {
        self.run.join("helper.log")
    }

    /// The log files of one container.
    pub fn logs(&self, container: &Name) -> PathBuf {
        self.state.join("logs").join(container.as_str())
    }

    /// The defaults: of the system as root, of the XDG base directories as an ordinary user.
    pub fn defaults(root: bool, variable: impl Fn(&str) -> Option<PathBuf>) -> Option<Self> {
        if root {
            return Some(Self::new("/var/lib/casemate", "/run/casemate"));
        }
        let absolute = |name| variable(name).filter(|path| path.is_absolute());
        let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
        let run = absolute("XDG_RUNTIME_DIR");
        Some(Self::new(data?.join("casemate"), run?.join("casemate")))
    }

    /// Makes and checks both, down to the directories that the programs expect. Gives the run directory, open.
    pub(super) fn prepare(&self, identities: &Identities) -> Result<OwnedFd, Error> {
        let (manager, helper) = (identities.manager(), identities.helper());
        let caller = rustix::process::geteuid().as_raw();
        let state = self.state(identities)?;
        for (name, owner) in [
            ("blobs", manager),
            ("images", manager),
            ("revisions", manager),
            ("logs", manager),
            ("layers", helper),
            ("volumes", helper),
            ("roots", helper),
        ] {
            let (shown, name) = (self.state.join(name), OsStr::new(name));
            if caller == 0 || caller == owner.uid {
                own_directory(&state, &shown, name, owner, 0o700)?;
            } else {
                expect_directory(&state, &shown, name, owner, 0o700)?;
            }
        }
        self.run(identities)
    }

    /// Both users pass through it. Started by root it stays root's, so that neither can move what belongs to the other: the
    /// helper takes layers by name.
    fn state(&self, identities: &Identities) -> Result<OwnedFd, Error> {
        let (owner, mode) = match identities {
            Identities::Service { .. } => (Ids::ROOT, 0o711),
            Identities::User(user) => (*user, 0o700),
        };
        let ours = |state: &OwnedFd| statat(state, "blobs", AtFlags::SYMLINK_NOFOLLOW).is_ok();
        top(&self.state, identities, owner, mode, ours)
    }

    /// The manager's, and the helper passes through it.
    fn run(&self, identities: &Identities) -> Result<OwnedFd, Error> {
        let owner = Ids { uid: identities.manager().uid, gid: identities.helper().gid };
        let ours = |run: &OwnedFd| rustix::fs::fstat(run).is_ok_and(|stat| stat.st_uid == owner.uid);
        top(&self.run, identities, owner, 0o710, ours)
    }
}

/// Makes the directory, or takes one that is empty or already an instance's.
fn top(
    path: &Path,
    identities: &Identities,
    owner: Ids,
    mode: u32,
    ours: impl Fn(&OwnedFd) -> bool,
) -> Result<OwnedFd, Error> {
    let others_pass = matches!(identities, Identities::Service { .. });
    let (walked, made) = open_or_make(path, identities.manager(), others_pass)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match rustix::fs::openat(&walked, ".", flags, Mode::empty()) {
        // Root's, and a manager that is no root has only to pass.
        Err(Errno::ACCESS) if ours(&walked) => walked,
        opened => opened.map_err(|errno| Error::at(path, "open", errno))?,
    };
    if !made && !ours(&directory) && !is_empty(&directory, path)? {
        let reason = "it has entries and is no instance of casemate";
        return Err(Error::at(path, "check", reason).remedy("name another directory, or an empty one"));
    }
    give(&directory, path, owner, mode)?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_follow_who_calls() {
        let of = |pairs: &'static [(&str, &str)]| {
            Directories::defaults(false, |name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value))
            })
        };
        assert_eq!(Directories::defaults(true, |_| None).unwrap().run, Path::new("/run/casemate"));
        let user = of(&[("HOME", "/home/u"), ("XDG_RUNTIME_DIR", "/run/user/1")]).unwrap();
        assert_eq!(user.state, Path::new("/home/u/.local/share/casemate"));
        assert_eq!(user.run, Path::new("/run/user/1/casemate"));
        let data = of(&[("HOME", "/home/u"), ("XDG_DATA_HOME", "/d"), ("XDG_RUNTIME_DIR", "/r")]).unwrap();
        assert_eq!(data.state, Path::new("/d/casemate"));
        assert_eq!(of(&[("HOME", "/home/u")]), None);
        assert_eq!(of(&[("HOME", "relative"), ("XDG_RUNTIME_DIR", "/r")]), None);
    }

    #[test]
    fn threat_19_every_directory_has_its_owner_and_mode() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let base = tempfile::tempdir().unwrap();
        std::fs::set_permissions(base.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let directories = Directories::new(base.path().join("s"), base.path().join("r"));
        let identities = Identities::of_caller().unwrap();
        for _ in 0..2 {
            directories.prepare(&identities).unwrap();
        }
        let (manager, helper) = (identities.manager(), identities.helper());
        // Root's, or the user's.
        let state = if manager == helper { manager } else { Ids::ROOT };
        for (path, uid, gid, mode) in [
            ("s", state.uid, state.gid, if manager == helper { 0o700 } else { 0o711 }),
            ("r", manager.uid, helper.gid, 0o710),
            ("s/blobs", manager.uid, manager.gid, 0o700),
            ("s/logs", manager.uid, manager.gid, 0o700),
            ("s/layers", helper.uid, helper.gid, 0o700),
            ("s/volumes", helper.uid, helper.gid, 0o700),
        ] {
            let is = std::fs::metadata(base.path().join(path)).unwrap();
            assert_eq!((is.uid(), is.gid(), is.mode() & 0o7777), (uid, gid, mode), "{path}");
        }
        std::fs::remove_dir(base.path().join("s/roots")).unwrap();
        std::os::unix::fs::symlink("/", base.path().join("s/roots")).unwrap();
        assert!(directories.prepare(&identities).is_err());
    }

    #[test]
    fn a_directory_full_of_other_things_is_not_taken() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: root owns what it makes and gives it away");
            return;
        }
        let base = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir()
            .unwrap();
        std::fs::write(base.path().join("file"), "").unwrap();
        let directories = Directories::new(base.path(), base.path().join("r"));
        assert!(directories.prepare(&Identities::of_caller().unwrap()).is_err());
    }
}
