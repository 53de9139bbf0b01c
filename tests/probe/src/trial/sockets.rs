//! Every socket family with every type: which of them answer at all is the allow list, seen from inside.

use super::Trial;

const FAMILIES: [&str; 46] = [
    "AF_UNSPEC", "AF_UNIX", "AF_INET", "AF_AX25", "AF_IPX", "AF_APPLETALK", "AF_NETROM", "AF_BRIDGE", "AF_ATMPVC",
    "AF_X25", "AF_INET6", "AF_ROSE", "AF_DECnet", "AF_NETBEUI", "AF_SECURITY", "AF_KEY", "AF_NETLINK", "AF_PACKET",
    "AF_ASH", "AF_ECONET", "AF_ATMSVC", "AF_RDS", "AF_SNA", "AF_IRDA", "AF_PPPOX", "AF_WANPIPE", "AF_LLC", "AF_IB",
    "AF_MPLS", "AF_CAN", "AF_TIPC", "AF_BLUETOOTH", "AF_IUCV", "AF_RXRPC", "AF_ISDN", "AF_PHONET", "AF_IEEE802154",
    "AF_CAIF", "AF_ALG", "AF_NFC", "AF_VSOCK", "AF_KCM", "AF_QIPCRTR", "AF_SMC", "AF_XDP", "AF_MCTP",
];

const TYPES: [(&str, u64); 4] = [("STREAM", 1), ("DGRAM", 2), ("RAW", 3), ("SEQPACKET", 5)];

/// NETLINK_XFRM: the protocol of CVE-2026-43284.
const NETLINK_XFRM: u64 = 6;

/// socket() and socketpair() of everything.
pub fn table() -> Vec<Trial> {
    let mut all = Vec::new();
    for (family, number) in FAMILIES.iter().zip(0u64..) {
        for (kind, value) in TYPES {
            all.push(Trial::new(format!("{family}/{kind}"), libc::SYS_socket, &[number, value, 0]));
        }
        all.push(Trial::new(format!("{family}/socketpair"), libc::SYS_socketpair, &[number, 1, 0, 8]));
    }
    // Without a protocol the kernel refuses a raw socket before it asks who wants it.
    all.push(Trial::new("AF_INET/RAW/IPPROTO_ICMP", libc::SYS_socket, &[2, 3, 1]));
    all.push(Trial::new("AF_INET6/RAW/IPPROTO_ICMPV6", libc::SYS_socket, &[10, 3, 58]));
    let xfrm = [16, 3, NETLINK_XFRM];
    all.push(Trial::new("AF_NETLINK/RAW/NETLINK_XFRM", libc::SYS_socket, &xfrm));
    // Only the low 32 bits count for the kernel; a filter that compares 64 is passed by this.
    all.push(Trial::new("AF_ALG/SEQPACKET, high bits set", libc::SYS_socket, &[1 << 32 | 38, 5, 0]));
    all
}
