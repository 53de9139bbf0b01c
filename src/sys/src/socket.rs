//! Packets with descriptors over SOCK_SEQPACKET, whole or not at all, and the credentials of the peer.
//!
//! The peer may be hostile: a truncated packet or descriptor list is an error, never a shorter packet, and no descriptor of such a
//! packet stays open. Every received descriptor is close-on-exec from the start.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSlice, IoSliceMut, Result};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::mem::MaybeUninit;

/// Most descriptors in one packet.
pub const MAX_DESCRIPTORS: usize = 8;
/// `struct cmsghdr` and eight descriptors: 16 + 32 bytes, aligned (cmsg(3), CMSG_SPACE).
const CONTROL: usize = rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS));

/// Sends one packet.
///
/// # Errors
/// EPIPE if the peer has closed, without SIGPIPE; EINVAL for an empty packet, which the receiver would take for the end.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    if bytes.is_empty() || descriptors.len() > MAX_DESCRIPTORS {
        return Err(Errno::INVAL);
    }
    let mut space = [MaybeUninit::uninit(); CONTROL];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    let sent = rustix::io::retry_on_intr(|| {
        sendmsg(socket.as_fd(), &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
    })?;
    if sent == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
}

/// Receives one packet: its length in `buffer` and its descriptors. `None` if the peer has closed.
///
/// # Errors
/// EMSGSIZE for a packet longer than `buffer` or with more than [`MAX_DESCRIPTORS`] descriptors.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<Option<(usize, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); CONTROL];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(socket.as_fd(), &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Errno::MSGSIZE);
    }
    Ok((received.bytes > 0).then_some((received.bytes, descriptors)))
}

/// The credentials of the peer of a unix socket, as the kernel recorded them at connect(2) (unix(7), SO_PEERCRED): effective ids in
/// the caller's user namespace, and the pid in the caller's pid namespace, or 0 if it is not visible there (rustix's type has no 0).
pub use libc::ucred as Peer;

/// The credentials of the peer of a connected unix socket.
pub fn peer_credentials(socket: impl AsFd) -> Result<Peer> {
    let mut credentials = Peer { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<Peer>() as libc::socklen_t;
    // SAFETY: both pointers are to live locals of exactly the type that SO_PEERCRED writes, and `length` is the size of
    // `credentials`, so the kernel writes inside it; the descriptor is borrowed for the call.
    let status = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    crate::check(status.into())?;
    if length as usize == size_of::<Peer>() { Ok(credentials) } else { Err(Errno::INVAL) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn packet_and_descriptors_arrive_whole() {
        let (left, right) = pair();
        let null = std::fs::File::open("/dev/null").unwrap();
        send(&left, b"one", &[null.as_fd(), null.as_fd()]).unwrap();
        send(&left, b"two", &[]).unwrap();
        let mut buffer = [0; 16];
        let (length, descriptors) = receive(&right, &mut buffer).unwrap().unwrap();
        assert_eq!((&buffer[..length], descriptors.len()), (&b"one"[..], 2));
        for descriptor in &descriptors {
            assert!(rustix::io::fcntl_getfd(descriptor).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        }
        assert_eq!(receive(&right, &mut buffer).unwrap().unwrap().0, 3);
        drop(left);
        assert!(receive(&right, &mut buffer).unwrap().is_none());
    }

    #[test]
    fn truncated_packet_is_an_error_and_leaves_no_descriptor() {
        let (left, right) = pair();
        let null = std::fs::File::open("/dev/null").unwrap();
        send(&left, b"longer than four", &[null.as_fd()]).unwrap();
        let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
        assert_eq!(receive(&right, &mut [0; 4]).unwrap_err(), Errno::MSGSIZE);
        assert_eq!(std::fs::read_dir("/proc/self/fd").unwrap().count(), before);
        assert_eq!(send(&left, b"x", &[null.as_fd(); MAX_DESCRIPTORS + 1]).unwrap_err(), Errno::INVAL);
        assert_eq!(send(&left, b"", &[]).unwrap_err(), Errno::INVAL);
    }

    #[test]
    fn send_to_a_closed_peer_is_an_error_without_sigpipe() {
        let (left, right) = pair();
        drop(right);
        assert_eq!(send(&left, b"x", &[]).unwrap_err(), Errno::PIPE);
    }

    #[test]
    fn peer_credentials_are_those_of_the_peer() {
        let (left, _right) = pair();
        let peer = peer_credentials(&left).unwrap();
        assert_eq!(peer.pid, std::process::id().cast_signed());
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
    }
}
