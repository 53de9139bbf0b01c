//! What this program gives up before it reads its input. Enters: for `layer` every capability of the user namespace, for
//! `index` none. Leaves: the capabilities that writing a layer takes, and the system calls that either mode makes: no
//! program, process, socket, mount or device. Landlock is not used: what it could add, exec and device nodes, the filter denies,
//! and paths are bounded by the root that the process was given.

use crate::fail::system;
use casemate_confine::capabilities::{self, CapabilitySet};
use casemate_confine::seccomp;
use casemate_confine::{Error, process};
use casemate_filter::{Call, Condition, Operator, Otherwise, compile};
use casemate_wire::{Failure, FailureKind, LayerLimits};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, setrlimit};

/// Memory, touched or not: twice what budget, zstd window, buffers and the stacks of two threads take of it at most.
const MEMORY: u64 = 64 * 1024 * 1024;
/// Bytes of a list: a million entries with long names.
const LARGEST_LIST: u64 = 1 << 30;
/// One descriptor a level while a tree is removed.
const DESCRIPTORS: u64 = 1024;

/// Owner and mode of any file, whatever its owner and mode: what root in A needs for a layer and nothing else.
const LAYER_CAPABILITIES: CapabilitySet =
    CapabilitySet::CHOWN.union(CapabilitySet::FOWNER).union(CapabilitySet::DAC_OVERRIDE).union(CapabilitySet::FSETID);

/// Memory, threads, random keys of hash maps, reading the input, reporting the outcome, ending: both modes.
const COMMON: &[&str] = &[
    "read", "pread64", "write", "close", "fstat", "newfstatat", "statx", "fcntl", "mmap", "munmap", "mprotect",
    "mremap", "madvise", "brk", "futex", "getrandom", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
    "gettid", "getpid", "tgkill", "sched_yield", "clock_gettime", "restart_syscall", "exit", "exit_group",
];

/// Files below the root, by descriptor; a thread's first steps (glibc).
const LAYER: &[&str] = &[
    "openat", "openat2", "open", "getdents64", "lseek", "fchdir", "getcwd", "readlinkat", "mkdirat", "symlinkat",
    "linkat", "unlinkat", "pwrite64", "ftruncate", "fchmod", "fchown", "fchownat", "utimensat", "fsetxattr", "syncfs",
    "set_robust_list", "rseq", "prctl", "sched_getaffinity",
];

/// Files below the root, for reading.
const WALK: &[&str] = &["openat", "open", "getdents64", "readlinkat", "flistxattr", "fgetxattr"];

/// Before a layer.
pub fn for_layer(limits: &LayerLimits) -> Result<(), Failure> {
    common(limits.bytes)?;
    capabilities::keep_only(LAYER_CAPABILITIES).map_err(failed)?;
    // A layer's modes are its own; the mask would cut them.
    rustix::process::umask(Mode::empty());
    let mut calls = allowed(COMMON);
    calls.extend(allowed(LAYER));
    calls.push(thread());
    // Pipes and no device nodes.
    calls.push(conditional("mknodat", 2, Operator::MaskedEqual(libc_flags::S_IFMT), libc_flags::S_IFIFO));
    install(&calls)
}

/// Before a walk, which reads files of any owner and mode.
pub fn for_walk() -> Result<(), Failure> {
    common(LARGEST_LIST)?;
    capabilities::keep_only(CapabilitySet::DAC_OVERRIDE).map_err(failed)?;
    let mut calls = allowed(COMMON);
    calls.extend(allowed(WALK));
    install(&calls)
}

/// Before an index.
pub fn for_index() -> Result<(), Failure> {
    common(0)?;
    capabilities::drop_held().map_err(failed)?;
    install(&allowed(COMMON))
}

/// RLIMIT_NPROC is left alone: it counts all processes of the user, who has others. The filter knows no new process.
fn common(largest_file: u64) -> Result<(), Failure> {
    for (resource, limit) in [
        (Resource::Data, MEMORY),
        (Resource::Fsize, largest_file),
        (Resource::Nofile, DESCRIPTORS),
        (Resource::Core, 0),
    ] {
        // Lower limits that were there already stay.
        let old = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let new = Some(limit.min(old));
        setrlimit(resource, Rlimit { current: new, maximum: new }).map_err(|errno| Failure {
            kind: FailureKind::NotEnforceable,
            ..system("limit resources", b"self", errno)
        })?;
    }
    process::not_dumpable()
        .and_then(|()| process::new_session_keyring())
        .and_then(|()| process::no_new_privs())
        .map_err(failed)
}

fn allowed(names: &[&str]) -> Vec<Call> {
    names.iter().map(|name| Call { name: (*name).to_owned(), conditions: Vec::new() }).collect()
}

/// Threads and no processes.
fn thread() -> Call {
    let thread = u64::from((libc_flags::CLONE_VM | libc_flags::CLONE_THREAD).cast_unsigned());
    conditional("clone", 0, Operator::MaskedEqual(thread), thread)
}

fn conditional(name: &str, argument: u8, operator: Operator, value: u64) -> Call {
    Call { name: name.to_owned(), conditions: vec![Condition { argument, bits32: true, operator, value }] }
}

fn install(calls: &[Call]) -> Result<(), Failure> {
    let program = compile(calls, Otherwise::Kill).map_err(|error| failed(Error::not_enforceable(error)))?;
    seccomp::install_bytes(&program.to_bytes()).map_err(failed)
}

fn failed(error: Error) -> Failure {
    error.as_not_enforceable().in_step("confine")
}

/// Kernel constants, the same on every architecture. linux/sched.h, linux/stat.h.
mod libc_flags {
    pub const CLONE_VM: i32 = 0x100;
    pub const CLONE_THREAD: i32 = 0x1_0000;
    pub const S_IFMT: u64 = 0o170_000;
    pub const S_IFIFO: u64 = 0o010_000;
}
