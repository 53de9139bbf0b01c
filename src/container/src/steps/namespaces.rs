//! Namespaces that are not made by clone3: the cgroup namespace of a start, and those that an entering process joins.

use super::Enter;
use crate::child;
use casemate_confine::{At, Error, capabilities, process};
use casemate_sys::namespace::{self, Kind};
use casemate_sys::process::{exit_now, fork_sibling};
use rustix::io::retry_on_intr;
use rustix::process::Pid;
use rustix::thread::{ThreadNameSpaceType as Namespace, move_into_thread_name_spaces};

/// In a report, before the pid of the process that was forked as A numbers it, 4 bytes in native order.
const FORKED: &[u8] = &[1];

/// The process that a report says was forked, and the rest of the report.
pub fn forked(report: &[u8]) -> Option<(Pid, &[u8])> {
    let (pid, rest) = report.strip_prefix(FORKED)?.split_first_chunk()?;
    Some((Pid::from_raw(i32::from_ne_bytes(*pid))?, rest))
}

pub fn new_cgroup() -> Result<(), Error> {
    // clone3 copied the cgroup namespace before it moved the child, so only now is the root the container's own cgroup.
    namespace::unshare(Kind::Cgroup).at("unshare")
}

/// setns(2) on a pidfd asks for ptrace access to that process, which the container's user has, and for CAP_SYS_ADMIN over each
/// namespace, which A's root had: the ids were dropped with the capabilities kept.
pub fn join(enter: &mut Enter<'_>) -> Result<(), Error> {
    capabilities::raise_permitted()?;
    let isolation = Namespace::PROCESS_ID | Namespace::MOUNT | Namespace::NETWORK | Namespace::CONTROL_GROUP;
    let names = Namespace::INTER_PROCESS_COMMUNICATION | Namespace::HOST_NAME_AND_NIS_DOMAIN_NAME;
    move_into_thread_name_spaces(enter.container, isolation | names).at("setns")
}

/// The child is another child of the helper, and visible in the container. It goes on only when this process has reported its pid
/// and ended, so that the report has one writer at a time.
pub fn fork(enter: &mut Enter<'_>) -> Result<(), Error> {
    // Before the container can see it: an entering process has descriptors and memory of the helper (CVE-2016-9962).
    process::not_dumpable()?;
    let (wait, parent_alive) = child::pipe()?;
    match fork_sibling(&enter.setup.shared.proof).at("clone3")? {
        Some(pid) => {
            let written = rustix::io::write(enter.setup.report, &[FORKED, &pid.to_ne_bytes()].concat());
            exit_now(u8::from(written.is_err()))
        }
        None => {
            drop(parent_alive);
            retry_on_intr(|| rustix::io::read(&wait, &mut [0; 1])).at("wait for the parent").map(drop)
        }
    }
}
