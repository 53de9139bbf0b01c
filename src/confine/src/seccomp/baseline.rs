//! What no payload may ever do, whatever profile came with its job: the helper stacks this under every container.
//!
//! A deny list, since the profile above it is the allow list: it holds where a profile of the user's own is too wide.
//! Conditions look at the low 32 bits of an argument wherever the kernel does.

use super::{Program, prologue::prologue, rule, table};
use crate::Error;
use crate::ceiling::SYS_CHROOT;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule};
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

/// Denied with EPERM whatever the arguments are.
const DENIED: &[&str] = &[
    // The mount tree is the helper's work; nothing below the payload changes it (threat 3).
    "mount",
    "umount2",
    "pivot_root",
    "open_tree",
    "open_tree_attr",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "statmount",
    "listmount",
    // Namespaces (threat 23). clone is judged by its flags, clone3 answers ENOSYS.
    "unshare",
    "setns",
    // Keys do not belong to a namespace (threat 22).
    "keyctl",
    "add_key",
    "request_key",
    // Interfaces whose bugs have given kernel memory again and again (threat 25).
    "bpf",
    "perf_event_open",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "userfaultfd",
    "vmsplice",
    "uretprobe",
    // Other processes' memory and descriptors.
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "process_mrelease",
    "pidfd_getfd",
    "kcmp",
    // Memory that the host cannot look into, and that is not charged as memory.
    "memfd_secret",
    // Open by handle walks out of any root (Shocker); fanotify watches whole mounts.
    "open_by_handle_at",
    "name_to_handle_at",
    "fanotify_init",
    "fanotify_mark",
    "lookup_dcookie",
    // The kernel and the machine.
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "swapon",
    "swapoff",
    "reboot",
    "acct",
    "syslog",
    "quotactl",
    "quotactl_fd",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "iopl",
    "ioperm",
    "modify_ldt",
    "vhangup",
    "nfsservctl",
    "sethostname",
    "setdomainname",
    // Placement of other processes, and left-overs that no program uses.
    "move_pages",
    "migrate_pages",
    "_sysctl",
    "uselib",
    "ustat",
    "sysfs",
    "afs_syscall",
    "getpmsg",
    "putpmsg",
    "security",
    "tuxcall",
    "vserver",
    "epoll_ctl_old",
    "epoll_wait_old",
];

/// The baseline for a container that holds these capabilities.
pub fn baseline(capabilities: &[u8]) -> Result<Program, Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let chroot = if capabilities.contains(&SYS_CHROOT) { None } else { Some(&"chroot") };
    for name in DENIED.iter().chain(chroot) {
        deny(&mut rules, name, Vec::new())?;
    }
    deny(&mut rules, "clone", clone_rules()?)?;
    deny(&mut rules, "mknod", mknod_rules(1)?)?;
    deny(&mut rules, "mknodat", mknod_rules(2)?)?;
    deny(&mut rules, "personality", vec![personality_rule()?])?;
    deny(&mut rules, "ioctl", ioctl_rules()?)?;
    deny(&mut rules, "socket", socket_rules()?)?;
    deny(&mut rules, "socketpair", vec![rule(&[(0, true, Ne, family(libc::AF_UNIX))])?])?;
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, refuse, table::ARCH).map_err(super::backend)?;
    Program::joined(prologue(), BpfProgram::try_from(filter).map_err(super::backend)?)
}

/// Adds a name; one that this architecture does not have needs no rule.
fn deny(
    rules: &mut BTreeMap<i64, Vec<SeccompRule>>,
    name: &str,
    when: Vec<SeccompRule>,
) -> Result<(), Error> {
    match table::lookup(name) {
        table::Lookup::Here(number) => {
            rules.insert(number.into(), when);
            Ok(())
        }
        table::Lookup::Elsewhere => Ok(()),
        table::Lookup::Unknown => Err(Error::UnknownSystemCall(name.to_owned())),
    }
}

/// One rule per namespace flag: any of them is enough.
fn clone_rules() -> Result<Vec<SeccompRule>, Error> {
    let bit = |flag: i32| u64::from(flag.cast_unsigned());
    NAMESPACES.iter().map(|&flag| rule(&[(0, true, MaskedEq(bit(flag)), bit(flag))])).collect()
}

/// Device nodes, and with them overlayfs's whiteout (character device 0:0), which needs no capability. FIFOs stay.
fn mknod_rules(mode: u8) -> Result<Vec<SeccompRule>, Error> {
    let kind = u64::from(libc::S_IFMT);
    [libc::S_IFCHR, libc::S_IFBLK]
        .iter()
        .map(|&node| rule(&[(mode, true, MaskedEq(kind), node.into())]))
        .collect()
}

/// Only 0 (PER_LINUX) and the question 0xffffffff: ADDR_NO_RANDOMIZE and READ_IMPLIES_EXEC weaken the payload itself.
fn personality_rule() -> Result<SeccompRule, Error> {
    rule(&[(0, true, Ne, 0), (0, true, Ne, 0xffff_ffff)])
}

/// Requests that type into a terminal; the kernel reads 32 bits (CVE-2017-5226, CVE-2019-10063, CVE-2023-28100).
fn ioctl_rules() -> Result<Vec<SeccompRule>, Error> {
    [libc::TIOCSTI, libc::TIOCLINUX].iter().map(|&request| rule(&[(1, true, Eq, request)])).collect()
}

/// Families outside the list (threat 24: AF_ALG, AF_VSOCK, AF_RXRPC and 40 more), and netlink but for NETLINK_ROUTE, which
/// getaddrinfo and getifaddrs use.
fn socket_rules() -> Result<Vec<SeccompRule>, Error> {
    let allowed = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let outside: Vec<_> = allowed.iter().map(|&allowed| (0, true, Ne, family(allowed))).collect();
    Ok(vec![
        rule(&outside)?,
        rule(&[
            (0, true, Eq, family(libc::AF_NETLINK)),
            (2, true, Ne, u64::from(libc::NETLINK_ROUTE.unsigned_abs())),
        ])?,
    ])
}

fn family(number: i32) -> u64 {
    number.unsigned_abs().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known() {
        assert!(baseline(&[]).is_ok());
        assert!(
            baseline(&[SYS_CHROOT]).unwrap().instructions().len()
                < baseline(&[]).unwrap().instructions().len()
        );
    }
}
