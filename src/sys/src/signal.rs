//! Signals as descriptors, and the clean state that a new program starts with.

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

/// rt_sigprocmask(2) with the kernel's own set, one bit a signal.
fn mask(how: i32, set: u64) -> Result<(), Errno> {
    let (none, size) = (std::ptr::null_mut::<u64>(), size_of::<u64>());
    // SAFETY: the kernel reads a set of the given size; the old mask is not asked for.
    crate::check(unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const set, none, size) }).map(drop)
}

/// Blocks the signals and gives a descriptor (close-on-exec, non-blocking) from which [`read`] takes them.
///
/// # Errors
/// EMFILE, ENOMEM.
pub fn descriptor(signals: &[u8]) -> io::Result<OwnedFd> {
    let bit = |&signal: &u8| 1_u64.checked_shl(u32::from(signal).wrapping_sub(1)).unwrap_or(0);
    let set = signals.iter().map(bit).fold(0, |set, bit| set | bit);
    mask(libc::SIG_BLOCK, set)?;
    let (size, flags) = (size_of::<u64>(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
    // SAFETY: the kernel reads a set of the given size.
    let fd = crate::check(unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const set, size, flags) })?;
    // SAFETY: signalfd returned a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Takes one signal, where one is pending.
///
/// # Errors
/// Other than EAGAIN, which is `None`.
pub fn read(descriptor: BorrowedFd<'_>) -> io::Result<Option<u8>> {
    let mut info = [0; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(descriptor, &mut info) {
        // signalfd(2): a read gives whole structures, and `ssi_signo` is the first field.
        Ok(_) => Ok(info.first_chunk().and_then(|signo| u32::from_ne_bytes(*signo).try_into().ok())),
        Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Sends any signal, those for real-time use included (which rustix does not name), to the process of a pidfd.
///
/// # Errors
/// ESRCH where it has ended, EPERM, EINVAL for a number that is no signal.
pub fn send(process: BorrowedFd<'_>, signal: u8) -> io::Result<()> {
    let (process, signal) = (process.as_raw_fd(), libc::c_long::from(signal));
    // SAFETY: a null siginfo and no flags; the kernel reads no memory of ours.
    crate::check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process, signal, 0_usize, 0) })?;
    Ok(())
}

/// Default action for every signal and an empty mask: what execve(2) keeps, a new program must not inherit from us.
pub fn reset_all() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL installs no code of ours; numbers that cannot be changed only give an error.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // It cannot fail with a valid argument.
    let _ = mask(libc::SIG_SETMASK, 0);
}
