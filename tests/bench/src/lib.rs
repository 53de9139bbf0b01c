//! `make bench`: figures of one run, ours beside the peers and the bare-kernel floor; a table, and target/bench.json.
//!
//! Nothing enters but this machine. Every figure is a median of interleaved rounds with its spread; a peer that is not
//! here is named in its row.
#![forbid(unsafe_code)]

mod agent;
mod bundle;
mod cgroup;
mod command;
mod conmon;
mod failure;
mod flood;
mod floor;
mod fresh;
mod instance;
mod layout;
mod many;
mod measure;
mod neighbour;
mod ours;
mod payload;
mod peak;
mod prove;
mod pull;
mod recipe;
mod records;
mod registry;
mod rootfs;
mod rows;
mod running;
mod service;
mod start;
mod thousand;
mod tools;
mod unified;
mod unpack;

pub use rows::ROWS;

use casemate_engine::launch::stages;
use failure::{Failure, Result, Step};
use instance::Instance;
use rows::Row;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The program: measures everything, or serves as an agent of itself.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.next().is_some_and(|name| name == stages::helper::NAME) {
        eprintln!("casemate-bench: {}", stages::helper::run(arguments));
        return ExitCode::FAILURE;
    }
    let arguments: Vec<OsString> = arguments.collect();
    let outcome = match arguments.split_first() {
        None => all(1),
        Some((verb, [count])) if verb == "runs" => match count.to_str().and_then(|count| count.parse().ok()) {
            Some(count @ 1..) => all(count),
            _ => Err(Failure::new("runs", "its argument is the number of runs")),
        },
        Some((verb, [])) if let Some(outcome) = payload::run(verb) => outcome,
        Some((part, [])) if PARTS.iter().any(|known| *part == **known) => one(part),
        Some((verb, rest)) if verb == command::VERB => agent::serve(&mut command::Timed::new(rest.to_vec())),
        Some((verb, rest)) if verb == ours::VERB => ours::serve(rest),
        Some((verb, rest)) if verb == prove::VERB => prove::serve(rest),
        Some(_) => Err(Failure::new(
            "casemate-bench",
            format!("`runs` and their number, one of {PARTS:?}, or nothing for one run of all"),
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("casemate-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// What can be measured alone, to look into it; only a whole run is written down.
const PARTS: [&str; 8] = ["start", "many", "thousand", "neighbour", "flood", "unpack", "pull", "prove"];

/// All rows, in so many runs one after another; bench.json has the last one.
fn all(count: u32) -> Result<()> {
    let mut runs = Vec::new();
    for number in 1..=count {
        eprintln!("casemate-bench: run {number} of {count}");
        let (rows, lines) = measured(|_| true)?;
        let path = write(&rows)?;
        runs.push(rows);
        print!("{}\n{lines}", rows::table(&runs));
        println!("\nmedians of interleaved rounds (min..max); written to {}\n", path.display());
    }
    Ok(())
}

fn one(part: &OsString) -> Result<()> {
    let (rows, lines) = measured(|known| part == known)?;
    print!("{}\n{lines}", rows::table(&[rows]));
    Ok(())
}

/// The rows of the table, and figures that no other tool has beside it.
fn measured(wanted: impl Fn(&str) -> bool) -> Result<(Vec<Row>, String)> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::new("casemate-bench", "the floor and the peers are compared as root: sudo make bench"));
    }
    // Below /var/tmp: a disk, unlike /tmp on many hosts, and reachable for the service users, unlike many a checkout.
    let work = tempfile::Builder::new().prefix("casemate-bench-").tempdir_in("/var/tmp").step("make a directory")?;
    let work = work.path();
    fs::set_permissions(work, fs::Permissions::from_mode(0o755)).step("chmod")?;
    let root = work.join("root");
    let busybox = tools::find("busybox", "busybox-static").map_err(|missing| Failure::new("busybox", missing))?;
    rootfs::make(&root, &busybox)?;
    let instance = Instance::new(work, "ours")?;
    let pin = instance.pack(&root)?;
    let (agent, job) = ours::start(&instance, &instance.file(&pin, 1, &["/bin/true"])?)?;
    let layers: Vec<PathBuf> = job.rootfs.layers.iter().map(|chain| ours::layer(&instance, chain)).collect();
    let calls = profile_calls();
    let setting = start::Setting { work, job: &job, layers: &layers, root: &root, calls: &calls };
    let mut rows = Vec::new();
    if wanted("start") {
        eprintln!("casemate-bench: starts, one after another");
        rows.extend(start::rows(&setting, Box::new(agent))?);
    } else {
        drop(agent);
    }
    if wanted("many") {
        eprintln!("casemate-bench: many containers at once");
        rows.extend(many::rows(&setting, &instance, &pin)?);
    }
    let mut lines = String::new();
    if wanted("thousand") {
        eprintln!("casemate-bench: a thousand containers");
        rows.extend(thousand::rows(work, &root)?);
    }
    if wanted("neighbour") {
        eprintln!("casemate-bench: a container beside one that is proven again and again");
        let other = work.join("root-of-200-MB");
        rootfs::make(&other, &busybox)?;
        let (measured, line) = neighbour::rows(work, &other)?;
        rows.extend(measured);
        lines += &line;
    }
    if wanted("flood") {
        eprintln!("casemate-bench: a million lines");
        let (measured, line) = flood::rows(&setting)?;
        rows.extend(measured);
        lines += &line;
    }
    if wanted("unpack") {
        eprintln!("casemate-bench: images of 200 MB and more");
        rows.extend(unpack::rows(work)?);
    }
    if wanted("pull") {
        eprintln!("casemate-bench: an image from a registry");
        let (pulled, line) = pull::rows(work)?;
        rows.extend(pulled);
        lines += &line;
    }
    if wanted("prove") {
        eprintln!("casemate-bench: layers proven before a start");
        lines += &prove::lines(work)?;
    }
    Ok((rows, lines))
}

/// The names that the default profile allows: the runtimes get them too.
fn profile_calls() -> Vec<String> {
    let lists = casemate_engine::profile::SERVICE.lines().filter_map(|line| line.strip_prefix("calls = "));
    lists.flat_map(|list| serde_json::from_str::<Vec<String>>(list).unwrap_or_default()).collect()
}

/// Writes bench.json into the target directory that this program lies in.
fn write(rows: &[Row]) -> Result<PathBuf> {
    let program = std::env::current_exe().step("find this program")?;
    let target = program.ancestors().filter(|path| path.join("CACHEDIR.TAG").exists()).last();
    let path = target.unwrap_or(Path::new("target")).join("bench.json");
    let rows: Vec<_> = rows.iter().map(Row::json).collect();
    let text = serde_json::to_string_pretty(&rows).step("encode bench.json")?;
    fs::write(&path, text + "\n").step(format_args!("write {}", path.display()))?;
    Ok(path)
}
