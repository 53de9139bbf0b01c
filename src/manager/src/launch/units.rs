//! The helper of the units: systemd listens for it, starts it and ends it. The launcher only finds its socket.
//!
//! It lies beside the run directory, in one of root's: a manager that was taken over cannot put another thing in its place, which
//! systemd would then give away as root (systemd.socket(5), `SocketUser=` changes the owner by path).

use super::{Directories, Error, Identities};
use casemate_sys::socket::peer_credentials;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, Stat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const SOCKET: &str = "helper.sock";

/// The socket of casemate-helper.socket, checked.
#[derive(Debug)]
pub struct Units(PathBuf);

impl Units {
    /// The units' socket of this instance, where there is one.
    pub fn find(directories: &Directories, identities: &Identities) -> Result<Option<Self>, Error> {
        let Identities::Service { manager, .. } = identities else { return Ok(None) };
        let path = socket(directories);
        let house = path.parent().unwrap_or(&path);
        let (Some(around), Some(found)) = (status(house)?, status(&path)?) else { return Ok(None) };
        let roots = FileType::from_raw_mode(around.st_mode) == FileType::Directory && around.st_uid == 0;
        if !roots || around.st_mode & 0o022 != 0 {
            return Err(Error::at(house, "check", "not a directory that root alone can write").remedy(REPAIR));
        }
        let socket = FileType::from_raw_mode(found.st_mode) == FileType::Socket;
        if !socket || found.st_uid != manager.uid || found.st_mode & 0o077 != 0 {
            let reason = format!("not a socket of user {} alone", manager.uid);
            return Err(Error::at(&path, "check", reason).remedy(REPAIR));
        }
        Ok(Some(Self(path)))
    }

    /// The same, for whom nothing but it will do.
    pub fn expect(directories: &Directories, identities: &Identities) -> Result<Self, Error> {
        let missing = || Error::at(&socket(directories), "find the helper", "no such socket");
        Self::find(directories, identities)?.ok_or_else(|| missing().remedy("systemctl start casemate-helper.socket"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Connects. Who listens must be root, which systemd is: the kernel notes it at listen(2).
    pub fn connect(&self) -> Result<OwnedFd, Error> {
        let at = |step| move |errno: Errno| Error::at(&self.0, step, errno);
        let address = SocketAddrUnix::new(&self.0).map_err(at("name"))?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(at("open a socket"))?;
        rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))
            .map_err(at("connect"))
            .map_err(|error| error.remedy("systemctl start casemate-helper.socket"))?;
        match peer_credentials(&socket).map_err(at("ask who listens"))?.uid {
            0 => Ok(socket),
            uid => Err(Error::at(&self.0, "ask who listens", format!("user {uid}, not root")).remedy(REPAIR)),
        }
    }
}

const REPAIR: &str = "systemctl restart casemate-helper.socket makes it anew";

/// `<run directory>-helper/helper.sock`.
fn socket(directories: &Directories) -> PathBuf {
    let mut house = OsString::from(&directories.run);
    house.push("-helper");
    PathBuf::from(house).join(SOCKET)
}

fn status(path: &Path) -> Result<Option<Stat>, Error> {
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(Some(status)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::at(path, "stat", errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Ids, Range};
    use super::*;
    use std::fs::{Permissions, create_dir, set_permissions};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    #[test]
    fn threat_20_a_socket_that_others_could_have_placed_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: the units' directory is root's");
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let directories = Directories { state: base.path().join("state"), run: base.path().join("run") };
        let ids = |n| Ids { uid: n, gid: n };
        let range = Range { base: 70_000, count: 9 };
        let identities = Identities::Service { manager: ids(60_001), helper: ids(60_002), range };
        let found = || Units::find(&directories, &identities).map(|units| units.is_some());
        assert!(!found().unwrap());
        assert!(Units::expect(&directories, &identities).is_err());
        let house = base.path().join("run-helper");
        create_dir(&house).unwrap();
        assert!(!found().unwrap());
        let path = house.join("helper.sock");
        let address = SocketAddrUnix::new(&path).unwrap();
        let open = || rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
        let listener = open();
        rustix::net::bind(&listener, &address).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(found().is_err(), "root's own");
        chown(&path, Some(60_001), None).unwrap();
        assert!(found().unwrap());
        Units::expect(&directories, &identities).unwrap().connect().unwrap();
        for mode in [0o660, 0o606] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(found().is_err(), "{mode:o}");
        }
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        set_permissions(&house, Permissions::from_mode(0o777)).unwrap();
        assert!(found().is_err(), "a directory that others write");
        set_permissions(&house, Permissions::from_mode(0o755)).unwrap();
        chown(&house, Some(60_001), None).unwrap();
        assert!(found().is_err(), "a directory of the manager");
        chown(&house, Some(0), None).unwrap();
        std::fs::rename(&path, house.join("moved")).unwrap();
        symlink("moved", &path).unwrap();
        assert!(found().is_err(), "a link");
    }
}
