//! Ours, from the manager's side of the helper's socket: one start after another, timed from the request sent to the exit
//! heard of. Runs as an agent, because entering an instance makes a process the manager's user for good.

use crate::failure::{Failure, Result, Step};
use crate::measure::Contender;
use casemate_manager::helper_client::Client;
use casemate_wire::{Event, Job, Reply, Request};
use std::time::{Duration, Instant};

/// A connection that supervises, and the job to start.
#[derive(Debug)]
pub struct Starts {
    /// Gets the events.
    pub client: Client,
    /// What is started.
    pub job: Job,
}

impl Contender for Starts {
    fn run(&mut self) -> Result<Duration> {
        let request = Request::Start(Box::new(self.job.clone()));
        let begin = Instant::now();
        let (reply, pipes) = self.client.call(request, &[]).step("start")?;
        let Event::Exited { exit, .. } = self.client.wait_event().step("wait for the exit")?;
        let time = begin.elapsed();
        drop(pipes);
        self.client.done(Request::Forget(self.job.name.clone())).step("forget")?;
        match (reply, exit.code) {
            (Reply::Started, 0) => Ok(time),
            _ => Err(Failure::new("start", format!("{exit:?}"))),
        }
    }
}
