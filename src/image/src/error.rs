//! What can go wrong with an image: object, step, reason and, where it is known, what to do.

use crate::documents::{self, InvalidDocument};
use crate::names;
use crate::registry::connection;
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
        /// The step.
        step: &'static str,
        /// Its object.
        path: PathBuf,
        /// errno.
        source: io::Error,
    },
    /// A document broke a rule of its format or of this store.
    Document(InvalidDocument),
    /// Bytes do not have the expected digest or size.
    Mismatch {
        /// What was read.
        object: String,
        /// The expected digest or size.
        expected: String,
        /// The digest or size of what was read.
        found: String,
    },
    /// A blob of the store is missing, or its bytes have changed.
    Damaged {
        /// The blob.
        blob: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// A layer's files are not what was unpacked.
    Tampered {
        /// The layer.
        layer: Digest,
        /// The first differences.
        found: String,
    },
    /// The store has no image of this pin. The caller, who knows the image's name too, displays the pin.
    NotImported(Digest),
    /// The input lacks a file that its own index names.
    Incomplete {
        /// The input.
        input: PathBuf,
        /// The file.
        missing: String,
    },
    /// The input has none of the supported formats.
    UnknownFormat(PathBuf),
    /// A blob is larger than its limit.
    TooLarge {
        /// The blob.
        object: String,
        /// Bytes.
        limit: u64,
        /// The flag that raises the limit.
        flag: &'static str,
    },
    /// Less than `store.free_space` would be left on the disk.
    NoSpace {
        /// What there is no space for.
        object: String,
        /// Its bytes, where they are known in advance.
        needed: Option<u64>,
        /// Bytes that have to stay free.
        free_space: u64,
    },
    /// `casemate-unpack index` did not return an index.
    Index {
        /// The archive.
        archive: PathBuf,
        /// Its error.
        reason: String,
    },
    /// A name or digest on the command line matches no image, several images, or is malformed.
    Name {
        /// The text.
        name: String,
        /// Why no image was selected.
        reason: String,
    },
    /// The image is in use.
    InUse {
        /// The image.
        image: Digest,
        /// Its user.
        by: String,
    },
    /// The image lies in a read-only store.
    ReadOnly {
        /// The image.
        image: Digest,
        /// The store.
        store: PathBuf,
    },
    /// A directory or binary that cannot become an image.
    Pack {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A transfer from or to a registry failed.
    Fetch {
        /// `registry/repository`.
        repository: String,
        /// The blob, manifest or tag.
        object: String,
        /// Why.
        error: connection::Error,
    },
    /// The caller asked to stop.
    Interrupted,
    /// The helper refused a request, or a step of it failed.
    Helper {
        /// The layer of the request.
        layer: Option<Digest>,
        /// Why.
        error: ClientError,
    },
}

impl Error {
    /// The exit code that the error leads to.
    pub fn code(&self) -> Code {
        match self {
            Self::Document(_)
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

    /// How to get what the store lacks. `name`: the image's, where it is known; it tells whether the image can be pulled.
    pub fn remedy(&self, name: Option<&str>) -> Option<&'static str> {
        let pulled = name.map(names::has_registry);
        Some(match (self, pulled) {
            (Self::NotImported(_), Some(true)) => "bring it in with `casemate pull`",
            (Self::NotImported(_), Some(false)) => "bring it in with `casemate image import ARCHIVE`",
            (Self::NotImported(_), None) => "bring it in with `casemate pull` or `casemate image import ARCHIVE`",
            // A pull does not hash the blobs that are there, so the damaged one has to go first.
            (Self::Damaged { .. }, Some(true)) => {
                "remove it with `casemate store fsck --repair`, then `casemate pull` downloads it again"
            }
            (Self::Damaged { .. }, Some(false)) => {
                "import its image again with `casemate image import`, or see `casemate store fsck`"
            }
            (Self::Damaged { .. }, None) => {
                "remove it with `casemate store fsck --repair`, then bring its image in again with `casemate pull` or `casemate \
                 image import`"
            }
            _ => return None,
        })
    }

    pub(crate) fn io(step: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { step, path, source }
    }

    pub(crate) fn errno(step: &'static str, path: impl AsRef<Path>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.as_ref().to_owned();
        move |errno| Self::Io { step, path, source: errno.into() }
    }

    pub(crate) fn document(document: impl fmt::Display) -> impl FnOnce(documents::Error) -> Self {
        let document = document.to_string();
        move |error| Self::Document(error.in_document(document))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { step, path, source } => write!(f, "{step} {}: {source}", path.display()),
            Self::Document(invalid) => write!(f, "{invalid}"),
            Self::Mismatch { object, expected, found } => {
                write!(f, "{object}: expected {expected}, found {found}; nothing of it is kept")
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
                write!(f, "{}: its index names {missing}, which is missing", input.display())
            }
            Self::UnknownFormat(path) => write!(
                f,
                "{}: neither an OCI layout nor a `docker save` archive: it has no index.json and no manifest.json",
                path.display()
            ),
            Self::TooLarge { object, limit, flag } => {
                write!(f, "{object}: larger than {limit} bytes; {flag} raises the limit")
            }
            Self::NoSpace { object, needed, free_space } => {
                let takes =
                    needed.map_or_else(|| "it is too large".to_owned(), |bytes| format!("it takes {bytes} bytes"));
                write!(f, "{object}: {takes}, and `free_space` keeps {free_space} bytes free; nothing of it is kept")?;
                f.write_str("; remove images, or lower `free_space`")
            }
            Self::Index { archive, reason } => write!(f, "{}: {reason}", archive.display()),
            Self::Name { name, reason } => write!(f, "`{}`: {reason}", name.escape_debug()),
            Self::InUse { image, by } => {
                write!(f, "{image} is in use by {by}; the file in force and the one before it hold their images")
            }
            Self::ReadOnly { image, store } => {
                write!(f, "{image} lies in the preloaded store {}, which is only read", store.display())
            }
            Self::Pack { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Fetch { repository, object, error } => {
                write!(f, "{repository}: {object}: {error}")?;
                error.remedy().map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
            }
            Self::Interrupted => f.write_str("interrupted; the next pull continues from here"),
            Self::Helper { layer: Some(layer), error } => write!(f, "layer {layer}: {error}"),
            Self::Helper { layer: None, error } => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Document(invalid) => Some(invalid),
            _ => None,
        }
    }
}

impl From<InvalidDocument> for Error {
    fn from(invalid: InvalidDocument) -> Self {
        Self::Document(invalid)
    }
}

impl From<names::Error> for Error {
    fn from(error: names::Error) -> Self {
        Self::Name { name: error.name, reason: names::Error::REASON.to_owned() }
    }
}

impl From<Error> for casemate_error::Error {
    fn from(error: Error) -> Self {
        error.about_image(None)
    }
}

impl From<names::Error> for casemate_error::Error {
    fn from(error: names::Error) -> Self {
        Error::from(error).into()
    }
}

impl Error {
    /// The report of a verb. `name`: the image's, where it is known, for the remedy.
    pub fn about_image(&self, name: Option<&str>) -> casemate_error::Error {
        let report = casemate_error::Error::from_display(self.code(), self);
        match self.remedy(name) {
            Some(remedy) => report.remedy(remedy),
            None => report,
        }
    }
}
