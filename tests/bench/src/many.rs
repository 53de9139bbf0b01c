//! Many containers: from one file read to all running, beside a loop of `crun run -d`; and what the processes that stay
//! weigh and how often they wake up, beside one conmon a container.

use crate::bundle::{self, Bundle};
use crate::cgroup::Hierarchies;
use crate::conmon::{self, DELETE};
use crate::failure::{Result, Step};
use crate::instance::Instance;
use crate::measure::{Contender, Samples, interleaved};
use crate::rows::{Row, Side, name};
use crate::running::{PAYLOAD, Running, memory_of, wakeups_of};
use crate::start::{BASE, Setting};
use crate::tools;
use std::path::{Path, PathBuf};
use std::time::Duration;

const ROUNDS: usize = 3;
const COUNTS: [u32; 3] = [1, 10, 100];

/// The rows of memory, and of starting many.
pub fn rows(setting: &Setting<'_>, instance: &Instance, pin: &str) -> Result<Vec<Row>> {
    let peers = Peers::new(setting)?;
    let mut rows = memory_rows(instance, pin, &peers)?;
    rows.push(idle_row(instance, pin, &peers)?);
    rows.push(start_row(instance, pin, &peers)?);
    Ok(rows)
}

fn memory_rows(instance: &Instance, pin: &str, peers: &Peers) -> Result<Vec<Row>> {
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for count in COUNTS {
        let file = instance.file(pin, count, &PAYLOAD)?;
        let (running, _) = Running::start(instance, &file, count)?;
        let memory = memory_of(&instance.state());
        running.stop()?;
        ours.push(Side::single(memory?));
        theirs.push(peers.conmon(count, memory_of)?);
    }
    let extra = |sides: &[Side]| match sides {
        [_, Side::Measured { median: ten, .. }, Side::Measured { median: hundred, .. }] => {
            Side::single((hundred - ten) / 90.0)
        }
        [.., last] => last.clone(),
        [] => Side::Missing("not measured".into()),
    };
    ours.push(extra(&ours));
    theirs.push(extra(&theirs));
    let names = [name::MEMORY_1, name::MEMORY_10, name::MEMORY_100, name::MEMORY_EXTRA];
    let rows = names.into_iter().zip(ours.into_iter().zip(theirs));
    Ok(rows.map(|(name, (ours, peer))| Row { name, ours, peer, peer_name: name::CONMON, unit: "KiB" }).collect())
}

fn idle_row(instance: &Instance, pin: &str, peers: &Peers) -> Result<Row> {
    let file = instance.file(pin, 100, &PAYLOAD)?;
    let (running, _) = Running::start(instance, &file, 100)?;
    let wakeups = wakeups_of(&instance.state());
    running.stop()?;
    let ours = Side::single(wakeups?);
    let peer = peers.conmon(100, wakeups_of)?;
    Ok(Row { name: name::IDLE, ours, peer, peer_name: name::CONMON, unit: "1/min" })
}

fn start_row(instance: &Instance, pin: &str, peers: &Peers) -> Result<Row> {
    let file = instance.file(pin, 100, &PAYLOAD)?;
    let ours = || {
        let (running, time) = Running::start(instance, &file, 100)?;
        running.stop()?;
        Ok(time)
    };
    let mut contenders: Vec<Box<dyn Contender + '_>> = vec![Box::new(ours)];
    let peer = match peers.crun_loop(100)? {
        Ok(contender) => {
            contenders.push(Box::new(contender));
            None
        }
        Err(missing) => Some(Side::Missing(missing)),
    };
    let samples = interleaved(&mut contenders, ROUNDS)?;
    let side = |index: usize| samples.get(index).map_or_else(|| Side::from(&Samples::new(vec![])), Side::from);
    let peer = peer.unwrap_or_else(|| side(1));
    Ok(Row { name: name::MANY, ours: side(0), peer, peer_name: name::CRUN_LOOP, unit: "ms" })
}

/// What is needed to run the peers.
struct Peers {
    hierarchies: Hierarchies,
    crun: std::result::Result<PathBuf, String>,
    conmon: std::result::Result<PathBuf, String>,
    bundles: PathBuf,
}

impl Peers {
    fn new(setting: &Setting<'_>) -> Result<Self> {
        let hierarchies = Hierarchies::read()?;
        let bundles = setting.work.join("bundles");
        for number in 1..=100 {
            let bundle = Bundle {
                root: setting.root,
                base: BASE,
                limits: !hierarchies.hybrid(),
                calls: setting.calls,
                argv: &PAYLOAD,
                cgroup: &format!("/casemate-bench-{number}"),
            };
            bundle::write(&bundles.join(number.to_string()), setting.job, &bundle)?;
        }
        let crun = tools::find("crun", "crun");
        let conmon = tools::find("conmon", "conmon");
        Ok(Self { hierarchies, crun, conmon, bundles })
    }

    fn shell(&self, crun: &Path, count: u32, body: &str) -> Result<Box<dyn Contender>> {
        conmon::shell(&self.hierarchies, crun, &self.bundles, count, body)
    }

    fn crun_loop(&self, count: u32) -> Result<std::result::Result<Loop, String>> {
        let crun = match &self.crun {
            Ok(crun) => crun,
            Err(missing) => return Ok(Err(missing.clone())),
        };
        let start = "$crun --root $dir/state run --detach --bundle $dir/$n bench-$n";
        Ok(Ok(Loop { start: self.shell(crun, count, start)?, clear: self.shell(crun, count, DELETE)? }))
    }

    /// One conmon a container, as Podman and CRI-O run them; what is measured of them together.
    fn conmon(&self, count: u32, measure: impl Fn(&Path) -> Result<f64>) -> Result<Side> {
        let (crun, conmon) = match (&self.crun, &self.conmon) {
            (Ok(crun), Ok(conmon)) => (crun, conmon),
            (Err(missing), _) | (_, Err(missing)) => return Ok(Side::Missing(missing.clone())),
        };
        let started = self.shell(crun, count, &conmon::start(conmon))?.run();
        let measured = measure(&self.bundles);
        self.shell(crun, count, DELETE)?.run()?;
        started.and(measured).map(Side::single)
    }
}

/// A loop that leaves containers behind, and the one that removes them.
struct Loop {
    start: Box<dyn Contender>,
    clear: Box<dyn Contender>,
}

impl Contender for Loop {
    fn run(&mut self) -> Result<Duration> {
        let time = self.start.run();
        self.clear.run().step("remove the loop's containers")?;
        time
    }
}
