//! `casemate image pin` and `unpin`.

use super::{text, waiting};
use crate::cli::{Error, Global};
use crate::image::{self, Store};
use crate::launch::{self, Role};

const EXAMPLE: &str = "Example:\n  casemate image pin docker.io/library/redis:8";

/// Which images.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Pin {
    /// Names, pins, or the first six digits of a digest and more
    #[arg(required = true, value_name = "NAME|DIGEST")]
    images: Vec<String>,
}

impl Pin {
    pub(super) fn run(&self, global: &Global, held: bool) -> Result<(), Error> {
        let session = launch::enter(global.directories()?, Role::Store)?;
        session.confine()?;
        let store = Store::open(&session.directories.state)?;
        let writer = store.lock(waiting)?;
        let records = store.records()?;
        let selected = self.images.iter().map(|text| image::select(&records, text)).collect::<Result<Vec<_>, _>>()?;
        image::hold(&writer, &selected, held)?;
        let word = if held { "pinned" } else { "unpinned" };
        text::print(&selected.iter().map(|record| format!("{word} {}\n", record.pin)).collect::<String>())
    }
}
