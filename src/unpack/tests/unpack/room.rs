//! A room as the helper makes it: a user namespace with ids of its own, a mount namespace, the layer's directory or the
//! overlay of it and its parents as `/`, and the real program in it.

use casemate_sys::exec::{Strings, execve_descriptor};
use casemate_sys::namespace::{Kind, unshare};
use casemate_wire::{Digest, IdSpace, LayerLimits, UnpackOutcome, UnpackRequest, decode};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use sha2::{Digest as _, Sha256};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Unused host ids, for A in these tests.
const BASE: u32 = 1_900_000_000;
pub const COUNT: u32 = 65_535;
pub const LIMITS: LayerLimits = LayerLimits { bytes: 1 << 30, entries: 100_000, path: 4096, depth: 64, ratio: 1100 };

/// A directory of layers, with a canary outside.
pub struct Store {
    pub directory: tempfile::TempDir,
    pub ids: IdSpace,
    pub limits: LayerLimits,
    layers: Vec<PathBuf>,
}

impl Drop for Store {
    /// A layer may hold directories that their owner may not enter, which only root could remove.
    fn drop(&mut self) {
        let _ = Command::new("chmod").args(["-R", "u+rwX"]).arg(self.directory.path()).status();
    }
}

pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Store {
    /// With a range of ids as root, with one id as anybody else.
    pub fn new() -> Self {
        Self::with(if is_root() { IdSpace::Range { count: COUNT } } else { IdSpace::Single })
    }

    pub fn with(ids: IdSpace) -> Self {
        let directory = tempfile::Builder::new().prefix("unpack").tempdir().unwrap();
        let canary = directory.path().join("canary");
        fs::create_dir(&canary).unwrap();
        fs::write(canary.join("secret"), "untouched").unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory, ids, limits: LIMITS, layers: Vec::new() }
    }

    /// Unpacks a blob on top of what is there; a refused layer leaves the parents as they are.
    pub fn apply_blob(&mut self, blob: &[u8], diff_id: Digest) -> UnpackOutcome {
        let request = UnpackRequest {
            blob: sha256(blob),
            size: blob.len() as u64,
            diff_id,
            limits: self.limits,
            ids: self.ids,
            sync: false,
        };
        self.apply_request(blob, &request)
    }

    pub fn apply_request(&mut self, blob: &[u8], request: &UnpackRequest) -> UnpackOutcome {
        let number = self.layers.len();
        let base = self.directory.path().join(format!("layer{number}"));
        let _ = fs::remove_dir_all(&base);
        fs::create_dir(&base).unwrap();
        let path = base.join("blob");
        fs::write(&path, blob).unwrap();
        let outcome = self.run(&base, File::open(&path).unwrap(), request);
        self.check_canary();
        if outcome.is_ok() {
            self.layers.push(base);
        }
        outcome
    }

    /// A tar as it is.
    pub fn apply(&mut self, tar: &[u8]) -> UnpackOutcome {
        self.apply_blob(tar, sha256(tar))
    }

    /// The only layer's files, as the host sees them.
    pub fn first(&self) -> PathBuf {
        self.layers[0].join("fs")
    }

    /// What one layer holds itself, whiteouts and all.
    pub fn layer(&self, number: usize) -> PathBuf {
        self.layers[number].join("fs")
    }

    pub fn check_canary(&self) {
        let canary = self.directory.path().join("canary");
        let names: Vec<_> = fs::read_dir(&canary).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"]);
        assert_eq!(fs::read_to_string(canary.join("secret")).unwrap(), "untouched");
    }

    fn host_root(&self) -> u32 {
        if is_root() { BASE } else { rustix::process::geteuid().as_raw() }
    }

    fn run(&self, base: &Path, blob: File, request: &UnpackRequest) -> UnpackOutcome {
        let (bytes, _) = self.enter(
            base,
            blob,
            Path::new(env!("CARGO_BIN_EXE_casemate-unpack")),
            &["casemate-unpack", "layer", &request.to_argument().unwrap()],
        );
        decode(&bytes).unwrap_or_else(|_| panic!("no outcome in {} bytes", bytes.len()))
    }

    /// Runs a program with the merged view of all layers, written to `base`, as its root. Answers what it wrote.
    pub fn enter(&self, base: &Path, stdin: File, program: &Path, argv: &[&str]) -> (Vec<u8>, bool) {
        for name in ["fs", "work", "root"] {
            let path = base.join(name);
            if !path.exists() {
                fs::create_dir(&path).unwrap();
                if is_root() {
                    chown(&path, Some(BASE), Some(BASE)).unwrap();
                }
            }
        }
        if is_root() {
            chown(base, Some(BASE), Some(BASE)).unwrap();
        }
        let lower: Vec<_> = self.layers.iter().rev().map(|l| l.join("fs").display().to_string()).collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={},userxattr",
            lower.join(":"),
            base.join("fs").display(),
            base.join("work").display()
        );
        let options = (!lower.is_empty()).then(|| CString::new(options).unwrap());
        let place = if lower.is_empty() { base.join("fs") } else { base.join("root") };
        let program: OwnedFd = File::open(program).unwrap().into();
        let vectors = Vectors(Strings::new(argv).unwrap(), Strings::new::<&str>(&[]).unwrap());
        let mut mapped = io::pipe().unwrap();
        let mut ready = io::pipe().unwrap();
        let wait_mapped = mapped.0.try_clone().unwrap();
        let tell_ready = ready.1.try_clone().unwrap();
        let mut command = Command::new("/never");
        command.stdin(stdin).stdout(Stdio::piped());
        // SAFETY: the closure makes system calls only, on values that were prepared before the fork: it takes no lock and
        // allocates nothing.
        unsafe {
            command.pre_exec(move || {
                unshare(Kind::User)?;
                rustix::io::write(&tell_ready, &rustix::process::getpid().as_raw_nonzero().get().to_ne_bytes())?;
                rustix::io::read(&wait_mapped, &mut [0_u8])?;
                rustix::thread::set_thread_gid(rustix::fs::Gid::ROOT)?;
                rustix::thread::set_thread_uid(rustix::fs::Uid::ROOT)?;
                root_at(&place, options.as_ref())?;
                Err(vectors.execute(&program))
            })
        };
        let ids = match self.ids {
            IdSpace::Single => format!("0 {} 1\n", self.host_root()),
            IdSpace::Range { count } => format!("0 {BASE} 1\n1 {} {count}\n", BASE + 1),
        };
        let mapper = std::thread::spawn(move || {
            let mut pid = [0; 4];
            ready.0.read_exact(&mut pid).unwrap();
            let proc = PathBuf::from(format!("/proc/{}", i32::from_ne_bytes(pid)));
            fs::write(proc.join("setgroups"), "deny").unwrap();
            fs::write(proc.join("uid_map"), &ids).unwrap();
            fs::write(proc.join("gid_map"), &ids).unwrap();
            mapped.1.write_all(b"x").unwrap();
        });
        let child = command.spawn().unwrap();
        mapper.join().unwrap();
        let output = child.wait_with_output().unwrap();
        // Overlayfs leaves a directory of mode 0 that an ordinary user could not remove.
        let _ = fs::set_permissions(base.join("work/work"), fs::Permissions::from_mode(0o700));
        (output.stdout, output.status.success())
    }

    /// The merged view of all layers as a tar, made inside.
    pub fn merged(&self) -> Vec<u8> {
        let base = self.directory.path().join("view");
        let _ = fs::remove_dir_all(&base);
        fs::create_dir(&base).unwrap();
        let argv = ["busybox", "tar", "-c", "-f", "-", "."];
        let (bytes, good) = self.enter(&base, File::open("/dev/null").unwrap(), Path::new("/bin/busybox"), &argv);
        assert!(good, "tar of the merged view");
        bytes
    }
}

/// Makes the layer's directory, or its overlay, the whole file system.
fn root_at(place: &Path, overlay: Option<&CString>) -> io::Result<()> {
    unshare(Kind::Mount)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private)?;
    match overlay {
        Some(options) => {
            rustix::mount::mount("overlay", place, "overlay", MountFlags::empty(), options.as_c_str())?;
        }
        None => rustix::mount::mount_bind(place, place)?,
    }
    rustix::process::chdir(place)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

/// Argument vectors for the child of a fork.
struct Vectors(Strings, Strings);

// SAFETY: nothing changes the strings after they are made, and the pointers in them point to what they own.
unsafe impl Send for Vectors {}
// SAFETY: as above.
unsafe impl Sync for Vectors {}

impl Vectors {
    fn execute(&self, program: &OwnedFd) -> io::Error {
        execve_descriptor(program.as_fd(), &self.0, &self.1).into()
    }
}
