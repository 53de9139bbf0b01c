//! Peak memory of programs that another program starts, sampled while they run. The kernel keeps the peak of each process, so only the
//! time after the last sample is missed.

use crate::failure::{Failure, Result, Step};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(2);

/// Runs a command to its end; for each name, the largest resident set in KiB of any process of that name.
pub fn during<const N: usize>(command: &mut Command, names: [&str; N]) -> Result<[f64; N]> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().step("run a command")?;
    let mut peaks = [0.0; N];
    loop {
        for entry in fs::read_dir("/proc").step("read /proc")?.flatten() {
            look(&entry.path(), names, &mut peaks);
        }
        if let Some(status) = child.try_wait().step("wait for a command")? {
            if status.success() && peaks.iter().all(|peak| *peak > 0.0) {
                return Ok(peaks);
            }
            return Err(Failure::new("measure memory", format!("{status}; peaks of {names:?}: {peaks:?}")));
        }
        std::thread::sleep(PAUSE);
    }
}

/// A process that has ended was sampled before.
fn look<const N: usize>(process: &Path, names: [&str; N], peaks: &mut [f64; N]) {
    let Ok(name) = fs::read_to_string(process.join("comm")) else { return };
    let Some(at) = names.iter().position(|known| *known == name.trim_end()) else { return };
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    if let (Some(found), Some(peak)) = (high_water(&status), peaks.get_mut(at)) {
        *peak = peak.max(found);
    }
}

fn high_water(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_not_what_is_there_now() {
        assert_eq!(high_water("VmPeak:\t 9 kB\nVmHWM:\t  312 kB\nVmRSS:\t 4 kB\n"), Some(312.0));
        assert_eq!(high_water("Name:\tx\n"), None);
    }

    #[test]
    fn a_program_that_was_not_seen_is_an_error() {
        assert!(during(&mut Command::new("/bin/true"), ["no-such-program"]).is_err());
    }
}
