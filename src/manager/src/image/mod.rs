//! Images: import, proof, storage and packing.
//!
//! What enters is a digest or a file that nobody vouches for; what leaves is an [`Image`] whose every byte was proven
//! against the digest. The manager reads JSON documents here, never an archive: `casemate-unpack` does that, confined.

mod model;

pub use model::{Image, ImageConfig, Layer, Limits};
