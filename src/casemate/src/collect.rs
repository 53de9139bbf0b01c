//! After a file was applied: images that only files named which are not kept any more go, beside the supervising.
//!
//! In a thread with a connection of its own, as removing a layer takes its time; by the code of `store gc`, and with its locks, for
//! which nobody is waited for. What is not done, whatever the reason, is done when the next manager or the next file is up: a revision
//! that was dropped is known until nothing is left of it.

use super::image::text;
use super::orders::Ground;
use super::{Code, Error};
use casemate_client::Client;
use casemate_engine::launch::Directories;
use casemate_engine::supervise::{Attendance, revisions};
use casemate_image::gc::{self, Collected, Former, NEW};
use casemate_image::{Record, Store};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::pipe::PipeFlags;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// As `store gc` has it where it is told nothing: an image that came since is somebody's who is about to use it.
const MIN_AGE: Duration = Duration::from_secs(3600);

/// Between two looks whether it is over.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// One that was begun.
pub struct Collection {
    thread: JoinHandle<()>,
    /// Held open: its closing interrupts.
    go_on: OwnedFd,
}

impl Collection {
    /// Whether it has ended by itself.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until it is over, or somebody wants the end.
    pub fn finish(self, signals: &OwnedFd) {
        let mut told = [PollFd::new(signals, PollFlags::IN)];
        while !self.is_over() && matches!(poll(&mut told, Some(&PAUSE)), Ok(0)) {}
        self.end();
    }

    /// Ends it after the step that it is in.
    pub fn end(self) {
        drop(self.go_on);
        let _ = self.thread.join();
    }
}

/// Begins, if there is something to do.
pub fn start(attendance: &mut Attendance, ground: &Ground<'_>) -> Option<Collection> {
    let directories = ground.session.directories.clone();
    let state = directories.state.join("revisions");
    let begun = || -> Result<_, Error> {
        let failed = |step| move |error| Error::new(Code::Failed, "images of files that are not kept", step, error);
        let dropped = revisions::dropped(&directories.state);
        if dropped.map_err(|error| Error::new(Code::Failed, state.display(), "list", error))?.is_empty() {
            return Ok(None);
        }
        let (mut client, _) = ground.session.connect(false)?;
        let pipe = || {
            let pipe = rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
            pipe.map_err(|errno| failed("make a pipe")(std::io::Error::from(errno)))
        };
        let ((interrupt, go_on), (ended, until_end)) = (pipe()?, pipe()?);
        client.interrupt_on(interrupt).map_err(|error| Error::told(Code::Failed, error))?;
        let work = move || {
            report(collect(client, &directories));
            drop(until_end);
        };
        let thread = std::thread::Builder::new().spawn(work).map_err(failed("make a thread"))?;
        Ok(Some((Collection { thread, go_on }, ended)))
    };
    match begun() {
        Ok(begun) => begun.map(|(collection, ended)| {
            attendance.beside(ended);
            collection
        }),
        Err(error) => {
            log::warn!("{error}");
            None
        }
    }
}

/// `None`: somebody else has the store.
fn collect(mut client: Client, directories: &Directories) -> Result<Option<Collected>, Error> {
    let store = Store::open_with(&directories.state, directories.preloaded())?;
    let Some(taking) = store.try_taking()? else { return Ok(None) };
    let Some(writer) = store.try_lock()? else { return Ok(None) };
    let revisions = directories.state.join("revisions");
    let failed = |step| {
        let object = revisions.display().to_string();
        move |error: std::io::Error| Error::new(Code::Failed, object, step, error)
    };
    let dropped = revisions::dropped(&directories.state).map_err(failed("list"))?;
    let former: Vec<_> = dropped.iter().map(|file| Former { text: &file.text, since: file.since }).collect();
    let oldest = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(MIN_AGE).as_secs();
    let plan = gc::plan_former(&store, &revisions, &former, oldest)?;
    let new = plan.keep.iter().filter(|(_, reason)| reason == NEW).map(|(record, _)| record.clone());
    let mut left: Vec<Record> = new.collect();
    let collected = gc::collect(&mut client, &writer, &taking, plan)?;
    left.extend(collected.in_use.iter().cloned());
    let needed: Vec<bool> = former.iter().map(|file| left.iter().any(|record| file.pins(record))).collect();
    for (file, _) in dropped.into_iter().zip(needed).filter(|(_, needed)| !needed) {
        file.forget().map_err(failed("forget a dropped file"))?;
    }
    Ok(Some(collected))
}

fn report(outcome: Result<Option<Collected>, Error>) {
    const LATER: &str = "images that no kept file names stay until the next start or reload, or `casemate store gc`";
    match outcome {
        Ok(Some(collected)) if collected.removed.is_empty() => {}
        Ok(Some(Collected { removed, bytes, .. })) => {
            let names: Vec<String> = removed.iter().map(Record::shown).collect();
            log::info!("collected {}: no kept file names them; {} freed", names.join(", "), text::size(bytes));
        }
        Ok(None) => log::info!("somebody else has the store: {LATER}"),
        Err(error) => log::warn!("{LATER}: {error}"),
    }
}
