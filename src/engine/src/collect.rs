//! Image collection after a file was applied: removes images that only dropped revisions pin. Background work with the code and locks of
//! `casemate store gc`. What is not done now is done after the next start or reload: a dropped revision is kept until its images are
//! removed.
use crate::background::Interrupt;
use crate::prepare::Context;
use crate::revisions;
use casemate_error::{Code, Error, bytes};
use casemate_image::Record;
use casemate_image::store::gc::{self, Collected, DroppedRevision, KeepReason};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A younger image may be about to be used: the default of `casemate store gc`.
const MIN_AGE: Duration = Duration::from_secs(3600);

/// Whether there are dropped revisions.
pub fn is_needed(context: &Context) -> bool {
    match revisions::dropped(&context.session.directories.state) {
        Ok(dropped) => !dropped.is_empty(),
        Err(error) => {
            log::warn!("list dropped revisions: {error}");
            false
        }
    }
}

/// Collects, and logs the result.
pub fn run(context: &Context, interrupt: &Interrupt) {
    const LATER: &str = "images of dropped revisions stay until the next start or reload, or `casemate store gc`";
    match collect(context, interrupt) {
        Ok(Some(collected)) if collected.removed.is_empty() => {}
        Ok(Some(Collected { removed, bytes: freed, .. })) => {
            let names: Vec<String> = removed.iter().map(Record::display_name).collect();
            log::info!("collected {}: no kept revision uses them; {} freed", names.join(", "), bytes(freed));
        }
        Ok(None) => log::info!("the store is locked by another process: {LATER}"),
        Err(error) => log::warn!("{LATER}: {error}"),
    }
}

/// `None`: the store is locked by another process.
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
    for (revision, _) in dropped.into_iter().zip(needed).filter(|(_, needed)| !needed) {
        revision.remove().map_err(failed("remove a dropped revision"))?;
    }
    Ok(Some(collected))
}
