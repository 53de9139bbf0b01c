//! `casemate image rm`.

use super::Work;
use crate::print;
use crate::progress::waiting_for_store;
use crate::{Error, Global};
use casemate_image::store::{Record, remove, select};
use casemate_image::{self as image};
use casemate_wire::Digest;
use serde::Serialize;
use std::path::Path;

/// Remove images, with the layers and blobs that no other image shares
///
/// Refuses an image that an applied file pins, since the next boot needs it. A layer that a container still uses is removed by the
/// next removal or import.
#[derive(Debug, clap::Args)]
pub struct Rm {
    /// Names, pins, or at least the first six digits of a digest
    #[arg(required = true, value_name = "NAME|DIGEST")]
    images: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Outcome {
    removed: Vec<String>,
    bytes: u64,
}

impl Rm {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let mut work = Work::enter(global)?;
        let revisions = work.session.directories.state.join("revisions");
        let outcome = self.remove(&mut work, &revisions);
        let (pins, bytes) = work.leave(outcome)?;
        if self.json {
            let removed = pins.iter().map(Digest::to_string).collect();
            return print::json(&Outcome { removed, bytes });
        }
        let lines: String = pins.iter().map(|pin| format!("removed {pin}\n")).collect();
        print::text(&format!("{lines}freed {} of blobs\n", print::size(bytes)))
    }

    fn remove(&self, work: &mut Work, revisions: &Path) -> Result<(Vec<Digest>, u64), image::Error> {
        let _references = work.store.lock_references_exclusively(waiting_for_store)?;
        let writer = work.store.lock(waiting_for_store)?;
        let records = work.store.all_records()?;
        let selected = self.images.iter().map(|text| select(&records, text));
        let selected: Vec<&Record> = selected.collect::<Result<_, _>>()?;
        for record in &selected {
            work.store.expect_own(&record.pin)?;
            if let Some(file) = remove::applied_file_with(revisions, record)? {
                let by = format!("the applied file {}", file.display());
                return Err(image::Error::InUse { image: record.pin, by });
            }
        }
        let mut pins: Vec<_> = selected.iter().map(|record| record.pin).collect();
        pins.sort_unstable();
        pins.dedup();
        let freed = remove::remove(&mut work.client, &writer, &pins)?;
        Ok((pins, freed))
    }
}
