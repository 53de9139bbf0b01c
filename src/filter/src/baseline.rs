//! What no payload may ever do, whatever profile came with its job: the helper stacks this under every container.
//!
//! A deny list, since the profile above it is the allow list: it holds where a profile of the user's own is too wide.
//! Conditions look at the low 32 bits of an argument wherever the kernel does.

use crate::Error;
use crate::Operator::{Equal, MaskedEqual, NotEqual};
use crate::tree::{Action, assemble};
use crate::{Condition, Operator, Program, table};
use std::collections::BTreeMap;

/// The namespaces that clone takes as flags. CLONE_NEWTIME shares its bit with the exit signal and is clone3's alone.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Denied to a payload whatever the arguments are; the steps before it need them.
const DENIED_TO_PAYLOADS: &[&str] = &[
    // The mount tree is the helper's work; nothing below the payload changes it (threat 3).
    "mount", "umount2", "pivot_root", "open_tree", "open_tree_attr", "move_mount", "fsopen", "fsconfig", "fsmount",
    "fspick", "mount_setattr", "statmount", "listmount",
    // Namespaces (threat 23). clone is decided by its flags, clone3 answers ENOSYS.
    "unshare", "setns", // Keys do not belong to a namespace (threat 22).
    "keyctl", "add_key", "request_key", "sethostname", "setdomainname",
];

/// Denied whatever the arguments are, to everything in A: to the helper and its children too.
const DENIED_TO_ALL: &[&str] = &[
    // Interfaces whose bugs have given kernel memory again and again (threat 25).
    "bpf", "perf_event_open", "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "vmsplice",
    "uretprobe", // Other processes' memory and descriptors.
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "pidfd_getfd", "kcmp",
    // Memory that the host cannot look into, and that is not charged as memory.
    "memfd_secret",
    // Open by handle walks out of any root (Shocker); fanotify watches whole mounts.
    "open_by_handle_at", "name_to_handle_at", "fanotify_init", "fanotify_mark", "lookup_dcookie",
    // The kernel and the machine.
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "swapon", "swapoff", "reboot",
    "acct", "syslog", "quotactl", "quotactl_fd", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "iopl",
    "ioperm", "modify_ldt", "vhangup", "nfsservctl",
    // Placement of other processes, and left-overs that no program uses.
    "move_pages", "migrate_pages", "_sysctl", "uselib", "ustat", "sysfs", "afs_syscall", "getpmsg", "putpmsg",
    "security", "tuxcall", "vserver", "epoll_ctl_old", "epoll_wait_old",
];

/// The baseline of containers; `chroot`: for those that hold CAP_SYS_CHROOT.
pub fn baseline(chroot: bool) -> Result<Program, Error> {
    assemble(baseline_actions(chroot)?, libc::SECCOMP_RET_ALLOW)
}

pub(super) fn baseline_actions(chroot: bool) -> Result<BTreeMap<u32, Action>, Error> {
    let mut actions = BTreeMap::new();
    let refused = if chroot { None } else { Some(&"chroot") };
    for name in DENIED_TO_ALL.iter().chain(DENIED_TO_PAYLOADS).chain(refused) {
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

/// What the helper gives itself, and so all that it starts, before it reads its first request.
pub fn outer() -> Result<Program, Error> {
    assemble(outer_actions()?, libc::SECCOMP_RET_ALLOW)
}

pub(super) fn outer_actions() -> Result<BTreeMap<u32, Action>, Error> {
    let mut actions = BTreeMap::new();
    for name in DENIED_TO_ALL {
        deny(&mut actions, name, Vec::new())?;
    }
    Ok(actions)
}

/// What the manager gives itself once its helper runs: it starts no program, and has no socket but local ones.
pub fn manager() -> Result<Program, Error> {
    assemble(manager_actions()?, libc::SECCOMP_RET_ALLOW)
}

pub(super) fn manager_actions() -> Result<BTreeMap<u32, Action>, Error> {
    let mut actions = BTreeMap::new();
    for name in DENIED_TO_ALL.iter().chain(DENIED_TO_PAYLOADS).chain(&["chroot", "execve", "execveat"]) {
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

/// All that the helper's listener calls once A is made; any other call ends it, and A with it.
pub fn listener() -> Result<Program, Error> {
    crate::allow_list(&[
        "accept4", "fcntl", "getsockopt", "sendmsg", "poll", "ppoll", "read", "write", "close", "waitid", "brk",
        "mmap", "munmap", "mremap", "madvise", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
        "futex", "restart_syscall", "exit", "exit_group",
    ])
}

/// Adds a name, denied when one of the rules fits, or always; one that this architecture does not have needs no rule.
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

/// A condition on the low 32 bits, which is what the kernel looks at in an `int`: high bits must not hide the value.
fn int(argument: u8, operator: Operator, value: u64) -> Condition {
    Condition { argument, bits32: true, operator, value }
}

/// One rule per namespace flag: any of them is enough.
fn clone_rules() -> Vec<Vec<Condition>> {
    let bit = |flag: i32| u64::from(flag.cast_unsigned());
    NAMESPACES.iter().map(|&flag| vec![int(0, MaskedEqual(bit(flag)), bit(flag))]).collect()
}

/// Device nodes, and with them overlayfs's whiteout (character device 0:0), which needs no capability. FIFOs stay.
fn mknod_rules(mode: u8) -> Vec<Vec<Condition>> {
    let kind = u64::from(libc::S_IFMT);
    [libc::S_IFCHR, libc::S_IFBLK].iter().map(|&node| vec![int(mode, MaskedEqual(kind), node.into())]).collect()
}

/// Only 0 (PER_LINUX) and the question 0xffffffff: ADDR_NO_RANDOMIZE and READ_IMPLIES_EXEC weaken the payload itself.
fn personality_rule() -> Vec<Condition> {
    vec![int(0, NotEqual, 0), int(0, NotEqual, 0xffff_ffff)]
}

/// Requests that type into a terminal; the kernel reads 32 bits (CVE-2017-5226, CVE-2019-10063, CVE-2023-28100).
fn ioctl_rules() -> Vec<Vec<Condition>> {
    [libc::TIOCSTI, libc::TIOCLINUX].iter().map(|&request| vec![int(1, Equal, request)]).collect()
}

/// Families outside the list (threat 24: AF_ALG, AF_VSOCK, AF_RXRPC and 40 more), and netlink but for NETLINK_ROUTE, which
/// getaddrinfo and getifaddrs use.
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
    fn every_name_is_known() {
        assert!(baseline(false).is_ok());
        assert!(baseline(true).unwrap().instructions().len() < baseline(false).unwrap().instructions().len());
    }
}
