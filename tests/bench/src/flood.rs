//! A container that writes a million lines as fast as they are taken: from the first record of its log to the last, beside the same
//! container under conmon. A line that is missing is an error.

use crate::bundle::{self, Bundle};
use crate::cgroup::Hierarchies;
use crate::conmon;
use crate::failure::{Failure, Result};
use crate::instance::{self, Instance};
use crate::measure::{Contender, interleaved};
use crate::payload::{FLOOD, LINE, LINES, PROGRAM};
use crate::records::{self, between};
use crate::rows::{Row, Side, name};
use crate::service::Service;
use crate::start::{BASE, Setting};
use crate::tools;
use casemate_engine::control::Request;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);

/// The row, and the same in lines and bytes a second.
pub fn rows(setting: &Setting<'_>) -> Result<(Vec<Row>, String)> {
    let instance = Instance::new(setting.work, "flood")?;
    let pin = instance.pack(setting.root)?;
    let mut service = Service::start(&instance, "flood")?;
    let mut round = 0;
    let ours = || {
        // A container that has run is run again by another file, not by the same.
        round += 1;
        service.up(&file(&instance, &pin, round)?)?;
        service.ask(&Request::Wait { names: vec!["flood".to_owned()] })?;
        service.down()?;
        let log = instance.state().join("logs/flood");
        let time = duration("read casemate's log", &records::read(&log)?);
        fs::remove_dir_all(&log).map_err(|error| Failure::new("remove a log", error))?;
        time
    };
    let mut contenders: Vec<Box<dyn Contender + '_>> = vec![Box::new(ours)];
    let missing = match under_conmon(setting)? {
        Ok(contender) => {
            contenders.push(Box::new(contender));
            None
        }
        Err(missing) => Some(missing),
    };
    let samples = interleaved(&mut contenders, ROUNDS)?;
    drop(contenders);
    let mut sides = samples.iter().map(Side::from);
    let ours = sides.next().ok_or_else(|| Failure::new(name::FLOOD, "not measured"))?;
    let peer = sides.next().unwrap_or_else(|| Side::Missing(missing.unwrap_or_default()));
    let rates = samples.iter().map(|samples| {
        let a_second = f64::from(LINES) / samples.median() * 1e3;
        format!("{:.0} lines/s, {:.1} MB/s", a_second, a_second * LINE as f64 / 1e6)
    });
    let line = format!("log throughput: {}\n", rates.collect::<Vec<_>>().join("; conmon: "));
    Ok((vec![Row { name: name::FLOOD, ours, peer, peer_name: name::CONMON, unit: "ms" }], line))
}

fn file(instance: &Instance, pin: &str, round: u32) -> Result<PathBuf> {
    let keys = format!("logging = {{ max_size = \"1GiB\" }}\nenvironment = {{ ROUND = \"{round}\" }}\n");
    let text = String::from(instance::HEAD) + &instance::container("flood", 1, pin, &[PROGRAM, FLOOD], &keys);
    instance.write("casemate.toml", &text)
}

/// From the first record to the last.
fn duration(step: &str, log: &str) -> Result<Duration> {
    let records = records::parse(log);
    match records.as_slice() {
        [first, .., last] if records.len() == LINES as usize => {
            Ok(Duration::from_secs_f64(between(first.time, last.time) / 1e9))
        }
        _ => Err(Failure::new(step, format!("it has {} of {LINES} lines", records.len()))),
    }
}

/// The same under conmon and crun.
struct Conmon {
    bundle: PathBuf,
    start: Box<dyn Contender>,
    clear: Box<dyn Contender>,
}

fn under_conmon(setting: &Setting<'_>) -> Result<std::result::Result<Conmon, String>> {
    let (crun, conmon) = match (tools::find("crun", "crun"), tools::find("conmon", "conmon")) {
        (Ok(crun), Ok(conmon)) => (crun, conmon),
        (Err(missing), _) | (_, Err(missing)) => return Ok(Err(missing)),
    };
    let hierarchies = Hierarchies::read()?;
    let bundles = setting.work.join("flood-bundles");
    let bundle = bundles.join("1");
    let content = Bundle {
        root: setting.root,
        base: BASE,
        limits: !hierarchies.hybrid(),
        calls: setting.calls,
        argv: &[PROGRAM, FLOOD],
        cgroup: "/casemate-bench-flood",
    };
    bundle::write(&bundle, setting.job, &content)?;
    let shell = |body: &str| conmon::shell(&hierarchies, &crun, &bundles, 1, body);
    Ok(Ok(Conmon { start: shell(&conmon::start(&conmon))?, clear: shell(conmon::DELETE)?, bundle }))
}

impl Contender for Conmon {
    fn run(&mut self) -> Result<Duration> {
        let exit = self.bundle.join("exit/bench-1");
        let log = self.bundle.join("log");
        for left in [&exit, &log] {
            let _ = fs::remove_file(left);
        }
        let started = self.start.run();
        let ended = started.and_then(|_| until_exists(&exit));
        self.clear.run()?;
        ended?;
        duration("read conmon's log", &fs::read_to_string(&log).unwrap_or_default())
    }
}

fn until_exists(path: &Path) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !path.exists() {
        if Instant::now() > end {
            return Err(Failure::new("wait for the end", format!("no {}", path.display())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
