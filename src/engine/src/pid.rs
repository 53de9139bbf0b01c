//! The pid behind a pidfd, as this pid namespace counts it (pidfd_open(2), "fdinfo").

use rustix::fd::{AsRawFd, OwnedFd};

/// The pid; `None` when the process has ended or is not visible here.
pub fn of(pidfd: &OwnedFd) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    // -1: it has been reaped; 0: another pid namespace.
    text.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn pid_of_a_child_until_it_is_reaped() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        assert_eq!(super::of(&pidfd), Some(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(super::of(&pidfd), None);
    }
}
