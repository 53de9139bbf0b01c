//! `make bench`: figures of one run, ours beside the peers and the bare-kernel floor; a table, and target/bench.json.
//!
//! Nothing enters but this machine. Every figure is a median of interleaved rounds with its spread; a peer that is not
//! here is named in its row.
#![forbid(unsafe_code)]

mod agent;
mod bundle;
mod cgroup;
mod command;
mod failure;
mod floor;
mod measure;
mod recipe;
mod rootfs;
mod rows;
mod start;
mod tools;

use failure::{Failure, Result, Step};
use std::ffi::OsString;
use std::process::ExitCode;

/// The program: measures everything, or serves as an agent of itself.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let outcome = match arguments.split_first() {
        None => all(),
        Some((verb, rest)) if verb == "agent-command" => {
            agent::serve(&mut command::Timed::new(rest.to_vec()))
        }
        Some(_) => Err(Failure::new("casemate-bench", "it takes no arguments")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("casemate-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> Result<()> {
    let work =
        tempfile::Builder::new().prefix("casemate-bench-").tempdir_in("/var/tmp").step("make a directory")?;
    std::fs::set_permissions(work.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .step("chmod")?;
    let root = work.path().join("root");
    rootfs::make(&root, std::path::Path::new("/bin/busybox"))?;
    let job = hand_job();
    let setting =
        start::Setting { work: work.path(), job: &job, layers: &[root.clone()], root: &root, calls: &[] };
    let rows = start::rows(&setting, Err("not yet".into()))?;
    print!("{}", rows::table(&rows));
    Ok(())
}

fn hand_job() -> casemate_wire::Job {
    use casemate_wire::*;
    Job {
        name: Name::new("bench").unwrap_or_else(|_| unreachable!()),
        digest: Digest::from_bytes([0; 32]),
        layers: vec![],
        root: Root::ReadOnly,
        mounts: vec![Mount::Tmpfs {
            target: "/tmp".into(),
            size: 16 << 20,
            inodes: 4096,
            mode: 0o1777,
            exec: false,
        }],
        devices: vec![],
        shm_size: 64 << 20,
        proc: Proc {
            subset_pid: false,
            masked: [
                "kcore",
                "keys",
                "timer_list",
                "acpi",
                "scsi",
                "interrupts",
                "sysrq-trigger",
                "latency_stats",
                "asound",
            ]
            .map(|n| format!("/proc/{n}"))
            .to_vec(),
            read_only: ["bus", "fs", "irq", "sys"].map(|n| format!("/proc/{n}")).to_vec(),
        },
        sysfs: false,
        hostname: "bench".into(),
        files: ["hosts", "hostname", "resolv.conf"]
            .map(|n| (format!("/etc/{n}"), b"127.0.0.1 localhost\n".to_vec()))
            .to_vec(),
        sysctls: vec![],
        ids: Ids { uid: 1000, gid: 1000, groups: vec![] },
        process: Process { argv: vec![b"/bin/true".to_vec()], env: vec![], cwd: "/".into(), rlimits: vec![] },
        capabilities: vec![],
        landlock: Landlock { paths: vec![], bind_tcp: None, connect_tcp: None, scoped: true },
        seccomp: vec![],
        limits: Limits::Enforced(Resources {
            memory: Memory { max: 64 << 20, high: None, swap: 0 },
            pids: 64,
            cpu_quota: Some(100_000),
            cpu_weight: None,
            cpuset: None,
            io: vec![],
        }),
        init: false,
    }
}
