//! Landlock, asked by what a confined thread can still do. Needs a kernel with Landlock; without it a test says that it was
//! skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use casemate_confine::landlock::{abi, apply};
use casemate_confine::process;
use casemate_wire::{Landlock, PathAccess, PathRule};
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind::PermissionDenied;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

const READ: PathAccess = PathAccess { read: true, write: false, execute: false, ioctl_dev: false };
const WRITE: PathAccess = PathAccess { read: false, write: true, execute: false, ioctl_dev: false };
const EXECUTE: PathAccess = PathAccess { read: true, write: false, execute: true, ioctl_dev: false };

/// Runs the test on a thread below the rules.
fn below(rules: &Landlock, test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            process::no_new_privs().unwrap();
            apply(rules, None).unwrap();
            test();
        });
        thread.join().unwrap();
    });
}

fn has(needed: u32) -> bool {
    let there = abi() >= needed;
    if !there {
        println!("skipped: needs Landlock ABI {needed}, this kernel has {}", abi());
    }
    there
}

fn rule(path: impl AsRef<Path>, access: PathAccess) -> PathRule {
    PathRule { path: path.as_ref().to_str().unwrap().to_owned(), access }
}

#[test]
fn files_are_what_the_rules_say() {
    if !has(3) {
        return;
    }
    let room = tempfile::tempdir().unwrap();
    let [open, shut] = ["open", "shut"].map(|name| room.path().join(name));
    fs::create_dir(&open).unwrap();
    fs::create_dir(&shut).unwrap();
    fs::write(shut.join("file"), "text").unwrap();
    fs::write(room.path().join("alone"), "text").unwrap();
    std::os::unix::fs::symlink(&shut, open.join("way-out")).unwrap();
    let paths = vec![rule("/", READ), rule(&open, WRITE), rule(room.path().join("alone"), WRITE)];
    below(&Landlock { paths, ..Landlock::default() }, || {
        assert_eq!(fs::read_to_string(shut.join("file")).unwrap(), "text");
        fs::write(open.join("new"), "text").unwrap();
        fs::rename(open.join("new"), open.join("newer")).unwrap();
        fs::remove_file(open.join("newer")).unwrap();
        fs::write(room.path().join("alone"), "longer text").unwrap();
        let denied = [
            fs::write(shut.join("new"), "text"),
            fs::write(open.join("way-out/file"), "text"),
            fs::create_dir(shut.join("new")),
            fs::remove_file(shut.join("file")),
            fs::rename(shut.join("file"), shut.join("other")),
            OpenOptions::new().append(true).open(shut.join("file")).map(drop),
            File::options().write(true).truncate(true).open(shut.join("file")).map(drop),
            Command::new("/bin/true").status().map(drop),
        ];
        for (number, result) in denied.into_iter().enumerate() {
            assert_eq!(result.unwrap_err().kind(), PermissionDenied, "{number}");
        }
    });
    below(&Landlock { paths: vec![rule("/", EXECUTE)], ..Landlock::default() }, || {
        assert!(Command::new("/bin/true").status().unwrap().success());
    });
}

#[test]
fn program_is_executed_without_a_matching_rule() {
    if !has(1) {
        return;
    }
    // This test itself: it is linked static, so no loader has to be executed with it.
    let path = std::env::current_exe().unwrap();
    let program = File::open(&path).unwrap();
    std::thread::spawn(move || {
        process::no_new_privs().unwrap();
        apply(&Landlock { paths: vec![rule("/", READ)], ..Landlock::default() }, Some(program.as_fd())).unwrap();
        assert!(Command::new(path).args(["--list", "none"]).output().unwrap().status.success());
        assert_eq!(Command::new("/bin/true").status().unwrap_err().kind(), PermissionDenied);
    })
    .join()
    .unwrap();
}

#[test]
fn tcp_ports_are_a_list_where_one_is_asked_for() {
    if !has(4) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let everything = vec![rule("/", READ)];
    below(&Landlock { paths: everything.clone(), connect_tcp: Some(vec![port]), ..Landlock::default() }, || {
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        let other = if port == 65535 { 1024 } else { port + 1 };
        assert_eq!(TcpStream::connect(("127.0.0.1", other)).unwrap_err().kind(), PermissionDenied);
        TcpListener::bind("127.0.0.1:0").unwrap();
    });
    below(&Landlock { paths: everything, bind_tcp: Some(Vec::new()), ..Landlock::default() }, || {
        assert_eq!(TcpListener::bind("127.0.0.1:0").unwrap_err().kind(), PermissionDenied);
        TcpStream::connect(("127.0.0.1", port)).unwrap();
    });
}

#[test]
fn threat_20_abstract_sockets_outside_are_out_of_reach() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    if !has(6) {
        return;
    }
    let name = format!("casemate-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    UnixStream::connect_addr(&address).unwrap();
    below(&Landlock { paths: vec![rule("/", READ)], scoped: true, ..Landlock::default() }, || {
        assert_eq!(UnixStream::connect_addr(&address).unwrap_err().kind(), PermissionDenied);
    });
}

#[test]
fn rule_without_rights_is_an_error() {
    if !has(1) {
        return;
    }
    let rules = Landlock { paths: vec![rule("/no/such/path", READ)], ..Landlock::default() };
    let error = std::thread::spawn(move || apply(&rules, None)).join().unwrap().unwrap_err();
    assert!(error.to_string().starts_with("landlock rule for /no/such/path: "), "{error}");
    // A link of procfs could lead out of the tree.
    let rules = Landlock { paths: vec![rule("/proc/self/root", READ)], ..Landlock::default() };
    let error = std::thread::spawn(move || apply(&rules, None)).join().unwrap().unwrap_err();
    assert_eq!(error.in_step("landlock").errno, Some(rustix::io::Errno::LOOP.raw_os_error()));
}
