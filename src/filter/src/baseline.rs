//! Built-in filters: the baseline of every container, and the filters of the helper and the manager.
//!
//! The helper installs the baseline below the profile of every container. It is a deny list; the profile is the allow list. A call
//! that the baseline denies stays denied when a user's own profile allows it. Conditions compare the low 32 bits of an argument
//! wherever the kernel does.

use crate::Error;
use crate::Operator::{Equal, MaskedEqual, NotEqual};
use crate::tree::{Action, assemble};
use crate::{Condition, Operator, Program, table};
use std::collections::BTreeMap;

/// Namespace flags of clone(2). CLONE_NEWTIME is not one of them: its bit lies in the exit signal, so only clone3 takes it.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Denied to payloads with any arguments; the container setup before execve needs these calls.
const DENIED_TO_PAYLOADS: &[&str] = &[
    // Only the container setup mounts; a payload cannot change its mount tree (threat 3).
    "mount", "umount2", "pivot_root", "open_tree", "open_tree_attr", "move_mount", "fsopen", "fsconfig", "fsmount",
    "fspick", "mount_setattr", "statmount", "listmount",
    // Namespaces (threat 23). clone is checked by its flags, clone3 fails with ENOSYS.
    "unshare", "setns", // Kernel keyrings do not belong to a namespace (threat 22).
    "keyctl", "add_key", "request_key", // The host name is set by the container setup.
    "sethostname", "setdomainname",
];

/// Denied with any arguments to every process in the outer user namespace (A): to the helper and its children too.
const DENIED_IN_OUTER: &[&str] = &[
    // Interfaces with a history of exploitable kernel bugs (threat 25).
    "bpf", "perf_event_open", "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "vmsplice",
    "uretprobe", // Memory and descriptors of other processes.
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "pidfd_getfd", "kcmp",
    // Memory outside the kernel's direct map, which the host cannot inspect.
    "memfd_secret",
    // Opening by handle leaves any root directory (the Shocker exploit); fanotify watches whole mounts.
    "open_by_handle_at", "name_to_handle_at", "fanotify_init", "fanotify_mark", "lookup_dcookie",
    // State of the kernel and of the whole machine.
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "swapon", "swapoff", "reboot",
    "acct", "syslog", "quotactl", "quotactl_fd", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "iopl",
    "ioperm", "modify_ldt", "vhangup", "nfsservctl",
    // Memory placement of other processes, and obsolete calls that no program uses.
    "move_pages", "migrate_pages", "_sysctl", "uselib", "ustat", "sysfs", "afs_syscall", "getpmsg", "putpmsg",
    "security", "tuxcall", "vserver", "epoll_ctl_old", "epoll_wait_old",
];

/// The baseline of a container. `chroot` allows chroot(2), for a container that holds CAP_SYS_CHROOT.
pub fn baseline(chroot: bool) -> Result<Program, Error> {
    assemble(baseline_actions(chroot)?, libc::SECCOMP_RET_ALLOW)
}

pub(super) fn baseline_actions(chroot: bool) -> Result<BTreeMap<u32, Action>, Error> {
    let mut actions = BTreeMap::new();
    let chroot_call = if chroot { None } else { Some(&"chroot") };
    for name in DENIED_IN_OUTER.iter().chain(DENIED_TO_PAYLOADS).chain(chroot_call) {
        deny(&mut actions, name, Vec::new())?;
    }
    deny(&mut actions, "clone", clone_rules())?;
    deny(&mut actions, "mknod", mknod_rules(1))?;
    deny(&mut actions, "mknodat", mknod_rules(2))?;
    deny(&mut actions, "personality", vec![personality_rule()])?;
    deny(&mut actions, "ioctl", ioctl_rules())?;
    deny(&mut actions, "socket", socket_rules())?;
    deny(&mut actions, "socketpair", vec![vec![int(0, NotEqual, family(libc::AF_UNIX))]])?;
    crate::tree::hide_clone3(&mut actions);
    Ok(actions)
}

/// The filter of every process in the outer user namespace (A): the helper installs it before it reads its first request, and every
/// process that it starts inherits it.
pub fn outer() -> Result<Program, Error> {
    assemble(outer_actions()?, libc::SECCOMP_RET_ALLOW)
}

pub(super) fn outer_actions() -> Result<BTreeMap<u32, Action>, Error> {
    let mut actions = BTreeMap::new();
    for name in DENIED_IN_OUTER {
        deny(&mut actions, name, Vec::new())?;
    }
    Ok(actions)
}

/// The filter of the manager, installed once its helper runs: no exec, and no sockets but AF_UNIX.
pub fn manager() -> Result<Program, Error> {
    assemble(manager_actions()?, libc::SECCOMP_RET_ALLOW)
}

