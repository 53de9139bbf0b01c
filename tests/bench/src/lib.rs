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
mod instance;
mod layout;
mod many;
mod measure;
mod ours;
mod recipe;
mod rootfs;
mod rows;
mod running;
mod start;
mod tools;
mod unified;
mod unpack;

use failure::{Failure, Result, Step};
use std::ffi::OsString;
use std::process::ExitCode;

/// The program: measures everything, or serves as an agent of itself.
pub fn main() -> ExitCode {
    use casemate_manager::launch::start_stage;
    if std::env::args_os().next().is_some_and(|name| name == start_stage::NAME) {
        eprintln!("{}", start_stage::run(std::env::args_os().skip(1)));
        return ExitCode::FAILURE;
    }
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let outcome = match arguments.split_first() {
        None => all(),
        Some((verb, rest)) if verb == "agent-command" => {
            agent::serve(&mut command::Timed::new(rest.to_vec()))
        }
        Some((verb, rest)) if verb == "agent-start" => agent_start(rest),
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
    tools::run(std::process::Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(work.path().join("layer.tar")).arg("."))?;
    let mut c = std::process::Command::new(std::env::current_exe().step("exe")?);
    c.arg("agent-start").arg(work.path());
    let ours = agent::Agent::start(&mut c)?;
    let setting =
        start::Setting { work: work.path(), job: &job, layers: &[root.clone()], root: &root, calls: &calls() };
    let rows = start::rows(&setting, Ok(Box::new(ours)))?;
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

fn calls() -> Vec<String> {
    casemate_manager::profile::SERVICE.lines().filter_map(|l| l.strip_prefix("calls = ")).flat_map(|l| serde_json::from_str::<Vec<String>>(l).unwrap_or_default()).collect()
}
fn agent_start(rest: &[OsString]) -> Result<()> {
    use casemate_wire::*;
    use casemate_manager::launch::*;
    let work = std::path::Path::new(&rest[0]);
    let blob = std::fs::File::open(work.join("layer.tar")).step("open")?;
    let size = blob.metadata().step("x")?.len();
    let sum = tools::run(std::process::Command::new("sha256sum").arg(work.join("layer.tar")))?;
    let digest = Digest::from_hex(&sum[..64]).step("hex")?;
    let session = enter(Directories { state: work.join("state"), run: work.join("run") }, Role::Client).step("enter")?;
    let (mut client, facts) = session.connect(true).step("connect")?;
    eprintln!("{facts:?}");
    let r = client.call(Request::Unpack(UnpackLayer { blob: digest, size, diff_id: digest, parents: vec![], chain_id: digest, limits: casemate_manager::image::Limits::default().layer }), &[std::os::fd::AsFd::as_fd(&blob)]).step("unpack")?;
    eprintln!("{:?}", r.0);
    let mut job = hand_job();
    job.layers = vec![digest];
    job.seccomp = casemate_manager::profile::compile(casemate_manager::profile::SERVICE).step("compile")?.to_bytes();
    let none = PathAccess { read: false, write: false, execute: false, ioctl_dev: false };
    job.landlock.paths = vec![
        PathRule { path: "/".into(), access: PathAccess { read: true, execute: true, ..none } },
        PathRule { path: "/tmp".into(), access: PathAccess { write: true, ..none } },
        PathRule { path: "/dev/shm".into(), access: PathAccess { write: true, ..none } },
    ];
    eprintln!("filter {} insns", job.seccomp.len() / 8);
    let mut starts = ours::Starts { client, job };
    agent::serve(&mut starts)?;
    session.leave(starts.client).step("leave")
}
