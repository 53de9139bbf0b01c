//! The helper and casemate-fetch as units: systemd listens for them, starts and ends them. The launcher only finds their sockets.
//!
//! A socket lies beside the run directory, in one of root's: a manager that was taken over cannot put another thing in its place, which
//! systemd would then give away as root (systemd.socket(5), `SocketUser=` changes the owner by path).

use super::{Directories, Error, Identities};
use casemate_sys::socket::peer_credentials;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, Stat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A service behind a socket of systemd's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// casemate-helper.
    Helper,
    /// casemate-fetch.
    Fetch,
}

impl Service {
    /// The socket's unit is `casemate-NAME.socket`.
    const fn name(self) -> &'static str {
        match self {
            Self::Helper => "helper",
            Self::Fetch => "fetch",
        }
    }

    /// `<run directory>-NAME/NAME.sock`.
    fn socket(self, directories: &Directories) -> PathBuf {
        let mut house = OsString::from(&directories.run);
        house.push(format!("-{}", self.name()));
        PathBuf::from(house).join(format!("{}.sock", self.name()))
    }

    fn repair(self) -> String {
        format!("systemctl restart casemate-{}.socket makes it anew", self.name())
    }

    fn start(self) -> String {
        format!("systemctl start casemate-{}.socket", self.name())
    }
}

/// A socket of systemd's, checked.
#[derive(Debug)]
pub struct Units {
    service: Service,
    path: PathBuf,
}

impl Units {
    /// The units' socket of this instance, where there is one.
    pub fn find(service: Service, directories: &Directories, identities: &Identities) -> Result<Option<Self>, Error> {
        let Identities::Service { manager, .. } = identities else { return Ok(None) };
        let path = service.socket(directories);
        let house = path.parent().unwrap_or(&path);
        let (Some(around), Some(found)) = (status(house)?, status(&path)?) else { return Ok(None) };
        let roots = FileType::from_raw_mode(around.st_mode) == FileType::Directory && around.st_uid == 0;
        if !roots || around.st_mode & 0o022 != 0 {
            return Err(Error::at(house, "check", "not a directory that root alone can write").remedy(service.repair()));
        }
        let socket = FileType::from_raw_mode(found.st_mode) == FileType::Socket;
        if !socket || found.st_uid != manager.uid || found.st_mode & 0o077 != 0 {
            let reason = format!("not a socket of user {} alone", manager.uid);
            return Err(Error::at(&path, "check", reason).remedy(service.repair()));
        }
        Ok(Some(Self { service, path }))
    }

    /// The helper's, for whom nothing but it will do.
    pub fn expect(directories: &Directories, identities: &Identities) -> Result<Self, Error> {
        let service = Service::Helper;
        let missing = || Error::at(&service.socket(directories), "find the helper", "no such socket");
        Self::find(service, directories, identities)?.ok_or_else(|| missing().remedy(service.start()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Connects. Who listens must be root, which systemd is: the kernel notes it at listen(2).
    pub fn connect(&self) -> Result<OwnedFd, Error> {
        let at = |step| move |errno: Errno| Error::at(&self.path, step, errno);
        let address = SocketAddrUnix::new(&self.path).map_err(at("name"))?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(at("open a socket"))?;
        rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))
            .map_err(at("connect"))
            .map_err(|error| error.remedy(self.service.start()))?;
        match peer_credentials(&socket).map_err(at("ask who listens"))?.uid {
            0 => Ok(socket),
            uid => {
                Err(Error::at(&self.path, "ask who listens", format!("user {uid}, not root"))
                    .remedy(self.service.repair()))
            }
        }
    }
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
        let directories = Directories::new(base.path().join("state"), base.path().join("run"));
        let ids = |n| Ids { uid: n, gid: n };
        let range = Range { base: 70_000, count: 9 };
        let identities = Identities::Service { manager: ids(60_001), helper: ids(60_002), fetch: ids(60_003), range };
        let found = || Units::find(Service::Helper, &directories, &identities).map(|units| units.is_some());
        assert!(!found().unwrap());
        assert!(Units::find(Service::Fetch, &directories, &identities).unwrap().is_none());
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
