//! The confinement of the program before its first byte of input, as the kernel reports it.

use crate::craft::Tar;
use crate::room::{Store, sha256};
use casemate_wire::UnpackRequest;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The process that was started with this argument, once it waits in a read of its input.
fn waiting(argument: &str) -> PathBuf {
    for _ in 0..600 {
        for entry in fs::read_dir("/proc").unwrap() {
            let path = entry.unwrap().path();
            let named =
                fs::read(path.join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(argument));
            if named && fs::read_dir(path.join("task")).is_ok_and(|tasks| tasks.count() == 2) {
                return path;
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("casemate-unpack did not start to read");
}

#[test]
fn threat_06_both_threads_are_confined_before_the_first_byte() {
    let store = Store::new();
    let tar = Tar::new().file("a", "x").end();
    // Unlike any other test's, so that the process can be reported from theirs.
    let size = 1_000_000 + u64::from(std::process::id());
    let request = UnpackRequest {
        blob: sha256(&tar),
        size,
        diff_id: sha256(b"confined"),
        limits: store.limits,
        ids: store.ids,
        sync: false,
    };
    let argument = request.to_argument().unwrap();
    let (blob, mut feed) = std::io::pipe().unwrap();
    let base = store.directory.path().join("confined");
    fs::create_dir(&base).unwrap();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let program = Path::new(env!("CARGO_BIN_EXE_casemate-unpack"));
            store.enter(&base, File::from(OwnedFd::from(blob)), program, &["casemate-unpack", "layer", &argument])
        });
        for task in fs::read_dir(waiting(&argument).join("task")).unwrap() {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let value = |key: &str| {
                let line = status.lines().find(|line| line.starts_with(key)).unwrap_or_default();
                line.split_whitespace().nth(1).unwrap_or_default().to_owned()
            };
            assert_eq!((value("NoNewPrivs:"), value("Seccomp:")), ("1".into(), "2".into()));
            // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, FSETID 4.
            assert_eq!((value("CapEff:"), value("CapPrm:")), ("000000000000001b".into(), "000000000000001b".into()));
            for set in ["CapInh:", "CapBnd:", "CapAmb:"] {
                assert_eq!(value(set), "0000000000000000", "{set}");
            }
        }
        feed.write_all(&tar).unwrap();
        drop(feed);
        let (bytes, good) = run.join().unwrap();
        assert!(!good);
        let outcome: casemate_wire::UnpackOutcome = casemate_wire::decode(&bytes).unwrap();
        assert_eq!(outcome.unwrap_err().step, "check blob");
    });
}

/// A layer appears by rename and is never proven again, so its content has to be on the disk before the outcome is reported.
#[test]
fn layer_is_synced_before_it_is_reported() {
    if !crate::room::is_root() || !Path::new("/usr/bin/strace").exists() {
        assert!(std::env::var_os("CI").is_none(), "needs root and strace");
        println!("skipped: needs root and strace");
        return;
    }
    let store = Store::new();
    let tar = Tar::new().file("a", &format!("synced {}", std::process::id())).end();
    let request = UnpackRequest {
        blob: sha256(&tar),
        size: tar.len() as u64,
        diff_id: sha256(&tar),
        limits: store.limits,
        ids: store.ids,
        sync: true,
    };
    let argument = request.to_argument().unwrap();
    let (blob, mut feed) = std::io::pipe().unwrap();
    let base = store.directory.path().join("synced");
    let calls = store.directory.path().join("calls");
    fs::create_dir(&base).unwrap();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let program = Path::new(env!("CARGO_BIN_EXE_casemate-unpack"));
            let argv = ["casemate-unpack", "layer", &argument];
            store.enter(&base, File::from(OwnedFd::from(blob)), program, &argv)
        });
        let process = waiting(&argument);
        let pid = process.file_name().unwrap().to_str().unwrap();
        let mut tracer = Command::new("/usr/bin/strace")
            .args(["-f", "-e", "trace=syncfs,write", "-p", pid, "-o"])
            .arg(&calls)
            .spawn()
            .unwrap();
        let traced = |task: fs::DirEntry| {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            !status.contains("TracerPid:\t0\n")
        };
        while !fs::read_dir(process.join("task")).unwrap().all(|task| traced(task.unwrap())) {
            assert!(tracer.try_wait().unwrap().is_none(), "strace did not attach");
            std::thread::sleep(Duration::from_millis(20));
        }
        feed.write_all(&tar).unwrap();
        drop(feed);
        assert!(run.join().unwrap().1);
        tracer.wait().unwrap();
    });
    let calls = fs::read_to_string(calls).unwrap();
    let synced = calls.lines().position(|line| line.contains("syncfs(") && line.contains("= 0"));
    let reported = calls.lines().position(|line| line.contains("write(1,"));
    assert!(synced.is_some() && synced < reported, "{calls}");
}
