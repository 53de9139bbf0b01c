//! Images: their documents, the store, transfers, registries and packing.
//!
//! Enters: a digest, or a file from an untrusted source. Leaves: an [`Image`] whose every byte was verified against the digest. The
//! manager parses JSON documents here, never an archive: `casemate-unpack` does that, confined.
//!
//! Modules use those below them only: `documents`, `names` ← `registry` ← `error` ← `layout`, `store` ← `transfer`, `pack`.
#![forbid(unsafe_code)]

mod directory;
pub mod documents;
mod error;
pub mod layout;
pub mod names;
pub mod pack;
pub mod registry;
pub mod store;
pub mod transfer;

pub use documents::{Image, ImageConfig, Layer};
pub use error::Error;
pub use store::{Limits, Record, ReferenceLock, Store, Writer};
