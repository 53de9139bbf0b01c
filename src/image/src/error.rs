//! What can go wrong with an image, each with its object and, where it is known, what to do.

use super::flaw::Flaw;
use super::name;
use crate::registry::LaneError;
use casemate_client::Error as ClientError;
use casemate_error::Code;
use casemate_wire::Digest;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a step on images failed. The store is as it was before.
#[derive(Debug)]
pub enum Error {
    /// A system call failed.
    Io {
        /// What was being done.
        step: &'static str,
        /// To what.
        path: PathBuf,
        /// errno.
        source: io::Error,
    },
    /// A document broke a rule of its format or of this store.
    Document {
        /// Which: a digest, a path in an archive.
        document: String,
        /// The rule.
        flaw: Flaw,
    },
    /// Bytes are not those that a digest or a size promised.
    Mismatch {
        /// Which bytes.
        object: String,
        /// What was promised.
        expected: String,
        /// What was found.
        found: String,
    },
    /// The store's own bytes are not what they were when they were proven, or are gone.
    Damaged {
        /// The blob.
        blob: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// A layer's files are not what unpack wrote.
    Tampered {
        /// The layer.
        layer: Digest,
        /// The first differences.
        found: String,
    },
    /// The store has no image of this pin. The pin is for the caller to show, who has its name too.
    NotImported(Digest),
    /// The input lacks a file that its own index names.
    Incomplete {
        /// The input.
        input: PathBuf,
        /// The file.
        missing: String,
    },
    /// The input is none of the formats that are read.
    UnknownFormat(PathBuf),
    /// Larger than a limit allows.
    TooLarge {
        /// What.
        object: String,
        /// Bytes or entries.
        limit: u64,
        /// The flag that raises it.
        flag: &'static str,
    },
    /// Less than the reserve would be left on the disk.
    NoSpace {
        /// What there is no room for.
        object: String,
        /// Bytes that it takes, where that is known before.
        needed: Option<u64>,
        /// Bytes that have to stay free.
        reserve: u64,
    },
    /// `casemate-unpack index` did not give an index.
    Index {
        /// The archive.
        archive: PathBuf,
        /// In its own words.
        reason: String,
    },
    /// A name or digest that the caller gave fits nothing, several things, or no grammar.
    Name {
        /// What was given.
        given: String,
        /// Why it does not do.
        reason: String,
    },
    /// Something still needs the image.
    InUse {
        /// The image.
        image: Digest,
        /// What needs it.
        by: String,
    },
    /// The image lies in a store that is only read.
    ReadOnly {
        /// The image.
        image: Digest,
        /// The store.
        store: PathBuf,
    },
    /// A tree that cannot become an image.
    Pack {
        /// The entry.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A registry did not give something.
    Fetch {
        /// Of which repository.
        place: String,
        /// What.
        object: String,
        /// Why.
        error: LaneError,
    },
    /// The caller was told to stop.
    Interrupted,
    /// The helper refused or failed.
    Helper {
        /// The layer that it was about.
        layer: Option<Digest>,
        /// What it said.
        error: ClientError,
    },
}

impl Error {
    /// What it means to a script.
    pub fn code(&self) -> Code {
        match self {
            Self::Document { .. }
            | Self::Mismatch { .. }
            | Self::Damaged { .. }
            | Self::Tampered { .. }
            | Self::NotImported(_)
            | Self::Incomplete { .. }
            | Self::UnknownFormat(_)
            | Self::TooLarge { .. }
            | Self::Index { .. } => Code::Verification,
            Self::Name { .. } | Self::Pack { .. } => Code::Usage,
            Self::Helper { error, .. } => error.code(),
            Self::Fetch { error, .. } => error.code(),
            Self::Interrupted => Code::Failed,
            Self::Io { .. } | Self::NoSpace { .. } | Self::InUse { .. } | Self::ReadOnly { .. } => Code::Failed,
        }
    }

    /// How what the store lacks comes into it again. `name`: the image's, in the file or in the store, where it is known; it tells
    /// whether a registry has it.
    pub fn remedy(&self, name: Option<&str>) -> Option<&'static str> {
        let pulled = name.map(name::is_of_a_registry);
        Some(match (self, pulled) {
            (Self::NotImported(_), Some(true)) => "bring it in with `casemate pull`",
            (Self::NotImported(_), Some(false)) => "bring it in with `casemate image import ARCHIVE`",
            (Self::NotImported(_), None) => "bring it in with `casemate pull` or `casemate image import ARCHIVE`",
            // A pull does not hash again what is there.
            (Self::Damaged { .. }, Some(true)) => {
                "take it away with `casemate store fsck --repair`, then `casemate pull` brings it again"
            }
            (Self::Damaged { .. }, Some(false)) => {
                "import its image again with `casemate image import`, or see `casemate store fsck`"
            }
            (Self::Damaged { .. }, None) => {
                "take it away with `casemate store fsck --repair`, then bring its image in again with `casemate pull` or `casemate \
                 image import`"
            }
            _ => return None,
        })
    }

    pub(super) fn io(step: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { step, path, source }
    }

    pub(super) fn errno(step: &'static str, path: impl AsRef<Path>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.as_ref().to_owned();
        move |errno| Self::Io { step, path, source: errno.into() }
    }

    pub(super) fn document(document: impl fmt::Display) -> impl FnOnce(Flaw) -> Self {
        let document = document.to_string();
        move |flaw| Self::Document { document, flaw }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { step, path, source } => write!(f, "{step} {}: {source}", path.display()),
            Self::Document { document, flaw } => write!(f, "{document}: {flaw}"),
            Self::Mismatch { object, expected, found } => {
                write!(f, "{object}: promised {expected}, found {found}; nothing of it is kept")
            }
            Self::Damaged { blob, reason } => {
                write!(f, "blob {blob} of the store: {reason}")
            }
            Self::Tampered { layer, found } => write!(
                f,
                "layer {layer} is not what was unpacked: {found}; find out who changed it, then `casemate store fsck --repair`"
            ),
            Self::NotImported(_) => f.write_str("the image is not in the store"),
            Self::Incomplete { input, missing } => {
                write!(f, "{}: {missing} is named in it and not there", input.display())
            }
            Self::UnknownFormat(path) => write!(
                f,
                "{}: neither an OCI layout nor a `docker save` archive: no index.json and no manifest.json in it",
                path.display()
            ),
            Self::TooLarge { object, limit, flag } => {
                write!(f, "{object}: more than {limit} bytes; where that is meant, raise {flag}")
            }
            Self::NoSpace { object, needed, reserve } => {
                let takes =
                    needed.map_or_else(|| "it is too large".to_owned(), |bytes| format!("it takes {bytes} bytes"));
                write!(f, "{object}: {takes}, and `free_space` keeps {reserve} bytes free; nothing of it is kept")?;
                f.write_str("; remove images, or lower `free_space`")
            }
            Self::Index { archive, reason } => write!(f, "{}: {reason}", archive.display()),
            Self::Name { given, reason } => write!(f, "`{}`: {reason}", given.escape_debug()),
            Self::InUse { image, by } => {
                write!(f, "{image} is in use by {by}; the file in force and the one before it hold their images")
            }
            Self::ReadOnly { image, store } => {
                write!(f, "{image} lies in the preloaded store {}, which is only read", store.display())
            }
            Self::Pack { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Fetch { place, object, error } => {
                write!(f, "{place}: {object}: {error}")?;
                error.remedy().map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
            }
            Self::Interrupted => f.write_str("told to stop; the next pull goes on from here"),
            Self::Helper { layer: Some(layer), error } => write!(f, "layer {layer}: {error}"),
            Self::Helper { layer: None, error } => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Document { flaw, .. } => Some(flaw),
            _ => None,
        }
    }
}

impl From<Error> for casemate_error::Error {
    fn from(error: Error) -> Self {
        error.about_image(None)
    }
}

impl Error {
    /// As a verb reports it; of an image of this name, where one is known, the remedy names the place that it comes from.
    pub fn about_image(&self, name: Option<&str>) -> casemate_error::Error {
        let report = casemate_error::Error::told(self.code(), self);
        match self.remedy(name) {
            Some(remedy) => report.remedy(remedy),
            None => report,
        }
    }
}
