//! What a check of the store reports.

use casemate_wire::Digest;
use std::fmt;
use std::path::{Path, PathBuf};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Its content has changed: what needs it cannot be used.
    Damaged,
    /// It is needed and not there.
    Missing,
    /// It is there and not needed.
    Leftover,
}

/// The object of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// An image's record.
    Record {
        /// The image's pin.
        pin: Digest,
        /// The read-only store that has it; `None`: the own store.
        store: Option<PathBuf>,
    },
    /// An image, whose documents do not resolve.
    Image {
        /// Its name, or its pin.
        image: String,
        /// The read-only store that has it; `None`: the own store.
        store: Option<PathBuf>,
    },
    /// A blob that an image lacks.
    BlobOfImage {
        /// The image's name, or its pin.
        image: String,
        /// The blob.
        blob: Digest,
    },
    /// A blob of the own store.
    Blob {
        /// The blob.
        blob: Digest,
        /// The name of an image that needs it.
        image: Option<String>,
    },
    /// A blob of a read-only store.
    ReadOnlyBlob {
        /// The blob.
        blob: Digest,
        /// The store.
        store: PathBuf,
    },
    /// A layer.
    Layer(Digest),
    /// A file in the store's directories.
    File(String),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |f: &mut fmt::Formatter<'_>, store: Option<&Path>| {
            store.map_or(Ok(()), |store| write!(f, " of {}, which is only read", store.display()))
        };
        match self {
            Self::Record { pin, store } => {
                write!(f, "record of image {pin}")?;
                of(f, store.as_deref())
            }
            Self::Image { image, store } => {
                write!(f, "image {image}")?;
                of(f, store.as_deref())
            }
            Self::BlobOfImage { image, blob } => write!(f, "image {image}: {blob}"),
            Self::Blob { blob, image: Some(image) } => write!(f, "blob {blob} of {image}"),
            Self::Blob { blob, image: None } => write!(f, "blob {blob}"),
            Self::ReadOnlyBlob { blob, store } => {
                write!(f, "blob {blob}")?;
                of(f, Some(store))
            }
            Self::Layer(layer) => write!(f, "layer {layer}"),
            Self::File(name) => write!(f, "file {name}"),
        }
    }
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub object: Object,
    /// What is wrong.
    pub reason: String,
    /// Whether the repair has removed or replaced the object.
    pub repaired: bool,
}

/// The contents of a read-only store, which is checked and not repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOnlyReport {
    /// Its path.
    pub path: PathBuf,
    /// The number of its images.
    pub images: usize,
    /// The number of its blobs.
    pub blobs: usize,
}

/// What was checked, and the findings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The number of images.
    pub images: usize,
    /// The number of blobs.
    pub blobs: usize,
    /// The number of layers, those of read-only stores included.
    pub layers: usize,
    /// The read-only stores.
    pub read_only: Vec<ReadOnlyReport>,
    /// Findings, in the order of the checks.
    pub findings: Vec<Finding>,
}
