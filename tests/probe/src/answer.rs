//! How the kernel answered: words that a test can compare and a person can read.

use std::fmt;

/// What came of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It worked.
    Worked,
    /// It was refused with this errno.
    Refused(i32),
    /// The process that tried was ended by this signal.
    Killed(i32),
    /// It could not be tried, as no process could be made for it.
    Untried(i32),
}

impl Answer {
    /// The answer of a call that gave this.
    pub fn of<T>(result: &std::io::Result<T>) -> Self {
        match result {
            Ok(_) => Self::Worked,
            Err(error) => Self::Refused(error.raw_os_error().unwrap_or(0)),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Worked => f.write_str("worked"),
            Self::Refused(errno) => f.write_str(&errno_name(errno)),
            Self::Killed(libc::SIGSYS) => f.write_str("killed by SIGSYS"),
            Self::Killed(libc::SIGSEGV) => f.write_str("killed by SIGSEGV"),
            Self::Killed(signal) => write!(f, "killed by signal {signal}"),
            Self::Untried(errno) => write!(f, "untried: {}", errno_name(errno)),
        }
    }
}

/// The errno's name, or its number if a sandbox should never return it.
pub fn errno_name(errno: i32) -> String {
    let name = match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::ESRCH => "ESRCH",
        libc::EINTR => "EINTR",
        libc::EIO => "EIO",
        libc::ENXIO => "ENXIO",
        libc::E2BIG => "E2BIG",
        libc::EBADF => "EBADF",
        libc::ECHILD => "ECHILD",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EFAULT => "EFAULT",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::ENODEV => "ENODEV",
        libc::ENOTDIR => "ENOTDIR",
        libc::EISDIR => "EISDIR",
        libc::EINVAL => "EINVAL",
        libc::ENFILE => "ENFILE",
        libc::EMFILE => "EMFILE",
        libc::ENOTTY => "ENOTTY",
        libc::ETXTBSY => "ETXTBSY",
        libc::EFBIG => "EFBIG",
        libc::ENOSPC => "ENOSPC",
        libc::EROFS => "EROFS",
        libc::EDQUOT => "EDQUOT",
        libc::ENOSYS => "ENOSYS",
        libc::ELOOP => "ELOOP",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::EPROTONOSUPPORT => "EPROTONOSUPPORT",
        libc::ESOCKTNOSUPPORT => "ESOCKTNOSUPPORT",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::EPROTOTYPE => "EPROTOTYPE",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::EUSERS => "EUSERS",
        _ => return format!("errno {errno}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_reads_as_the_kernels_word() {
        assert_eq!(Answer::Refused(libc::EPERM).to_string(), "EPERM");
        assert_eq!(Answer::Killed(libc::SIGSYS).to_string(), "killed by SIGSYS");
        assert_eq!(Answer::of(&std::fs::metadata("/no/such/file")).to_string(), "ENOENT");
        assert_eq!(Answer::of(&std::fs::metadata("/")).to_string(), "worked");
    }
}
