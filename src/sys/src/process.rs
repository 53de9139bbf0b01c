//! New processes: clone3(2) used as fork, which puts the child into its namespaces and its cgroup and gives a pidfd.

use rustix::io::Result;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Proof that the process had one thread when it was counted. A program that holds this must never start another thread: in a child
/// forked from a process with several threads, a lock held by another thread stays locked for ever.
#[derive(Debug)]
pub struct SingleThreaded(());

impl SingleThreaded {
    /// Counts the threads.
    ///
    /// # Errors
    /// If procfs cannot be read, or there is more than one thread.
    pub fn prove() -> io::Result<Self> {
        match fs::read_dir("/proc/self/task")?.count() {
            1 => Ok(Self(())),
            _ => Err(io::Error::other("the process has more than one thread")),
        }
    }
}

/// Namespaces of a new process (clone(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespaces(u64);

impl Namespaces {
    /// User, pid, mount, net, ipc and uts.
    pub const WITH_USER: Self = Self(Self::ALL_BUT_USER.0 | libc::CLONE_NEWUSER as u64);
    /// Pid, mount, net, ipc and uts.
    pub const ALL_BUT_USER: Self = Self(
        (libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS) as u64,
    );
    /// No new namespace.
    pub const NONE: Self = Self(0);
}

/// CLONE_INTO_CGROUP of linux/sched.h; libc's constant has 32 bits only.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Result of [`fork`], in the child and in the caller.
#[derive(Debug)]
pub enum Fork {
    /// This is the new process.
    Child,
    /// This is the caller.
    Parent {
        /// The child's pid in the caller's pid namespace.
        pid: i32,
        /// A descriptor of the child (pidfd_open(2)).
        pidfd: OwnedFd,
    },
}

/// Forks with clone3(2): the child is a copy of this process in new namespaces and, if one is given, in that cgroup v2 directory.
///
/// # Errors
/// As clone3(2): EPERM and ENOSPC for namespaces, EACCES and EBUSY for the cgroup.
pub fn fork(_proof: &SingleThreaded, namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>) -> Result<Fork> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is plain integers, for which all bits zero is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = namespaces.0 | libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM and without a stack this is fork: the child continues with its own copy of this stack. The
    // process has one thread (the proof), so no lock of the copied memory is held by a thread that is not copied. The
    // kernel writes one int to `pidfd`, which outlives the call.
    let pid = crate::check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) })?;
    if pid == 0 {
        return Ok(Fork::Child);
    }
    // SAFETY: clone3 succeeded with CLONE_PIDFD, so `pidfd` is a descriptor that nothing else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Fork::Parent { pid: pid as i32, pidfd })
}

/// Forks a process whose parent is this one's parent (CLONE_PARENT). `None` in the new process, its pid in the caller.
///
/// # Errors
/// As clone3(2): EINVAL for the first process of a pid namespace, ENOMEM for a pid namespace that has ended.
pub fn fork_sibling(_proof: &SingleThreaded) -> Result<Option<i32>> {
    // SAFETY: clone_args is plain integers, for which all bits zero is a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    // The signal at its end is the caller's own.
    args.flags = libc::CLONE_PARENT as u64;
    // SAFETY: as in `fork`; the kernel writes nothing.
    let pid = crate::check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) })?;
    Ok((pid != 0).then_some(pid as i32))
}

/// Forks with fork(2), for processes whose seccomp filter refuses clone3: no namespaces and no pidfd. `None` in the child, the
/// child's pid in the caller.
///
/// # Errors
/// EAGAIN, ENOMEM.
pub fn fork_plain(_proof: &SingleThreaded) -> Result<Option<i32>> {
    // SAFETY: the process has one thread (the proof), so no lock in the child's copy of memory is held by another thread.
    let pid = crate::check(unsafe { libc::fork() }.into())?;
    Ok((pid != 0).then_some(pid as i32))
}

/// Ends this process at once with _exit(2): a forked child must not run the exit handlers that it copied from its parent.
pub fn exit_now(status: u8) -> ! {
    // SAFETY: _exit has no preconditions and does not return.
    unsafe { libc::_exit(i32::from(status)) }
}
