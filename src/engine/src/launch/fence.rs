//! The manager's own prison: its directories, its cgroups to clean up, local sockets, and no program to start.
//!
//! Enters: a manager that has started its helper and read its file. Leaves: a process that a hostile manifest, log line or
//! control request, should one take it over, finds without network, without other people's files and without exec.

use super::{Directories, Error};
use casemate_confine::{landlock, seccomp};
use casemate_wire::{Landlock, PathAccess, PathRule};
use std::path::Path;

/// Applies Landlock and seccomp to this thread, which is all of the process, for good. `file`: a directory that stays readable,
/// for whom the file in it is to be read again.
pub fn confine(directories: &Directories, file: Option<&Path>) -> Result<(), Error> {
    let failed = |step| move |error: casemate_confine::Error| Error::new("this process", step, error).not_enforceable();
    let rule = |path: &Path, write| PathRule {
        path: path.display().to_string(),
        access: PathAccess { read: true, write, ..PathAccess::default() },
    };
    let mut paths = vec![rule(&directories.state, true), rule(&directories.run, true), rule(Path::new("/proc"), false)];
    paths.extend(directories.preloaded().iter().map(|store| rule(store, false)));
    paths.extend(file.map(|directory| rule(directory, false)));
    // Only to take away what the helper leaves.
    let cgroups = Path::new("/sys/fs/cgroup");
    if cgroups.is_dir() {
        paths.push(rule(cgroups, true));
    }
    let rules = Landlock { paths, ..Landlock::default() };
    landlock::apply(&rules, None).map_err(failed("confine its files"))?;
    let filter = casemate_filter::manager().map_err(|error| Error::new("this process", "compile its filter", error))?;
    seccomp::install_bytes(&filter.to_bytes()).map_err(failed("confine its system calls"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn a_confined_manager_has_its_directories_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let mut directories = Directories::new(base.path().join("state"), base.path().join("run"));
        std::fs::create_dir(&directories.state).unwrap();
        std::fs::create_dir(&directories.run).unwrap();
        let lent = base.path().join("lent");
        std::fs::create_dir(&lent).unwrap();
        std::fs::write(lent.join("blob"), "lent").unwrap();
        directories.preload = Some(vec![lent.clone()]);
        let canary = base.path().join("canary");
        std::fs::write(&canary, "").unwrap();
        let house = base.path().join("etc");
        std::fs::create_dir(&house).unwrap();
        std::os::unix::fs::symlink(&canary, house.join("link")).unwrap();
        std::fs::write(house.join("file"), "old").unwrap();
        // Landlock and seccomp belong to a thread, so this one can be given up.
        std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            confine(&directories, Some(&house)).unwrap();
            std::fs::write(directories.state.join("mine"), "").unwrap();
            std::os::unix::net::UnixListener::bind(directories.run.join("socket")).unwrap();
            let denied = |result: std::io::Result<()>| result.unwrap_err().kind() == ErrorKind::PermissionDenied;
            assert!(denied(std::fs::read(&canary).map(drop)));
            assert!(denied(std::fs::read("/etc/passwd").map(drop)));
            assert_eq!(std::fs::read(house.join("file")).unwrap(), b"old");
            assert_eq!(std::fs::read_dir(&house).unwrap().count(), 2);
            assert!(denied(std::fs::read(house.join("link")).map(drop)));
            assert!(denied(std::fs::write(house.join("file"), "new")));
            assert!(denied(std::fs::write(house.join("other"), "")));
            assert_eq!(std::fs::read(lent.join("blob")).unwrap(), b"lent");
            assert!(denied(std::fs::write(lent.join("blob"), "new")));
            assert!(denied(std::fs::remove_file(lent.join("blob"))));
            assert!(denied(std::net::TcpListener::bind("127.0.0.1:0").map(drop)));
            assert!(denied(std::process::Command::new("/bin/true").spawn().map(drop)));
        })
        .join()
        .unwrap();
    }
}
