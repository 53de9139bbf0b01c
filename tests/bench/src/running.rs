//! `casemate up` with containers that say one line each and wait: when they all run, and what our processes weigh then.

use crate::failure::{Failure, Result, Step};
use crate::instance::Instance;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

/// What a container runs: its line on standard output says that its payload was executed.
pub const PAYLOAD: [&str; 3] = ["/bin/sh", "-c", "echo up; exec sleep 1000"];

/// How long processes that have nothing to do are watched.
const IDLE: Duration = Duration::from_secs(10);

/// An instance whose containers run.
#[derive(Debug)]
pub struct Running {
    manager: Child,
    _output: BufReader<ChildStdout>,
}

impl Running {
    /// Starts the file and waits until `count` containers have said their line; the time from before the manager's process
    /// was made.
    pub fn start(instance: &Instance, file: &Path, count: u32) -> Result<(Self, Duration)> {
        let mut command = instance.command(["up"])?;
        command.arg(file).stdin(Stdio::null()).stdout(Stdio::piped());
        // It tells of every container that is killed at the end.
        command.stderr(Stdio::null());
        let begin = Instant::now();
        let mut manager = command.spawn().step("start casemate up")?;
        let output = manager.stdout.take().ok_or_else(|| Failure::new("casemate up", "no output"))?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        let mut up = 0;
        while up < count {
            line.clear();
            if output.read_line(&mut line).step("read the containers' lines")? == 0 {
                let _ = manager.wait();
                return Err(Failure::new("casemate up", format!("ended after {up} of {count} containers ran")));
            }
            up += u32::from(line.trim_end().ends_with("up"));
        }
        Ok((Self { manager, _output: output }, begin.elapsed()))
    }

    /// Ends it, as the second Ctrl-C does: nothing is waited for.
    pub fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.manager.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Failure::new("stop casemate up", "it has no pid"))?;
        for _ in 0..2 {
            kill_process(pid, Signal::INT).step("interrupt casemate up")?;
            std::thread::sleep(Duration::from_millis(100));
        }
        self.manager.wait().step("wait for casemate up").map(drop)
    }
}

/// The proportional set size, in KiB, of all processes that have this path on their command line.
pub fn memory_of(path: &Path) -> Result<f64> {
    // A process that has ended uses no memory.
    let of = |process: &PathBuf| pss(&fs::read_to_string(process.join("smaps_rollup")).unwrap_or_default());
    Ok(processes_of(path)?.iter().filter_map(of).sum())
}

/// How often the same processes, every thread of them, go from sleep to work in a minute.
pub fn wakeups_of(path: &Path) -> Result<f64> {
    // Background jobs of the last start, such as garbage collection, end first.
    std::thread::sleep(Duration::from_secs(2));
    let count = || -> Result<u64> { Ok(processes_of(path)?.iter().map(|process| sleeps(process)).sum()) };
    let before = count()?;
    std::thread::sleep(IDLE);
    Ok(count()?.saturating_sub(before) as f64 * 60.0 / IDLE.as_secs_f64())
}

/// The directories in /proc of all processes that have this path on their command line.
fn processes_of(path: &Path) -> Result<Vec<PathBuf>> {
    let needle = path.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").step("read /proc")?.flatten() {
        let Ok(command) = fs::read(entry.path().join("cmdline")) else { continue };
        if String::from_utf8_lossy(&command).contains(&needle) {
            found.push(entry.path());
        }
    }
    if found.is_empty() { Err(Failure::new("read /proc", format!("no process names {needle}"))) } else { Ok(found) }
}

/// How often the threads of a process went to sleep.
fn sleeps(process: &Path) -> u64 {
    let threads = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let statuses = threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    statuses.filter_map(|status| voluntary_switches(&status)).sum()
}

fn voluntary_switches(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
}

fn pss(rollup: &str) -> Option<f64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_that_the_scheduler_forced_are_not_counted() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\n";
        assert_eq!(voluntary_switches(status), Some(7));
    }

    #[test]
    fn pss_is_not_one_of_its_parts() {
        let rollup = "55 [rollup]\nRss:  1024 kB\nPss:   312 kB\nPss_Dirty:  44 kB\n";
        assert_eq!(pss(rollup), Some(312.0));
        assert_eq!(pss(""), None);
    }
}
