//! The ceilings of what a file may ask for. The manager checks a file against these lists and the helper checks a job
//! again; the reasons stand in policies/ceilings.toml, and a test of the manager compares the two.

/// Capabilities, by name and by the kernel's number.
pub const CAPABILITIES: &[(&str, u8)] = &[("NET_BIND_SERVICE", NET_BIND_SERVICE), ("SYS_CHROOT", SYS_CHROOT)];

/// CAP_NET_BIND_SERVICE.
pub const NET_BIND_SERVICE: u8 = 10;
/// CAP_SYS_CHROOT.
pub const SYS_CHROOT: u8 = 18;

/// Sysctls of the container's own network and IPC namespaces, dotted.
pub const SYSCTLS: &[&str] = &[
    "fs.mqueue.msg_default", "fs.mqueue.msg_max", "fs.mqueue.msgsize_default", "fs.mqueue.msgsize_max",
    "fs.mqueue.queues_max", "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shm_rmid_forced",
    "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "net.core.somaxconn", "net.ipv4.ip_default_ttl",
    "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_notsent_lowat", "net.ipv4.tcp_retries1", "net.ipv4.tcp_retries2",
    "net.ipv4.tcp_rmem", "net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_syn_retries",
    "net.ipv4.tcp_synack_retries", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_tw_reuse", "net.ipv4.tcp_wmem",
    "net.ipv6.bindv6only", "net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.default.disable_ipv6",
    "net.ipv6.conf.lo.disable_ipv6", "net.unix.max_dgram_qlen",
];

/// Whether a container may hold this capability.
pub fn capability(number: u8) -> bool {
    CAPABILITIES.iter().any(|&(_, known)| known == number)
}

/// Whether a container may have this sysctl set to this value: a name of the list, and 1 to 4 decimal numbers with one
/// blank between them.
pub fn sysctl(name: &str, value: &str) -> bool {
    let number = |part: &str| (1..=19).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_digit());
    SYSCTLS.contains(&name) && value.split(' ').count() <= 4 && value.split(' ').all(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_04_sysctl_is_a_listed_name_with_numbers() {
        assert!(sysctl("net.core.somaxconn", "1024"));
        assert!(sysctl("kernel.sem", "250 32000 32 128"));
        for (name, value) in [
            ("kernel.core_pattern", "1"),
            ("net.core.somaxconn/../../kernel/core_pattern", "1"),
            ("net/core/somaxconn", "1"),
            ("net.core.somaxconn", ""),
            ("net.core.somaxconn", "-1"),
            ("net.core.somaxconn", "1\n"),
            ("net.core.somaxconn", "1  2"),
            ("net.core.somaxconn", "|/bin/sh"),
            ("net.core.somaxconn", "99999999999999999999"),
            ("kernel.sem", "1 2 3 4 5"),
        ] {
            assert!(!sysctl(name, value), "{name} = {value:?}");
        }
    }

    #[test]
    fn lists_are_sorted_and_without_repetition() {
        assert!(SYSCTLS.is_sorted_by(|a, b| a < b));
        assert!(capability(NET_BIND_SERVICE) && capability(SYS_CHROOT) && !capability(21));
    }
}
