//! Image layouts (image-spec, image-layout.md) outside the store: a directory, an archive, or the older `docker save` archive.
//!
//! An input is opened with the caller's rights and read by the manager; an archive's members are found by `casemate-unpack index`,
//! so that the manager never reads a tar header.

mod archive;
mod index;
mod input;
mod output;

pub use input::{Input, Opened, Part};
pub use output::Output;

pub(crate) use index::{NamedImage, all_images, images_for};
