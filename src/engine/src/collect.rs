//! After a file was applied: images that only files named which are not kept any more go. Runs in a thread beside the loop, by the code
//! and the locks of `casemate store gc`. What is not done, whatever the reason, is done when the next manager or the next file is up:
//! a dropped revision is known until nothing is left of it.

use crate::background::Interrupt;
use crate::prepare::Context;
use crate::revisions;
use casemate_error::{Code, Error, bytes};
use casemate_image::Record;
use casemate_image::store::gc::{self, Collected, DroppedRevision, KeepReason};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An image that came since may be about to be used: the default of `casemate store gc`.
const MIN_AGE: Duration = Duration::from_secs(3600);

/// Whether there is something to collect.
pub fn is_needed(context: &Context) -> bool {
    match revisions::dropped(&context.session.directories.state) {
        Ok(dropped) => !dropped.is_empty(),
        Err(error) => {
            log::warn!("images of files that are not kept: list: {error}");
            false
        }
    }
}

/// Collects, and logs what was done.
pub fn run(context: &Context, interrupt: &Interrupt) {
    const LATER: &str = "images that no kept file names stay until the next start or reload, or `casemate store gc`";
    match collect(context, interrupt) {
        Ok(Some(collected)) if collected.removed.is_empty() => {}
        Ok(Some(Collected { removed, bytes: freed, .. })) => {
            let names: Vec<String> = removed.iter().map(Record::display_name).collect();
            log::info!("collected {}: no kept file names them; {} freed", names.join(", "), bytes(freed));
        }
        Ok(None) => log::info!("another process has the store: {LATER}"),
        Err(error) => log::warn!("{LATER}: {error}"),
    }
}

/// `None`: another process has the store.
fn collect(context: &Context, interrupt: &Interrupt) -> Result<Option<Collected>, Error> {
    let mut client = context.connect(interrupt)?;
    let store = context.store()?;
    let Some(references) = store.try_lock_references_exclusively()? else { return Ok(None) };
    let Some(writer) = store.try_lock()? else { return Ok(None) };
    let state = &context.session.directories.state;
    let failed = |step| move |error| Error::new(Code::Failed, state.join("revisions").display(), step, error);
    let dropped = revisions::dropped(state).map_err(failed("list"))?;
    let dropped_files: Vec<_> =
        dropped.iter().map(|file| DroppedRevision { text: &file.text, since: file.since }).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let plan =
        gc::plan_dropped(&store, &state.join("revisions"), &dropped_files, now.saturating_sub(MIN_AGE).as_secs())?;
    let new = plan.keep.iter().filter(|(_, reason)| *reason == KeepReason::New).map(|(record, _)| record.clone());
    let mut left: Vec<Record> = new.collect();
    let collected = gc::collect(&mut client, &writer, &references, plan)?;
    left.extend(collected.in_use.iter().cloned());
    let needed: Vec<bool> = dropped_files.iter().map(|file| left.iter().any(|record| file.pins(record))).collect();
    for (file, _) in dropped.into_iter().zip(needed).filter(|(_, needed)| !needed) {
        file.forget().map_err(failed("forget a dropped file"))?;
    }
    Ok(Some(collected))
}
