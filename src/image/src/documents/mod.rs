//! The documents of an image: index, manifest, config and layout (OCI image-spec; Docker's image manifest version 2, schema 2).
//!
//! Bytes come in; values or the rule that a document breaks come out. Nothing here reads a file or a socket.

pub mod config;
mod error;
pub mod history;
mod image;
mod json;
pub mod manifest;
mod media_types;
mod platform;
mod resolve;
mod time;
pub(crate) mod write;

#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod tests;

pub use error::{Error, InvalidDocument};
pub use image::{Image, ImageConfig, Layer};
pub use manifest::{Descriptor, Platform};
pub use time::rfc3339;

pub(crate) use json::{MAX_DOCUMENT, parse as parse_json, refuse_lookalikes, typed};
pub(crate) use media_types::{
    DOCKER_LIST, DOCKER_MANIFEST, Kind, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, OCI_TAR, OCI_TAR_GZIP, OCI_TAR_ZSTD, kind,
};
pub(crate) use platform::{Host, linux};
pub(crate) use resolve::{ResolvedImage, resolve};
