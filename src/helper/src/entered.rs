//! A process that was started in a running container, on the parent's side: two forks, one report, an exit status.

use casemate_confine::At;
use casemate_container::child::{self, Report, exit_code, kill, now, reap};
use casemate_container::{RunningContainer, Shared, executed, forked};
use casemate_wire::{EnteredDescriptors, Failure, Process, ProcessExit};
use rustix::process::{PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A process in a container besides its pid 1, from clone3 until it is reaped.
pub struct Entered {
    /// At first the child that joins the namespaces, then the process that it forked.
    process: OwnedFd,
    report: Option<Report>,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Entered {
    /// Starts it. Whether its program was executed is reported later: see [`Self::started`].
    pub fn start(shared: &Shared, container: RunningContainer<'_>, process: &Process) -> Result<Self, Failure> {
        let pipe = || child::pipe().map_err(|error| error.in_step("enter"));
        let (stdout, stdout_write) = pipe()?;
        let (stderr, stderr_write) = pipe()?;
        let stdio = [stdout_write.as_fd(), stderr_write.as_fd()];
        let (process, report) = casemate_container::enter(shared, container, process, stdio)?;
        Ok(Self { process, report: Some(report), stdout, stderr })
    }

    /// Reads what is available of the report. Returns the result once it is whole: the program was executed, or the step that
    /// failed and nothing is left of the process.
    pub fn started(&mut self) -> Option<Result<(), Failure>> {
        let report = self.report.as_mut()?.collect()?.to_vec();
        self.report = None;
        // Both processes have closed the report: the first one has ended or is about to.
        child::end(&self.process);
        let Some((pid, report)) = forked(&report) else { return Some(executed(&report)) };
        // A child of this process that was not reaped, so the number is still its own.
        match pidfd_open(pid, PidfdFlags::empty()).at("pidfd_open") {
            Ok(process) => self.process = process,
            Err(error) => {
                let _ = kill_process(pid, Signal::KILL);
                let _ = waitpid(Some(pid), WaitOptions::empty());
                return Some(Err(error.in_step("fork")));
            }
        }
        Some(executed(report).inspect_err(|_| child::end(&self.process)))
    }

    /// What `entered` carries.
    pub fn descriptors(&self) -> EnteredDescriptors<BorrowedFd<'_>> {
        EnteredDescriptors { pidfd: self.process.as_fd(), stdout: self.stdout.as_fd(), stderr: self.stderr.as_fd() }
    }

    /// Reaps the process when its pidfd says that it has ended. Not before its report is complete: until then the first child's.
    pub fn reap(&self) -> Option<ProcessExit> {
        if self.report.is_some() {
            return None;
        }
        let (code, signal) = exit_code(reap(&self.process)?);
        Some(ProcessExit { code, signal, at: now() })
    }

    /// Ends the process; it is reaped when its pidfd is readable.
    pub fn kill(&self) {
        let _ = kill(&self.process);
    }
}

impl AsFd for Entered {
    /// Readable when there is more of the report; after that, when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.report.as_ref().map_or(self.process.as_fd(), Report::as_fd)
    }
}
