//! The three files that are written for every container. Their content follows from the spec alone.

/// Path and content.
pub(super) fn files(hostname: &str) -> Vec<(String, Vec<u8>)> {
    let hosts = format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n");
    let resolv = "# this container has no network: no name server\n";
    vec![
        ("/etc/hostname".to_owned(), format!("{hostname}\n").into_bytes()),
        ("/etc/hosts".to_owned(), hosts.into_bytes()),
        ("/etc/resolv.conf".to_owned(), resolv.as_bytes().to_vec()),
    ]
}
