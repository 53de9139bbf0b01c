//! The store of images: blobs by digest, a record for each image, an inventory for each layer; and the layers themselves, which the
//! helper has. Readers need no lock, one process changes the store at a time.

mod blobs;
pub mod difference;
mod directories;
pub mod fsck;
pub mod gc;
mod inventories;
pub mod layers;
mod limits;
mod locks;
mod partial;
mod progress;
mod read_only;
mod record;
mod records;
pub mod remove;
mod select;
mod space;
#[expect(clippy::module_inception, reason = "the store itself, beside its parts")]
mod store;
pub mod usage;
pub mod verify;

pub use inventories::InventoryRecord;
pub use limits::Limits;
pub use locks::ReferenceLock;
pub use progress::{Progress, Silent};
pub use read_only::ReadOnlyStore;
pub use record::Record;
pub use select::select;
pub use store::{Store, Writer};

pub(crate) use blobs::{Blobs, CHANGED, Expected};
pub(crate) use record::now;
pub(crate) use select::choose;
