//! Signals by descriptor (signalfd(2)), and the signal state that a new program starts with.

use rustix::io::Errno;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// SIGKILL.
pub const KILL: u8 = libc::SIGKILL as u8;
/// SIGTERM.
pub const TERM: u8 = libc::SIGTERM as u8;
/// SIGINT.
pub const INT: u8 = libc::SIGINT as u8;
/// SIGHUP.
pub const HUP: u8 = libc::SIGHUP as u8;
/// SIGQUIT.
pub const QUIT: u8 = libc::SIGQUIT as u8;
/// SIGUSR1.
pub const USR1: u8 = libc::SIGUSR1 as u8;
/// SIGUSR2.
pub const USR2: u8 = libc::SIGUSR2 as u8;
/// SIGCONT.
pub const CONT: u8 = libc::SIGCONT as u8;
/// SIGWINCH.
pub const WINCH: u8 = libc::SIGWINCH as u8;
/// SIGCHLD.
pub const CHLD: u8 = libc::SIGCHLD as u8;

/// rt_sigprocmask(2) with the kernel's signal set: one bit per signal.
fn mask(how: i32, set: u64) -> Result<(), Errno> {
    let none = std::ptr::null_mut::<u64>();
    let size = size_of::<u64>();
    // SAFETY: the kernel reads a set of the given size; a null pointer means that no old mask is written.
    crate::check(unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const set, none, size) }).map(drop)
}

/// Blocks the signals and returns a descriptor (close-on-exec, non-blocking) from which [`read`] receives them.
///
/// # Errors
/// EMFILE, ENOMEM.
pub fn descriptor(signals: &[u8]) -> io::Result<OwnedFd> {
    let bit = |&signal: &u8| 1_u64.checked_shl(u32::from(signal).wrapping_sub(1)).unwrap_or(0);
    let set = signals.iter().map(bit).fold(0, |set, bit| set | bit);
    mask(libc::SIG_BLOCK, set)?;
    let size = size_of::<u64>();
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the kernel reads a set of the given size.
    let fd = crate::check(unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const set, size, flags) })?;
    // SAFETY: signalfd returned a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Receives one signal; `None` if none is pending.
///
/// # Errors
/// As read(2), without EAGAIN.
pub fn read(descriptor: BorrowedFd<'_>) -> io::Result<Option<u8>> {
    let mut info = [0; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(descriptor, &mut info) {
        // signalfd(2): a read returns whole structures, and `ssi_signo` is the first field.
        Ok(_) => Ok(info.first_chunk().and_then(|signo| u32::from_ne_bytes(*signo).try_into().ok())),
        Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Sends a signal to the process of a pidfd. Takes real-time signals too, which rustix does not offer.
///
/// # Errors
/// ESRCH if the process has ended, EPERM, EINVAL for a number that is not a signal.
pub fn send(process: BorrowedFd<'_>, signal: u8) -> io::Result<()> {
    let process = process.as_raw_fd();
    let signal = libc::c_long::from(signal);
    // SAFETY: a null siginfo and no flags; the kernel reads no memory of this process.
    crate::check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process, signal, 0_usize, 0) })?;
    Ok(())
}

/// Sets the default action for every signal and empties the signal mask. execve(2) keeps ignored signals and the mask, so a new
/// program would otherwise inherit them.
pub fn reset_all() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL installs no handler; for signals that cannot be changed the call only returns an error.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // It cannot fail with a valid argument.
    let _ = mask(libc::SIG_SETMASK, 0);
}
