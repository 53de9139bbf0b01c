//! The directories of an instance: their paths, and their creation with the right owners.

use super::secure_path::{ensure_directory, is_empty, open_or_create, set_owner_and_mode, verify_directory};
use super::{Error, Identities, Ids};
use casemate_wire::Name;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, statat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The directories of an instance, and the read-only stores that it uses. Absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// Kept over a reboot: blobs, layers, images, volumes, revisions, logs.
    pub state: PathBuf,
    /// Gone after a reboot: sockets, locks, journals.
    pub run: PathBuf,
    /// Read-only image stores (`store.preload`), searched after the instance's own store; `None`: no file was read, so not known.
    pub read_only_stores: Option<Vec<PathBuf>>,
}

impl Directories {
    /// Without read-only stores.
    pub fn new(state: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Self {
        Self { state: state.into(), run: run.into(), read_only_stores: None }
    }

    /// The read-only stores.
    pub fn read_only_stores(&self) -> &[PathBuf] {
        self.read_only_stores.as_deref().unwrap_or_default()
    }

    /// The helper's listening socket.
    pub fn helper_socket(&self) -> PathBuf {
        self.run.join("helper.sock")
    }

    /// The manager's control socket.
    pub fn control_socket(&self) -> PathBuf {
        self.run.join("control.sock")
    }

    /// The helper's log.
    pub fn helper_log(&self) -> PathBuf {
        self.run.join("helper.log")
    }

    /// The log files of one container.
    pub fn logs(&self, container: &Name) -> PathBuf {
        self.state.join("logs").join(container.as_str())
    }

    /// The default directories: those of the system as root, of the XDG base directories as an ordinary user.
    pub fn defaults(root: bool, variable: impl Fn(&str) -> Option<PathBuf>) -> Option<Self> {
        if root {
            return Some(Self::new("/var/lib/casemate", "/run/casemate"));
        }
        let absolute = |name| variable(name).filter(|path| path.is_absolute());
        let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
        let run = absolute("XDG_RUNTIME_DIR");
        Some(Self::new(data?.join("casemate"), run?.join("casemate")))
    }

    /// Creates and checks all directories. Returns the run directory, open.
    pub(super) fn prepare(&self, identities: &Identities) -> Result<OwnedFd, Error> {
        let manager = identities.manager();
        let helper = identities.helper();
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
            let path = self.state.join(name);
            let name = OsStr::new(name);
            if caller == 0 || caller == owner.uid {
                ensure_directory(&state, &path, name, owner, 0o700)?;
            } else {
                verify_directory(&state, &path, name, owner, 0o700)?;
            }
        }
        self.run(identities)
    }

    /// The state directory. Started by root it stays root's, so that neither user can rename the other's directories: the helper opens
    /// layers by name.
    fn state(&self, identities: &Identities) -> Result<OwnedFd, Error> {
        let (owner, mode) = match identities {
            Identities::Service { .. } => (Ids::ROOT, 0o711),
            Identities::User(user) => (*user, 0o700),
        };
        let is_ours = |state: &OwnedFd| statat(state, "blobs", AtFlags::SYMLINK_NOFOLLOW).is_ok();
        create_or_reuse(&self.state, identities, owner, mode, is_ours)
    }

    /// The run directory: the manager's; the helper's group may pass.
    fn run(&self, identities: &Identities) -> Result<OwnedFd, Error> {
        let owner = Ids { uid: identities.manager().uid, gid: identities.helper().gid };
        let is_ours = |run: &OwnedFd| rustix::fs::fstat(run).is_ok_and(|stat| stat.st_uid == owner.uid);
        create_or_reuse(&self.run, identities, owner, 0o710, is_ours)
    }
}

/// Creates the directory, or uses an existing one that is empty or already an instance's.
fn create_or_reuse(
    path: &Path,
    identities: &Identities,
    owner: Ids,
    mode: u32,
    is_ours: impl Fn(&OwnedFd) -> bool,
) -> Result<OwnedFd, Error> {
    let traversable_by_others = matches!(identities, Identities::Service { .. });
    let (opened, created) = open_or_create(path, identities.manager(), traversable_by_others)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match rustix::fs::openat(&opened, ".", flags, Mode::empty()) {
        // Root's, mode 0711: the manager's user can pass and not list it.
        Err(Errno::ACCESS) if is_ours(&opened) => opened,
        readable => readable.map_err(|errno| Error::at(path, "open", errno))?,
    };
    if !created && !is_ours(&directory) && !is_empty(&directory, path)? {
        let reason = "it has files of something else than casemate";
        return Err(Error::at(path, "check", reason).remedy("name another directory, or an empty one"));
    }
    set_owner_and_mode(&directory, path, owner, mode)?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_systems_for_root_and_xdg_for_users() {
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
    fn threat_19_directories_have_their_owner_and_mode() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let base = tempfile::tempdir().unwrap();
        std::fs::set_permissions(base.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let directories = Directories::new(base.path().join("s"), base.path().join("r"));
        let identities = Identities::of_caller().unwrap();
        for _ in 0..2 {
            directories.prepare(&identities).unwrap();
        }
        let manager = identities.manager();
        let helper = identities.helper();
        let state = if manager == helper { manager } else { Ids::ROOT };
        for (path, uid, gid, mode) in [
            ("s", state.uid, state.gid, if manager == helper { 0o700 } else { 0o711 }),
            ("r", manager.uid, helper.gid, 0o710),
            ("s/blobs", manager.uid, manager.gid, 0o700),
            ("s/logs", manager.uid, manager.gid, 0o700),
            ("s/layers", helper.uid, helper.gid, 0o700),
            ("s/volumes", helper.uid, helper.gid, 0o700),
        ] {
            let found = std::fs::metadata(base.path().join(path)).unwrap();
            assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (uid, gid, mode), "{path}");
        }
        std::fs::remove_dir(base.path().join("s/roots")).unwrap();
        std::os::unix::fs::symlink("/", base.path().join("s/roots")).unwrap();
        assert!(directories.prepare(&identities).is_err());
    }

    #[test]
    fn directory_with_foreign_files_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root, which changes owners");
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
