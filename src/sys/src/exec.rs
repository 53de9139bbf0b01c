//! execve(2) and execveat(2) with argument vectors that are checked for NUL bytes.

use rustix::io::{Errno, Result};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

/// A NULL-terminated array of C strings: argv or envp. It allocates, so it is built before the steps that may not fail.
#[derive(Debug)]
pub struct Strings {
    pointers: Vec<*const libc::c_char>,
    // The pointers point into these heap blocks, which stay in place when the struct moves.
    _owned: Vec<CString>,
}

impl Strings {
    /// Copies the strings.
    ///
    /// # Errors
    /// EINVAL for a string with a NUL byte inside.
    pub fn new<S: AsRef<[u8]>>(strings: &[S]) -> Result<Self> {
        let owned: Vec<CString> =
            strings.iter().map(|s| CString::new(s.as_ref()).map_err(|_| Errno::INVAL)).collect::<Result<_>>()?;
        let pointers = owned.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
        Ok(Self { pointers, _owned: owned })
    }
}

/// Replaces this process by the program at `path`. Returns only on failure.
fn execve(path: &CStr, argv: &Strings, env: &Strings) -> Errno {
    // SAFETY: `path` is a C string; both vectors are NULL-terminated arrays of C strings that live until the call returns.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), env.pointers.as_ptr()) };
    crate::last_errno()
}

/// Replaces this process by the open program file. Returns only on failure.
pub fn execve_descriptor(program: BorrowedFd<'_>, argv: &Strings, env: &Strings) -> Errno {
    // SAFETY: as for execve; the path is the empty C string, for which AT_EMPTY_PATH takes the descriptor itself.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.pointers.as_ptr(),
            env.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    crate::last_errno()
}

/// As execvp(3): a program name with a `/` is a path, any other name is looked up in each absolute directory of `path`. A directory
/// without the program, or with one that may not be executed, does not end the search. Returns only on failure: EACCES if a program
/// was found that may not be executed, ENOENT if none was found.
pub fn search(program: &[u8], path: Option<&[u8]>, argv: &Strings, env: &Strings) -> Errno {
    let path = path.unwrap_or(b"/usr/local/bin:/usr/bin:/bin");
    let directories = path.split(|&c| c == b':').filter(|directory| directory.starts_with(b"/"));
    let candidates: Vec<Vec<u8>> = match program.contains(&b'/') {
        true => vec![program.to_vec()],
        false => directories.map(|directory| [directory, b"/", program].concat()).collect(),
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
