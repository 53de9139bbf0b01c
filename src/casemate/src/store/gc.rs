//! `casemate store gc`.

use crate::image::{Work, text, waiting};
use crate::{Error, Global};
use casemate_image::store::Record;
use casemate_image::store::gc::{self, Collected, Plan};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Remove images that nothing needs
///
/// Stays: what an applied file names (`[store] keep` says how many of them are kept), what a container runs on, what `image pin` holds,
/// and what has just been imported. Layers and blobs that another image shares stay with it. Images that only files named which are
/// not kept any more go by themselves when a new file is up.
#[derive(Debug, clap::Args)]
pub struct Gc {
    /// Say what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave images that were imported within so many hours: no file may name them yet
    #[arg(long, value_name = "HOURS", default_value_t = 1)]
    min_age: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    removed: Vec<String>,
    /// A container runs on them.
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
        if self.json { text::print_json(&shown) } else { text::print(&page(&shown)) }
    }

    fn collect(&self, work: &mut Work, revisions: &Path) -> Result<Shown, Error> {
        work.confine()?;
        let references = work.store.lock_references_exclusively(waiting)?;
        let writer = work.store.lock(waiting)?;
        let age = Duration::from_secs(u64::from(self.min_age) * 3600);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // What was imported in this second is not new for somebody who says 0.
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
    lines.extend(shown.in_use.iter().map(|image| format!("kept {image}: a container runs on it\n")));
    if shown.dry_run {
        lines.extend(shown.kept.iter().map(|kept| format!("would keep {}: {}\n", kept.image, kept.reason)));
    } else {
        lines.push(format!("freed {}\n", text::size(shown.bytes)));
    }
    lines.concat()
}
