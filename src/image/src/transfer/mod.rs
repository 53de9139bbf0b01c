//! Moving images: from layouts and archives into the store, from registries into the store, from the store or a layout to registries,
//! and from the store into bundles.

pub mod bundle;
mod docker;
pub mod import;
pub mod pull;
pub mod push;
