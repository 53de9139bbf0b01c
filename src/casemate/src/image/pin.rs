//! `casemate image pin` and `unpin`.

use super::{entered, opened};
use crate::print;
use crate::progress::waiting_for_store;
use crate::{Error, Global};
use casemate_engine::launch::Role;
use casemate_image::store::{remove, select};

const EXAMPLE: &str = "Example:\n  casemate image pin docker.io/library/redis:8";

/// The images to pin or unpin.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Pin {
    /// Names, pins, or at least the first six digits of a digest
    #[arg(required = true, value_name = "NAME|DIGEST")]
    images: Vec<String>,
}

impl Pin {
    pub(super) fn run(&self, global: &Global, held: bool) -> Result<(), Error> {
        let (session, _) = entered(global, Role::Store)?;
        session.confine()?;
        let store = opened(&session)?;
        let writer = store.lock(waiting_for_store)?;
        let records = store.all_records()?;
        let selected = self.images.iter().map(|text| select(&records, text)).collect::<Result<Vec<_>, _>>()?;
        selected.iter().try_for_each(|record| store.expect_own(&record.pin))?;
        remove::hold(&writer, &selected, held)?;
        let word = if held { "pinned" } else { "unpinned" };
        print::text(&selected.iter().map(|record| format!("{word} {}\n", record.pin)).collect::<String>())
    }
}
