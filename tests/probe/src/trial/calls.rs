//! The calls that no payload needs (threats 21 to 25), with arguments.

use super::Trial;

/// A descriptor that is not open.
const NONE: u64 = u64::MAX;
/// An address that is never mapped.
const NOWHERE: u64 = 8;

const NAMESPACES: [(&str, i32); 8] = [
    ("CLONE_NEWUSER", libc::CLONE_NEWUSER),
    ("CLONE_NEWNS", libc::CLONE_NEWNS),
    ("CLONE_NEWPID", libc::CLONE_NEWPID),
    ("CLONE_NEWNET", libc::CLONE_NEWNET),
    ("CLONE_NEWIPC", libc::CLONE_NEWIPC),
    ("CLONE_NEWUTS", libc::CLONE_NEWUTS),
    ("CLONE_NEWCGROUP", libc::CLONE_NEWCGROUP),
    // linux/sched.h; only unshare and clone3 take it.
    ("CLONE_NEWTIME", 0x80),
];

// Numbers that the libc crate does not have yet; they are the same on every architecture.
const STATMOUNT: i64 = 457;
const LISTMOUNT: i64 = 458;

/// The whole table.
pub fn table() -> Vec<Trial> {
    let mut all = namespaces();
    all.extend(mounts());
    all.extend(other_processes());
    all.extend(kernel_surface());
    all.extend(machine());
    all.extend(terminal());
    all
}

fn flag(value: i32) -> u64 {
    u64::from(value.unsigned_abs())
}

fn namespaces() -> Vec<Trial> {
    let mut all = vec![
        Trial::new("setns(-1)", libc::SYS_setns, &[NONE, 0]),
        Trial::new("clone3", libc::SYS_clone3, &[0, 0]),
        Trial::new("unknown call 1000", 1000, &[]),
    ];
    for (name, value) in NAMESPACES {
        all.push(Trial::new(format!("unshare({name})"), libc::SYS_unshare, &[flag(value)]));
        // In clone's flags the bit of CLONE_NEWTIME is part of the exit signal.
        if name != "CLONE_NEWTIME" {
            let flags = flag(value) | flag(libc::SIGCHLD);
            all.push(Trial::new(format!("clone({name})"), libc::SYS_clone, &[flags]));
            let high = flags | 1 << 40;
            all.push(Trial::new(format!("clone({name}, high bits set)"), libc::SYS_clone, &[high]));
        }
    }
    all
}

fn mounts() -> Vec<Trial> {
    vec![
        Trial::new("mount", libc::SYS_mount, &[NOWHERE, NOWHERE, NOWHERE, 0, 0]),
        Trial::new("umount2", libc::SYS_umount2, &[NOWHERE, 0]),
        Trial::new("pivot_root", libc::SYS_pivot_root, &[NOWHERE, NOWHERE]),
        Trial::new("chroot", libc::SYS_chroot, &[NOWHERE]),
        Trial::new("fsopen", libc::SYS_fsopen, &[NOWHERE, 0]),
        Trial::new("fsconfig", libc::SYS_fsconfig, &[NONE, 0]),
        Trial::new("fsmount", libc::SYS_fsmount, &[NONE, 0, 0]),
        Trial::new("fspick", libc::SYS_fspick, &[NONE, NOWHERE, 0]),
        Trial::new("open_tree", libc::SYS_open_tree, &[NONE, NOWHERE, 0]),
        Trial::new("move_mount", libc::SYS_move_mount, &[NONE, NOWHERE, NONE, NOWHERE, 0]),
        Trial::new("mount_setattr", libc::SYS_mount_setattr, &[NONE, NOWHERE, 0, NOWHERE, 32]),
        Trial::new("statmount", STATMOUNT, &[NOWHERE, NOWHERE, 0, 0]),
        Trial::new("listmount", LISTMOUNT, &[NOWHERE, NOWHERE, 0, 0]),
        Trial::new("open_by_handle_at", libc::SYS_open_by_handle_at, &[NONE, NOWHERE, 0]),
        Trial::new("name_to_handle_at", libc::SYS_name_to_handle_at, &[NONE, NOWHERE, NOWHERE, NOWHERE, 0]),
        Trial::new("quotactl", libc::SYS_quotactl, &[0, NOWHERE, 0, NOWHERE]),
        Trial::new("fanotify_init", libc::SYS_fanotify_init, &[0xffff_0000, 0]),
        Trial::new("mknod(char device)", libc::SYS_mknod, &[NOWHERE, flag(0o20_666), 0x103]),
    ]
}

