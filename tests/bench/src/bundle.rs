//! The same container for the peers: an OCI bundle for crun and runc, arguments for bwrap. All from the job that the helper
//! gets, so that nobody does less than is asked of the others where he can do it.

use crate::failure::{Result, Step};
use casemate_wire::{Job, Limits, Mount};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// What a runtime gets besides the job.
#[derive(Debug, Clone)]
pub struct Bundle<'a> {
    /// The directory that becomes the root; peers get the files ready, without an overlay to mount.
    pub root: &'a Path,
    /// First uid and gid of the range that the user namespace maps.
    pub base: u32,
    /// Set limits; false where the runtime sees a cgroup tree without controllers.
    pub limits: bool,
    /// System calls that the profile allows.
    pub calls: &'a [String],
    /// Terminal-less process to run instead of the job's.
    pub argv: &'a [&'a str],
    /// Its cgroup.
    pub cgroup: &'a str,
}

/// Writes `config.json` for this job into a new directory.
pub fn write(directory: &Path, job: &Job, bundle: &Bundle<'_>) -> Result<()> {
    fs::create_dir_all(directory).step(format_args!("make {}", directory.display()))?;
    let text = config(job, bundle).to_string();
    fs::write(directory.join("config.json"), text).step("write config.json")
}

fn config(job: &Job, bundle: &Bundle<'_>) -> Value {
    let map = json!([{ "containerID": 0, "hostID": bundle.base, "size": 65536 }]);
    let namespaces = ["pid", "mount", "network", "ipc", "uts", "cgroup", "user"].map(|kind| json!({ "type": kind }));
    let mut linux = json!({
        "namespaces": namespaces,
        "uidMappings": map,
        "gidMappings": map,
        "maskedPaths": job.rootfs.proc.masked,
        "readonlyPaths": job.rootfs.proc.read_only,
        "cgroupsPath": bundle.cgroup,
    });
    if let Some(linux) = linux.as_object_mut() {
        if let (Limits::Enforced(resources), true) = (&job.limits, bundle.limits) {
            let resources = json!({
                "memory": { "limit": resources.memory.max },
                "pids": { "limit": resources.pids },
                "cpu": { "quota": resources.cpu_quota, "period": 100_000 },
            });
            linux.insert("resources".into(), resources);
        }
        if !bundle.calls.is_empty() {
            let rule = json!([{ "names": bundle.calls, "action": "SCMP_ACT_ALLOW" }]);
            let seccomp =
                json!({ "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rule });
            linux.insert("seccomp".into(), seccomp);
        }
    }
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": bundle.root, "readonly": true },
        "hostname": job.network.hostname,
        "process": {
            "terminal": false,
            "user": { "uid": job.confinement.ids.uid, "gid": job.confinement.ids.gid },
            "args": bundle.argv,
            "env": ["PATH=/bin"],
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": { "bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": [] },
        },
        "mounts": mounts(job),
        "linux": linux,
    })
}

fn mounts(job: &Job) -> Vec<Value> {
    let mount = |target: &str, kind: &str, options: &[&str]| json!({ "destination": target, "type": kind, "source": kind, "options": options });
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "nodev", "noexec"]),
        mount("/dev", "tmpfs", &["nosuid", "noexec", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
    ];
    let tmpfs = |target: &str, size: u64| {
        mount(target, "tmpfs", &["nosuid", "nodev", "noexec", "mode=1777", &format!("size={size}")])
    };
    mounts.push(tmpfs("/dev/shm", job.rootfs.shm_size));
    for entry in &job.rootfs.mounts {
        if let Mount::Tmpfs { target, size, .. } = entry {
            mounts.push(tmpfs(target, *size));
        }
    }
    mounts
}

/// bwrap's arguments for the same container. It has no cgroup limits and no masks; the filter comes on standard input.
pub fn bwrap(program: &Path, job: &Job, root: &Path) -> Vec<OsString> {
    let uid = job.confinement.ids.uid.to_string();
    let gid = job.confinement.ids.gid.to_string();
    let mut argv: Vec<OsString> = vec![program.into()];
    let flags = ["--unshare-all", "--new-session", "--die-with-parent", "--clearenv", "--cap-drop", "ALL"];
    argv.extend(flags.map(OsString::from));
    if !job.confinement.seccomp.is_empty() {
        argv.extend(["--seccomp", "0"].map(OsString::from));
    }
    for pair in [["--uid", &uid], ["--gid", &gid], ["--hostname", &job.network.hostname], ["--chdir", "/"]] {
        argv.extend(pair.map(OsString::from));
    }
    argv.extend([OsString::from("--ro-bind"), root.into(), "/".into()]);
    argv.extend(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm"].map(OsString::from));
    for entry in &job.rootfs.mounts {
        if let Mount::Tmpfs { target, .. } = entry {
            argv.extend(["--tmpfs".into(), OsString::from(target)]);
        }
    }
    argv.push("/bin/true".into());
    argv
}
