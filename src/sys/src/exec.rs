//! execve and execveat with argument vectors that are checked for NUL.

use rustix::io::{Errno, Result};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

/// A NULL-terminated vector of C strings, built before the point of no return.
#[derive(Debug)]
pub struct Strings {
    pointers: Vec<*const libc::c_char>,
    // The pointers point into these heap blocks, which do not move when the struct does.
    _owned: Vec<CString>,
}

impl Strings {
    /// Copies the strings.
    ///
    /// # Errors
    /// EINVAL where one has a NUL inside.
    pub fn new<S: AsRef<[u8]>>(strings: &[S]) -> Result<Self> {
        let owned: Vec<CString> =
            strings.iter().map(|s| CString::new(s.as_ref()).map_err(|_| Errno::INVAL)).collect::<Result<_>>()?;
        let pointers = owned.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
        Ok(Self { pointers, _owned: owned })
    }
}

/// Replaces this process by the program at `path`. Returns only with the error.
fn execve(path: &CStr, argv: &Strings, env: &Strings) -> Errno {
    // SAFETY: `path` is a C string; both vectors are NULL-terminated arrays of C strings that live until the call returns.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), env.pointers.as_ptr()) };
    crate::last_errno()
}

/// Replaces this process by the program that the descriptor is open on. Returns only with the error.
pub fn execve_descriptor(program: BorrowedFd<'_>, argv: &Strings, env: &Strings) -> Errno {
    let (program, flags) = (program.as_raw_fd(), libc::AT_EMPTY_PATH);
    let (argv, env) = (argv.pointers.as_ptr(), env.pointers.as_ptr());
    // SAFETY: as for execve; the path is the empty C string, with AT_EMPTY_PATH it stands for the descriptor.
    unsafe { libc::syscall(libc::SYS_execveat, program, c"".as_ptr(), argv, env, flags) };
    crate::last_errno()
}

/// As execvp(3): a program with a `/` is a path, any other is looked for in each absolute directory of `path`. A place where it
/// is not, or may not be executed, does not end the search; the latter is what is told if no other place has it.
pub fn search(program: &[u8], path: Option<&[u8]>, argv: &Strings, env: &Strings) -> Errno {
    let path = path.unwrap_or(b"/usr/local/bin:/usr/bin:/bin");
    let places = path.split(|&c| c == b':').filter(|place| place.starts_with(b"/"));
    let candidates: Vec<Vec<u8>> = match program.contains(&b'/') {
        true => vec![program.to_vec()],
        false => places.map(|place| [place, b"/", program].concat()).collect(),
    };
    let mut last = Errno::NOENT;
    for candidate in candidates {
        let Ok(candidate) = CString::new(candidate) else { return Errno::INVAL };
        match execve(&candidate, argv, env) {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => last = Errno::ACCESS,
            errno => return errno,
        }
    }
    last
}
