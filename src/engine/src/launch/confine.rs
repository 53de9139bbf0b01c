//! The manager confines itself: Landlock leaves its directories and cgroups, seccomp leaves local sockets and no execve.
//!
//! A compromised manager then has no network, no files of other programs and cannot execute anything.

use super::{Directories, Error};
use casemate_confine::{landlock, seccomp};
use casemate_wire::{Landlock, PathAccess, PathRule};
use std::path::Path;

/// Applies Landlock and seccomp to this thread, the only one of the process, for good. `readable`: one more directory that can be
/// read, where the file of a later reload lies.
pub fn confine(directories: &Directories, readable: Option<&Path>) -> Result<(), Error> {
    let failed = |step| move |error: casemate_confine::Error| Error::new("this process", step, error).not_enforceable();
    let rule = |path: &Path, write| PathRule {
        path: path.display().to_string(),
        access: PathAccess { read: true, write, ..PathAccess::default() },
    };
    let mut paths = vec![rule(&directories.state, true), rule(&directories.run, true), rule(Path::new("/proc"), false)];
    paths.extend(directories.read_only_stores().iter().map(|store| rule(store, false)));
    paths.extend(readable.map(|directory| rule(directory, false)));
    // To remove the cgroups that an ended helper left.
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
    fn confined_manager_can_use_its_directories_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let mut directories = Directories::new(base.path().join("state"), base.path().join("run"));
        std::fs::create_dir(&directories.state).unwrap();
        std::fs::create_dir(&directories.run).unwrap();
        let store = base.path().join("store");
        std::fs::create_dir(&store).unwrap();
        std::fs::write(store.join("blob"), "old").unwrap();
        directories.read_only_stores = Some(vec![store.clone()]);
        let canary = base.path().join("canary");
        std::fs::write(&canary, "").unwrap();
        let file_directory = base.path().join("etc");
        std::fs::create_dir(&file_directory).unwrap();
        std::os::unix::fs::symlink(&canary, file_directory.join("link")).unwrap();
        std::fs::write(file_directory.join("file"), "old").unwrap();
        // Landlock and seccomp apply to a thread: confine one of its own.
        std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            confine(&directories, Some(&file_directory)).unwrap();
            std::fs::write(directories.state.join("file"), "").unwrap();
            std::os::unix::net::UnixListener::bind(directories.run.join("socket")).unwrap();
            let denied = |result: std::io::Result<()>| result.unwrap_err().kind() == ErrorKind::PermissionDenied;
            assert!(denied(std::fs::read(&canary).map(drop)));
            assert!(denied(std::fs::read("/etc/passwd").map(drop)));
            assert_eq!(std::fs::read(file_directory.join("file")).unwrap(), b"old");
            assert_eq!(std::fs::read_dir(&file_directory).unwrap().count(), 2);
            assert!(denied(std::fs::read(file_directory.join("link")).map(drop)));
            assert!(denied(std::fs::write(file_directory.join("file"), "new")));
            assert!(denied(std::fs::write(file_directory.join("other"), "")));
            assert_eq!(std::fs::read(store.join("blob")).unwrap(), b"old");
            assert!(denied(std::fs::write(store.join("blob"), "new")));
            assert!(denied(std::fs::remove_file(store.join("blob"))));
            assert!(denied(std::net::TcpListener::bind("127.0.0.1:0").map(drop)));
            assert!(denied(std::process::Command::new("/bin/true").spawn().map(drop)));
        })
        .join()
        .unwrap();
    }
}
