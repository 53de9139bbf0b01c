//! Containers under conmon and crun, as Podman and CRI-O run them: the loops of a shell that start them and take them away.

use crate::cgroup::Hierarchies;
use crate::failure::Result;
use crate::measure::Contender;
use crate::unified;
use std::ffi::OsString;
use std::path::Path;

/// Takes away container `bench-$n`.
pub const DELETE: &str = "$crun --root $dir/state delete --force bench-$n";

/// A shell that does `body` for each number from 1, as `$n`; `$crun` is the runtime, and `$dir` has a bundle for each number.
pub fn shell(
    hierarchies: &Hierarchies,
    crun: &Path,
    bundles: &Path,
    count: u32,
    body: &str,
) -> Result<Box<dyn Contender>> {
    let script = format!("crun=$1 dir=$2; n=1; while [ $n -le {count} ]; do {{ {body}; }} || exit 1; n=$((n+1)); done");
    let argv: Vec<OsString> =
        vec!["/bin/sh".into(), "-c".into(), script.into(), "sh".into(), crun.into(), bundles.into()];
    unified::contender(hierarchies, argv)
}

/// Starts container `bench-$n` under a conmon. conmon returns before its runtime has made the container, so `start` is tried until
/// it is there. The log is `$dir/$n/log`; the file `$dir/$n/exit/bench-$n` says that the container has ended.
pub fn start(conmon: &Path) -> String {
    format!(
        "mkdir -p $dir/$n/exit && {} --cid bench-$n --cuuid bench-$n --name bench-$n --runtime $crun --bundle $dir/$n \
         --log-path k8s-file:$dir/$n/log --container-pidfile $dir/$n/pid --exit-dir $dir/$n/exit \
         --socket-dir-path $dir/$n --runtime-arg --root --runtime-arg $dir/state \
         && tries=0 && until $crun --root $dir/state start bench-$n 2>$dir/$n/error; do \
         tries=$((tries+1)); [ $tries -lt 500 ] || {{ cat $dir/$n/error >&2; exit 1; }}; sleep 0.01; done",
        conmon.display()
    )
}
