//! What `store.verify = "start"` costs: the files of one layer listed and compared, as before a start, beside `sha256sum` of the
//! same files, which reads as much and looks at no mode, owner, time or attribute.

use crate::agent::{self, Agent};
use crate::command::Timed;
use crate::failure::{Failure, Result, Step};
use crate::instance::Instance;
use crate::measure::{Contender, interleaved};
use crate::tools;
use casemate_engine::launch::{self, Directories, Role};
use casemate_image::Store;
use casemate_image::store::verify::verify_layers;
use casemate_wire::Digest;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What [`serve`] is called with on the command line.
pub const VERB: &str = "agent-prove";
/// Files of a layer.
const COUNTS: [usize; 3] = [1_000, 10_000, 50_000];
/// Bytes of a file: Debian's median is about this.
const SIZE: usize = 4096;
const ROUNDS: usize = 5;

/// A line for each size of layer.
pub fn lines(work: &Path) -> Result<String> {
    let mut text = String::new();
    for count in COUNTS {
        let instance = Instance::new(work, &format!("prove-{count}"))?;
        let root = work.join(format!("files-{count}"));
        make(&root, count)?;
        let pack = ["image", "pack", "--name", "files", "--entrypoint", "/0/0"];
        tools::run(instance.command(pack)?.arg(&root))?;
        let mut command = Command::new(std::env::current_exe().step("find this program")?);
        let agent = Agent::start(command.arg(VERB).arg(instance.state()).arg(instance.run()))?;
        let script = format!("find {} -type f -print0 | xargs -0 sha256sum", root.display());
        let mut contenders: Vec<Box<dyn Contender>> =
            vec![Box::new(agent), Box::new(Timed::new(["/bin/sh", "-c", &script]))];
        let samples = interleaved(&mut contenders, ROUNDS)?;
        drop(contenders);
        let [ours, theirs] = samples.as_slice() else { return Err(Failure::new("prove", "not measured")) };
        let each = |milliseconds: f64| milliseconds * 1e3 / count as f64;
        text += &format!(
            "proof of a layer of {count} files before a start: {:.1} ms ({:.1}..{:.1}), {:.1} us a file; sha256sum: {:.1} ms\n",
            ours.median(),
            ours.min(),
            ours.max(),
            each(ours.median()),
            theirs.median()
        );
        fs::remove_dir_all(&root).step("remove the files")?;
    }
    Ok(text)
}

fn make(root: &Path, count: usize) -> Result<()> {
    for file in 0..count {
        let directory = root.join((file / 100).to_string());
        if file % 100 == 0 {
            fs::create_dir_all(&directory).step("make a directory")?;
        }
        let text = format!("{file:016}").repeat(SIZE / 16);
        fs::write(directory.join((file % 100).to_string()), text).step("write a file")?;
    }
    Ok(())
}

/// The agent: the manager of this instance, which proves all layers of its images on demand.
pub fn serve(arguments: &[OsString]) -> Result<()> {
    let [state, run] = arguments else { return Err(Failure::new(VERB, "two paths are needed")) };
    let directories = Directories::new(state, run);
    let session = launch::enter(directories, Role::Client).step("enter the instance")?;
    let mut client = session.connect(false).step("connect")?;
    let state = session.directories.state.clone();
    let records = Store::open(&state).and_then(|store| store.records()).step("list the images")?;
    let layers: Vec<Digest> = records.into_iter().flat_map(|record| record.layers).collect();
    let mut prove = || -> Result<Duration> {
        let begin = Instant::now();
        verify_layers(&mut client, &state, &[], &layers).step("prove")?;
        Ok(begin.elapsed())
    };
    agent::serve(&mut prove)?;
    drop(client);
    session.leave().step("leave the instance")
}
