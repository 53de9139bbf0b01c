//! `casemate store gc`.

use crate::image::Work;
use crate::print;
use crate::progress::waiting_for_store;
use crate::{Error, Global};
use casemate_image::store::Record;
use casemate_image::store::gc::{self, Collected, Plan};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Remove unused images
///
/// Keeps images of a kept revision of the file (`store.keep` is their number), of a running container, of `casemate image pin`, and
/// images that are younger than --min-age. Layers and blobs that a kept image shares stay. Images that only a dropped revision used are
/// removed automatically once a new file is up.
#[derive(Debug, clap::Args)]
pub struct Gc {
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Keep images that were imported within this time, since a file may be about to use them
    #[arg(long, value_name = "HOURS", default_value_t = 1)]
    min_age: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    removed: Vec<String>,
    /// Images that a container uses.
    in_use: Vec<String>,
    kept: Vec<Kept>,
    bytes: u64,
    dry_run: bool,
}

#[derive(Serialize)]
struct Kept {
    image: String,
    reason: String,
}

impl Gc {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let mut work = Work::enter(global)?;
        let revisions = work.session.directories.state.join("revisions");
        let shown = self.collect(&mut work, &revisions);
        let shown = work.leave(shown)?;
        if self.json { print::json(&shown) } else { print::text(&page(&shown)) }
    }

    fn collect(&self, work: &mut Work, revisions: &Path) -> Result<Shown, Error> {
        work.confine()?;
        let references = work.store.lock_references_exclusively(waiting_for_store)?;
        let writer = work.store.lock(waiting_for_store)?;
        let age = Duration::from_secs(u64::from(self.min_age) * 3600);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // With 0, an image that was imported in this second is not new.
        let oldest = now.saturating_sub(age).as_secs();
        let plan = gc::plan(&work.store, revisions, oldest)?;
        let kept =
            plan.keep.iter().map(|(record, reason)| Kept { image: record.display_name(), reason: reason.to_string() });
        let kept = kept.collect();
        let Collected { removed, in_use, bytes } = if self.dry_run {
            let Plan { remove, .. } = plan;
            Collected { removed: remove, ..Collected::default() }
        } else {
            let mut collected = gc::collect(&mut work.client, &writer, &references, plan)?;
            collected.bytes += gc::sweep_unfinished(&mut work.client, &writer)?;
            collected
        };
        let names = |records: &[Record]| records.iter().map(Record::display_name).collect();
        Ok(Shown { removed: names(&removed), in_use: names(&in_use), kept, bytes, dry_run: self.dry_run })
    }
}

fn page(shown: &Shown) -> String {
    let word = if shown.dry_run { "would remove" } else { "removed" };
    let mut lines: Vec<String> = shown.removed.iter().map(|image| format!("{word} {image}\n")).collect();
    lines.extend(shown.in_use.iter().map(|image| format!("kept {image}: a container uses it\n")));
    if shown.dry_run {
        lines.extend(shown.kept.iter().map(|kept| format!("would keep {}: {}\n", kept.image, kept.reason)));
    } else {
        lines.push(format!("freed {}\n", print::size(shown.bytes)));
    }
    lines.concat()
}
