//! The sockets of casemate-helper and casemate-fetch where systemd runs them: it listens, starts and stops these services.
//!
//! Each socket is in a directory of root's beside the run directory: a compromised manager cannot replace it by another file, whose owner
//! systemd would then change as root (systemd.socket(5), `SocketUser=` works by path).

use super::{Directories, Error, Identities};
use casemate_sys::socket::peer_credentials;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, Stat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A socket-activated service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// casemate-helper.service.
    Helper,
    /// casemate-fetch.service.
    Fetch,
}

impl Service {
    /// NAME in `casemate-NAME.socket`.
    const fn name(self) -> &'static str {
        match self {
            Self::Helper => "helper",
            Self::Fetch => "fetch",
        }
    }

    /// `<run directory>-NAME/NAME.sock`.
    fn socket(self, directories: &Directories) -> PathBuf {
        let mut directory = OsString::from(&directories.run);
        directory.push(format!("-{}", self.name()));
        PathBuf::from(directory).join(format!("{}.sock", self.name()))
    }

    fn recreate_remedy(self) -> String {
        format!("systemctl restart casemate-{}.socket creates it again", self.name())
    }

    fn start_remedy(self) -> String {
        format!("systemctl start casemate-{}.socket", self.name())
    }
}

/// A checked socket of systemd's.
#[derive(Debug)]
pub struct SystemdSocket {
    service: Service,
    path: PathBuf,
}

impl SystemdSocket {
    /// The socket of this instance's service, if there is one.
    pub fn find(service: Service, directories: &Directories, identities: &Identities) -> Result<Option<Self>, Error> {
        let Identities::Service { manager, .. } = identities else { return Ok(None) };
        let path = service.socket(directories);
        let directory = path.parent().unwrap_or(&path);
        let (Some(directory_stat), Some(stat)) = (stat_at(directory)?, stat_at(&path)?) else { return Ok(None) };
        let is_roots =
            FileType::from_raw_mode(directory_stat.st_mode) == FileType::Directory && directory_stat.st_uid == 0;
        if !is_roots || directory_stat.st_mode & 0o022 != 0 {
            return Err(Error::at(directory, "check", "not a directory that only root can write")
                .remedy(service.recreate_remedy()));
        }
        let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
        if !is_socket || stat.st_uid != manager.uid || stat.st_mode & 0o077 != 0 {
            let reason = format!("not a socket that only user {} can open", manager.uid);
            return Err(Error::at(&path, "check", reason).remedy(service.recreate_remedy()));
        }
        Ok(Some(Self { service, path }))
    }

    /// The helper's socket; an error if there is none.
    pub fn require_helper(directories: &Directories, identities: &Identities) -> Result<Self, Error> {
        let service = Service::Helper;
        let missing = || Error::at(&service.socket(directories), "find the helper", "no such socket");
        Self::find(service, directories, identities)?.ok_or_else(|| missing().remedy(service.start_remedy()))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Connects. The listener must be root, as systemd is: SO_PEERCRED holds the uid of listen(2).
    pub fn connect(&self) -> Result<OwnedFd, Error> {
        let at = |step| move |errno: Errno| Error::at(&self.path, step, errno);
        let address = SocketAddrUnix::new(&self.path).map_err(at("name"))?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(at("open a socket"))?;
        rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))
            .map_err(at("connect"))
            .map_err(|error| error.remedy(self.service.start_remedy()))?;
        match peer_credentials(&socket).map_err(at("read the listener's uid"))?.uid {
            0 => Ok(socket),
            uid => Err(Error::at(&self.path, "check the listener", format!("user {uid}, not root"))
                .remedy(self.service.recreate_remedy())),
        }
    }
}

fn stat_at(path: &Path) -> Result<Option<Stat>, Error> {
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
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
    fn threat_20_socket_that_another_user_could_have_made_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root, who owns the socket's directory");
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let directories = Directories::new(base.path().join("state"), base.path().join("run"));
        let ids = |n| Ids { uid: n, gid: n };
        let range = Range { base: 70_000, count: 9 };
        let identities = Identities::Service { manager: ids(60_001), helper: ids(60_002), fetch: ids(60_003), range };
        let found = || SystemdSocket::find(Service::Helper, &directories, &identities).map(|socket| socket.is_some());
        assert!(!found().unwrap());
        assert!(SystemdSocket::find(Service::Fetch, &directories, &identities).unwrap().is_none());
        assert!(SystemdSocket::require_helper(&directories, &identities).is_err());
        let directory = base.path().join("run-helper");
        create_dir(&directory).unwrap();
        assert!(!found().unwrap());
        let path = directory.join("helper.sock");
        let address = SocketAddrUnix::new(&path).unwrap();
        let open = || rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
        let listener = open();
        rustix::net::bind(&listener, &address).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(found().is_err(), "root's own");
        chown(&path, Some(60_001), None).unwrap();
        assert!(found().unwrap());
        SystemdSocket::require_helper(&directories, &identities).unwrap().connect().unwrap();
        for mode in [0o660, 0o606] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(found().is_err(), "{mode:o}");
        }
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
        assert!(found().is_err(), "a directory that others write");
        set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        chown(&directory, Some(60_001), None).unwrap();
        assert!(found().is_err(), "a directory of the manager");
        chown(&directory, Some(0), None).unwrap();
        std::fs::rename(&path, directory.join("moved")).unwrap();
        symlink("moved", &path).unwrap();
        assert!(found().is_err(), "a link");
    }
}
