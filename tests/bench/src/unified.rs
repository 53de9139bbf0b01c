//! Commands of tools that want cgroup2 at /sys/fs/cgroup: on a hybrid host they run in a mount namespace where it lies there.

use crate::agent::Agent;
use crate::cgroup::Hierarchies;
use crate::command::{self, Timed};
use crate::failure::{Result, Step};
use crate::measure::Contender;
use std::ffi::OsString;
use std::process::Command;

/// A contender that runs `argv` where cgroup2 is found.
pub fn contender(hierarchies: &Hierarchies, argv: Vec<OsString>) -> Result<Box<dyn Contender>> {
    match &hierarchies.v2 {
        Some(v2) if hierarchies.hybrid() => {
            let mut agent = Command::new("unshare");
            agent.args(["--mount", "--propagation", "private", "sh", "-c"]);
            agent.arg("mount --bind \"$0\" /sys/fs/cgroup && exec \"$@\"").arg(v2);
            agent.arg(std::env::current_exe().step("find this program")?).arg(command::VERB).args(argv);
            Ok(Box::new(Agent::start(&mut agent)?))
        }
        _ => Ok(Box::new(Timed::new(argv))),
    }
}
