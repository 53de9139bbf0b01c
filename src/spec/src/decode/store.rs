//! `[store]`: how images are kept.

use super::scalar;
use crate::cursor::Cursor;
use crate::finding::Findings;
use crate::policy::Verify;
use crate::raw::RawStore;
use crate::rules;

/// More would be a way of keeping images that nobody has thought of.
const MOST_PRELOADED: usize = 8;

pub(super) fn store(mut table: Cursor<'_>, out: &mut Findings<'_>) -> RawStore {
    let preload = table.take("preload").and_then(|item| {
        let paths = scalar::paths(&item, out)?;
        if paths.len() > MOST_PRELOADED {
            out.add(&rules::NUMBER, &item.span, format!("`preload` has at most {MOST_PRELOADED} paths"));
        }
        Some(paths)
    });
    let keep = table.take("keep").and_then(|item| scalar::limit(&item, 1..=100, out));
    let free_space = table.take("free_space").and_then(|item| scalar::size_or_zero(&item, out));
    let words = [("pull", Verify::Pull), ("start", Verify::Start)];
    let verify = table.take("verify").and_then(|item| scalar::word(&item, &words, out));
    let max_concurrent_downloads =
        table.take("max_concurrent_downloads").and_then(|item| scalar::limit(&item, 1..=16, out));
    let max_download_rate = table.take("max_download_rate").and_then(|item| scalar::size(&item, out));
    table.finish(out);
    let keep = keep.and_then(|keep| usize::try_from(keep).ok());
    RawStore { preload, keep, free_space, verify, max_concurrent_downloads, max_download_rate }
}
