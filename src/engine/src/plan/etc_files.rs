//! Generated files of every container, from the spec only.

/// `/etc/resolv.conf`.
pub(super) const RESOLV_CONF: &[u8] = b"# this container has no network: no name server\n";

/// `/etc/hosts`.
pub(super) fn hosts(hostname: &str) -> Vec<u8> {
    format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n").into_bytes()
}
