//! `casemate up` with containers that say one line each and wait: when they all run, and what our processes weigh then.

use crate::failure::{Failure, Result, Step};
use crate::instance::Instance;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

/// What a container runs: its line on standard output says that its payload was executed.
pub const PAYLOAD: [&str; 3] = ["/bin/sh", "-c", "echo up; exec sleep 1000"];

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
        let (mut line, mut up) = (String::new(), 0);
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
    let needle = path.display().to_string();
    let mut sum = 0.0;
    for entry in fs::read_dir("/proc").step("read /proc")?.flatten() {
        let process = entry.path();
        let Ok(command) = fs::read(process.join("cmdline")) else { continue };
        if String::from_utf8_lossy(&command).contains(&needle) {
            // A process that has ended uses no memory.
            let rollup = fs::read_to_string(process.join("smaps_rollup")).unwrap_or_default();
            sum += pss(&rollup).unwrap_or(0.0);
        }
    }
    if sum > 0.0 { Ok(sum) } else { Err(Failure::new("measure memory", format!("no process names {needle}"))) }
}

fn pss(rollup: &str) -> Option<f64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pss_is_not_one_of_its_parts() {
        let rollup = "55 [rollup]\nRss:  1024 kB\nPss:   312 kB\nPss_Dirty:  44 kB\n";
        assert_eq!(pss(rollup), Some(312.0));
        assert_eq!(pss(""), None);
    }
}
