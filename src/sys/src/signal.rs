//! Signals as descriptors, and the clean state that a new program starts with.

use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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

fn empty_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the whole set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised by the call above.
    unsafe { set.assume_init() }
}

/// Blocks the signals and gives a descriptor (close-on-exec, non-blocking) from which [`read`] takes them.
///
/// # Errors
/// EMFILE, ENOMEM.
pub fn descriptor(signals: &[u8]) -> io::Result<OwnedFd> {
    let mut set = empty_set();
    for &signal in signals {
        // SAFETY: the set is initialised; an invalid number only gives an error.
        unsafe { libc::sigaddset(&raw mut set, i32::from(signal)) };
    }
    // SAFETY: the set is initialised; the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    // SAFETY: the set is initialised.
    let fd = crate::check(
        unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) }.into(),
    )?;
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
    let set = empty_set();
    // SAFETY: the set is initialised; the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
}