fn other_processes() -> Vec<Trial> {
    vec![
        Trial::new("ptrace(PTRACE_TRACEME)", libc::SYS_ptrace, &[0, 0, 0, 0]),
        Trial::new("ptrace(PTRACE_ATTACH)", libc::SYS_ptrace, &[16, 0x7fff_ffff, 0, 0]),
        Trial::new("process_vm_readv", libc::SYS_process_vm_readv, &[0x7fff_ffff, 0, 0, 0, 0, 0]),
        Trial::new("process_vm_writev", libc::SYS_process_vm_writev, &[0x7fff_ffff, 0, 0, 0, 0, 0]),
        Trial::new("process_madvise", libc::SYS_process_madvise, &[NONE, 0, 0, 0, 0]),
        Trial::new("pidfd_getfd", libc::SYS_pidfd_getfd, &[NONE, 0, 0]),
        Trial::new("kcmp", libc::SYS_kcmp, &[0x7fff_ffff, 0x7fff_ffff, 0, 0, 0]),
        Trial::new("move_pages", libc::SYS_move_pages, &[0x7fff_ffff, 0, 0, 0, 0, 0]),
        Trial::new("migrate_pages", libc::SYS_migrate_pages, &[0x7fff_ffff, 0, 0, 0]),
    ]
}

fn kernel_surface() -> Vec<Trial> {
    vec![
        Trial::new("keyctl(KEYCTL_GET_KEYRING_ID)", libc::SYS_keyctl, &[0, 0xffff_fffd, 0]),
        Trial::new("add_key", libc::SYS_add_key, &[NOWHERE, NOWHERE, 0, 0, 0xffff_fffd]),
        Trial::new("request_key", libc::SYS_request_key, &[NOWHERE, NOWHERE, 0, 0]),
        Trial::new("bpf", libc::SYS_bpf, &[0, 0, 0]),
        Trial::new("perf_event_open", libc::SYS_perf_event_open, &[NOWHERE, 0, NONE, NONE, 0]),
        Trial::new("io_uring_setup", libc::SYS_io_uring_setup, &[1, NOWHERE]),
        Trial::new("io_uring_enter", libc::SYS_io_uring_enter, &[NONE, 0, 0, 0, 0, 0]),
        Trial::new("io_uring_register", libc::SYS_io_uring_register, &[NONE, 0, 0, 0]),
        Trial::new("userfaultfd", libc::SYS_userfaultfd, &[1]),
        Trial::new("memfd_secret", libc::SYS_memfd_secret, &[0]),
        Trial::new("lookup_dcookie", libc::SYS_lookup_dcookie, &[0, 0, 0]),
        Trial::new("syslog", libc::SYS_syslog, &[10, 0, 0]),
        Trial::new("acct", libc::SYS_acct, &[NOWHERE]),
    ]
}

fn machine() -> Vec<Trial> {
    vec![
        Trial::new("kexec_load", libc::SYS_kexec_load, &[0, 17, NOWHERE, 0]),
        Trial::new("kexec_file_load", libc::SYS_kexec_file_load, &[NONE, NONE, 0, 0, 0]),
        Trial::new("init_module", libc::SYS_init_module, &[NOWHERE, 0, NOWHERE]),
        Trial::new("finit_module", libc::SYS_finit_module, &[NONE, NOWHERE, 0]),
        Trial::new("delete_module", libc::SYS_delete_module, &[NOWHERE, 0]),
        Trial::new("reboot", libc::SYS_reboot, &[0, 0, 0, 0]),
        Trial::new("swapon", libc::SYS_swapon, &[NOWHERE, 0]),
        Trial::new("swapoff", libc::SYS_swapoff, &[NOWHERE]),
        Trial::new("settimeofday", libc::SYS_settimeofday, &[NOWHERE, 0]),
        Trial::new("clock_settime", libc::SYS_clock_settime, &[0, NOWHERE]),
        Trial::new("sethostname", libc::SYS_sethostname, &[NOWHERE, 1]),
        Trial::new("setdomainname", libc::SYS_setdomainname, &[NOWHERE, 1]),
        #[cfg(target_arch = "x86_64")]
        Trial::new("iopl", libc::SYS_iopl, &[3]),
        #[cfg(target_arch = "x86_64")]
        Trial::new("ioperm", libc::SYS_ioperm, &[0x80, 1, 1]),
        #[cfg(target_arch = "x86_64")]
        Trial::new("modify_ldt", libc::SYS_modify_ldt, &[0, NOWHERE, 0]),
        // 0x0040000: ADDR_NO_RANDOMIZE.
        Trial::new("personality(ADDR_NO_RANDOMIZE)", libc::SYS_personality, &[0x0004_0000]),
        Trial::new("personality(READ_IMPLIES_EXEC)", libc::SYS_personality, &[0x0040_0000]),
    ]
}

fn terminal() -> Vec<Trial> {
    let high = 0xdead_beef << 32;
    vec![
        Trial::new("ioctl(TIOCSTI)", libc::SYS_ioctl, &[NONE, 0x5412, NOWHERE]),
        Trial::new("ioctl(TIOCSTI, high bits set)", libc::SYS_ioctl, &[NONE, high | 0x5412, NOWHERE]),
        Trial::new("ioctl(TIOCLINUX)", libc::SYS_ioctl, &[NONE, 0x541c, NOWHERE]),
        Trial::new("ioctl(TIOCLINUX, high bits set)", libc::SYS_ioctl, &[NONE, high | 0x541c, NOWHERE]),
    ]
}