pub(super) fn manager_actions() -> Result<BTreeMap<u32, Action>, Error> {
    let mut actions = BTreeMap::new();
    for name in DENIED_IN_OUTER.iter().chain(DENIED_TO_PAYLOADS).chain(&["chroot", "execve", "execveat"]) {
        deny(&mut actions, name, Vec::new())?;
    }
    deny(&mut actions, "clone", clone_rules())?;
    deny(&mut actions, "ioctl", ioctl_rules())?;
    for name in ["socket", "socketpair"] {
        deny(&mut actions, name, vec![vec![int(0, NotEqual, family(libc::AF_UNIX))]])?;
    }
    crate::tree::hide_clone3(&mut actions);
    Ok(actions)
}

/// The allow list of the helper's listener, once A is made. Any other call kills the listener, and with it every process in A.
pub fn listener() -> Result<Program, Error> {
    crate::allow_list(&[
        "accept4", "fcntl", "getsockopt", "sendmsg", "poll", "ppoll", "read", "write", "close", "waitid", "brk",
        "mmap", "munmap", "mremap", "madvise", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
        "futex", "restart_syscall", "exit", "exit_group",
    ])
}

/// Denies a call when all conditions of one of the rules hold, or always when there are no rules. A call that this architecture
/// does not have needs no rule.
fn deny(actions: &mut BTreeMap<u32, Action>, name: &str, rules: Vec<Vec<Condition>>) -> Result<(), Error> {
    let refuse = crate::errno(libc::EPERM);
    let action = if rules.is_empty() {
        Action::Always(refuse)
    } else {
        Action::When { rules, hit: refuse, miss: libc::SECCOMP_RET_ALLOW }
    };
    match table::lookup(name) {
        table::Lookup::Here(number) => {
            actions.insert(number, action);
            Ok(())
        }
        table::Lookup::Elsewhere => Ok(()),
        table::Lookup::Unknown => Err(Error::UnknownSystemCall(name.to_owned())),
    }
}

/// A condition on the low 32 bits: the kernel reads an `int`, so set high bits must not hide the value from the filter.
fn int(argument: u8, operator: Operator, value: u64) -> Condition {
    Condition { argument, bits32: true, operator, value }
}

/// One rule per namespace flag: a call with any of the flags is denied.
fn clone_rules() -> Vec<Vec<Condition>> {
    let bit = |flag: i32| u64::from(flag.cast_unsigned());
    NAMESPACES.iter().map(|&flag| vec![int(0, MaskedEqual(bit(flag)), bit(flag))]).collect()
}

/// Device nodes, and with them overlayfs's whiteout (character device 0:0), which needs no capability. FIFOs stay allowed.
fn mknod_rules(mode: u8) -> Vec<Vec<Condition>> {
    let kind = u64::from(libc::S_IFMT);
    [libc::S_IFCHR, libc::S_IFBLK].iter().map(|&node| vec![int(mode, MaskedEqual(kind), node.into())]).collect()
}

/// All but 0 (PER_LINUX) and 0xffffffff (read the present one): ADDR_NO_RANDOMIZE and READ_IMPLIES_EXEC weaken the payload itself.
fn personality_rule() -> Vec<Condition> {
    vec![int(0, NotEqual, 0), int(0, NotEqual, 0xffff_ffff)]
}

/// Requests that put input into a terminal; the kernel reads 32 bits (CVE-2017-5226, CVE-2019-10063, CVE-2023-28100).
fn ioctl_rules() -> Vec<Vec<Condition>> {
    [libc::TIOCSTI, libc::TIOCLINUX].iter().map(|&request| vec![int(1, Equal, request)]).collect()
}

/// Families outside the list (threat 24: AF_ALG, AF_VSOCK, AF_RXRPC and 40 more), and every netlink protocol but NETLINK_ROUTE,
/// which getaddrinfo and getifaddrs use.
fn socket_rules() -> Vec<Vec<Condition>> {
    let allowed = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    vec![
        allowed.iter().map(|&allowed| int(0, NotEqual, family(allowed))).collect(),
        vec![int(0, Equal, family(libc::AF_NETLINK)), int(2, NotEqual, u64::from(libc::NETLINK_ROUTE.unsigned_abs()))],
    ]
}

fn family(number: i32) -> u64 {
    number.unsigned_abs().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baseline_compiles_and_denies_chroot_without_the_capability() {
        assert!(baseline(false).is_ok());
        assert!(baseline(true).unwrap().instructions().len() < baseline(false).unwrap().instructions().len());
    }
}
