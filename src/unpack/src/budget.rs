//! Memory that grows with a layer, bounded as a whole: what a million files or directories make this program keep ends in a refusal.

use crate::fail::refused;
use casemate_wire::Failure;
use std::cell::Cell;
use std::rc::Rc;

/// With a zstd window, the buffers of two threads and the program itself it stays below 32 MiB.
const MOST: usize = 18 * 1024 * 1024;

/// What is left. Clones are the same budget.
#[derive(Clone)]
pub struct Budget(Rc<Cell<usize>>);

impl Budget {
    /// All of it.
    pub fn new() -> Self {
        Self(Rc::new(Cell::new(MOST)))
    }

    /// So many bytes are about to be kept.
    pub fn take(&self, bytes: usize) -> Result<(), Failure> {
        let left = self.0.get().checked_sub(bytes).ok_or_else(|| {
            let most = MOST / 1024 / 1024;
            refused("limit memory", format!("its entries and the names of its directories take more than {most} MiB"))
        })?;
        self.0.set(left);
        Ok(())
    }

    /// So many are kept no longer.
    pub fn give(&self, bytes: usize) {
        self.0.set(self.0.get() + bytes);
    }
}
