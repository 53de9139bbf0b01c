//! What a file may ask for at the most. The manager judges by these lists and the helper judges again; the reasons stand in
//! policies/ceilings.toml, and a test of the manager compares the two.

/// Capabilities, by name and by the kernel's number.
pub const CAPABILITIES: &[(&str, u8)] = &[("NET_BIND_SERVICE", 10), ("SYS_CHROOT", 18)];

/// Whether a container may hold this capability.
pub fn capability(number: u8) -> bool {
    CAPABILITIES.iter().any(|&(_, known)| known == number)
}

/// Whether a container may have this sysctl set: all of them belong to its own network or ipc namespace.
pub fn sysctl(key: &str) -> bool {
    ["net.ipv4.ip_unprivileged_port_start", "net.core.somaxconn"].contains(&key)
}
