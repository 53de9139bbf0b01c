//! Ours, from the manager's side of the helper's socket: one start after another, timed from the request to the exit
//! event. Runs as an agent, because entering an instance makes a process the manager's user for good.

use crate::agent;
use crate::failure::{Failure, Result, Step};
use crate::instance::Instance;
use crate::measure::Contender;
use casemate_client::Client;
use casemate_engine::launch::{self, Directories, Role};
use casemate_engine::plan::{self, ContainerFacts, HostFacts};
use casemate_image::store::Silent;
use casemate_image::store::layers::unpack_missing;
use casemate_image::{Limits, Store};
use casemate_spec::{self as spec, Date};
use casemate_wire::{Digest, Event, Exited, Job, Reply, Request};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What [`serve`] is called with on the command line.
pub const VERB: &str = "agent-start";

/// The agent for the first container of this file, and the job that it starts.
pub fn start(instance: &Instance, file: &Path) -> Result<(agent::Agent, Job)> {
    let mut command = Command::new(std::env::current_exe().step("find this program")?);
    command.arg(VERB).arg(instance.state()).arg(instance.run()).arg(file);
    let mut agent = agent::Agent::start(&mut command)?;
    let line = agent.line()?;
    let bytes: Option<Vec<u8>> =
        (0..line.len() / 2).map(|at| u8::from_str_radix(line.get(2 * at..2 * at + 2)?, 16).ok()).collect();
    let job = bytes.and_then(|bytes| Job::decode(&bytes).ok());
    Ok((agent, job.ok_or_else(|| Failure::new("plan", &line))?))
}

/// Where the helper keeps a layer's files.
pub fn layer(instance: &Instance, chain: &Digest) -> PathBuf {
    instance.state().join("layers/sha256").join(chain.hex()).join("fs")
}

/// The agent: the way of `casemate up` to the first job, which is printed in hexadecimal digits; then starts on demand.
pub fn serve(arguments: &[OsString]) -> Result<()> {
    let [state, run, file] = arguments else { return Err(Failure::new(VERB, "three paths are needed")) };
    let text = std::fs::read_to_string(file).step("read the file")?;
    let today = Date::from_unix(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
    let (spec, _) =
        spec::parse(&text, today).map_err(|findings| Failure::new("check the file", format!("{findings:?}")))?;
    let container = spec.containers.first().ok_or_else(|| Failure::new("check the file", "no container"))?;
    let outside = ContainerFacts::read(container, Path::new("/"), &HostFacts::read()).step("read the host")?;
    let directories = Directories::new(state, run);
    let session = launch::enter(directories, Role::Supervisor).step("enter the instance")?;
    let mut client = session.connect(true).step("connect")?;
    let facts = client.facts().step("ask for the facts of the host")?;
    let store = Store::open(&session.directories.state).step("open the store")?;
    let image = store.resolve(&container.image.digest).step("prove the image")?;
    let job = plan::job(&spec, container, &image, &facts, &outside).step("plan")?;
    unpack_missing(&mut client, &store, &image, &Limits::default(), &mut Silent).step("unpack")?;
    let bytes = job.encode().step("encode the job")?;
    let mut line = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(line, "{byte:02x}");
    }
    println!("{line}");
    let mut starts = Starts { client, job };
    agent::serve(&mut starts)?;
    drop(starts.client);
    session.leave().step("leave the instance")
}

/// A connection that supervises, and the job to start.
struct Starts {
    client: Client,
    job: Job,
}

impl Contender for Starts {
    fn run(&mut self) -> Result<Duration> {
        let request = Request::Start(self.job.to_start().step("encode the job")?);
        let begin = Instant::now();
        let (reply, pipes) = self.client.call(&request, &[]).step("start")?;
        let exit = loop {
            if let Event::Exited(Exited { exit, .. }) = self.client.wait_event().step("wait for the exit")? {
                break exit;
            }
        };
        let time = begin.elapsed();
        drop(pipes);
        self.client.done(&Request::Forget(self.job.name.clone())).step("forget")?;
        match (reply, exit.code) {
            (Reply::Started(()), 0) => Ok(time),
            _ => Err(Failure::new("start", format!("{exit:?}"))),
        }
    }
}
