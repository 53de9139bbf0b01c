//! Forbidden system calls, tried: a table of numbers and arguments, each called once in a process of its own.
//!
//! The arguments are such that a kernel without any filter either does it or answers with an errno that no filter of
//! ours gives (EBADF, EFAULT, EINVAL), and such that nothing lasting happens if it does.

mod calls;
mod foreign;
mod sockets;

use crate::answer::Answer;
use crate::process::{isolated, leave};
use std::collections::BTreeMap;
use std::io::{Error, Result};

/// One call: what it is listed as, its number, its arguments.
pub struct Trial {
    /// What it is listed as.
    pub name: String,
    number: i64,
    arguments: [u64; 6],
}

impl Trial {
    fn new(name: impl Into<String>, number: i64, arguments: &[u64]) -> Self {
        let mut six = [0; 6];
        for (slot, argument) in six.iter_mut().zip(arguments) {
            *slot = *argument;
        }
        Self { name: name.into(), number, arguments: six }
    }

    fn answer(&self) -> Answer {
        isolated(|| {
            let result = raw(self.number, self.arguments);
            // A clone that worked comes back twice; the second process must not speak for the first.
            if self.number == libc::SYS_clone && matches!(result, Ok(0)) {
                leave(0);
            }
            result.map(drop)
        })
    }
}

fn raw(number: i64, arguments: [u64; 6]) -> Result<i64> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: no argument of the tables is an address of ours (they are numbers, null or never mapped), so the kernel has
    // no memory of this process to write to; descriptors it makes end with the trial's process.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => Err(Error::last_os_error()),
        value => Ok(value),
    }
}

/// The answer of every call but the sockets.
pub fn all_calls() -> BTreeMap<String, String> {
    let table = calls::table();
    let native = table.iter().map(|trial| (trial.name.clone(), trial.answer().to_string()));
    native.chain(foreign::answers()).collect()
}

/// The answer of every socket family and type.
pub fn all_sockets() -> BTreeMap<String, String> {
    sockets::table().iter().map(|trial| (trial.name.clone(), trial.answer().to_string())).collect()
}

/// The answer of the call or socket of this name.
pub fn one(name: &str) -> Option<String> {
    let trial = calls::table().into_iter().chain(sockets::table()).find(|trial| trial.name == name);
    match trial {
        Some(trial) => Some(trial.answer().to_string()),
        None => foreign::answers().find(|(listed, _)| listed == name).map(|(_, answer)| answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_succeed_outside_of_a_sandbox() {
        let calls = all_calls();
        // Neither needs a privilege, and no filter is here: if these were refused, refusals would prove nothing.
        assert_eq!(calls["personality(ADDR_NO_RANDOMIZE)"], "worked");
        assert_eq!(calls["ptrace(PTRACE_TRACEME)"], "worked");
        assert_eq!(calls["ioctl(TIOCSTI)"], "EBADF");
        assert_eq!(all_sockets()["AF_INET/DGRAM"], "worked");
    }

    #[test]
    fn each_trial_has_a_name_of_its_own() {
        let trials = calls::table().len() + sockets::table().len() + foreign::answers().count();
        assert_eq!(trials, all_calls().len() + all_sockets().len());
    }

    #[test]
    fn one_finds_a_trial_by_its_name() {
        assert_eq!(one("unknown call 1000").as_deref(), Some("ENOSYS"));
        assert_eq!(one("no such call"), None);
    }
}
