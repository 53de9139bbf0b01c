//! Images: import, proof, storage and packing.
//!
//! What enters is a digest or a file that nobody vouches for; what leaves is an [`Image`] whose every byte was proven
//! against the digest. The manager reads JSON documents here, never an archive: `casemate-unpack` does that, confined.
#![forbid(unsafe_code)]

mod blobs;
pub mod bundle;
mod change;
pub mod config;
pub mod difference;
mod error;
mod flaw;
pub mod fsck;
pub mod gc;
pub mod history;
pub mod import;
mod json;
mod locks;
pub mod manifest;
mod media;
mod model;
pub mod name;
pub mod pack;
mod platform;
mod preloaded;
mod prove;
mod prove_layers;
pub mod pull;
pub mod push;
mod record;
pub mod registry;
mod select;
mod store;
mod trees;
mod unpack;
mod usage;
mod write;

pub use change::{hold, import, import_with, pinned_by, remove};
pub use error::Error;
pub use flaw::Flaw;
pub use locks::Using;
pub use model::{Image, ImageConfig, Layer, Limits};
pub use preloaded::Preloaded;
pub use prove_layers::prove_layers;
pub use record::Record;
pub use select::select;
pub use store::{Store, Writer};
pub use trees::Known;
pub use unpack::{layers, sweep_layers, unpack_all, unpack_missing, using};
pub use usage::{Item, Lent, Usage, usage};
pub use write::rfc3339;
