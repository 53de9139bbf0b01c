//! The rules that an index, a manifest or a config can break. One variant a rule.

use std::fmt;

/// A broken rule. Text that came from the document is escaped when it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// More bytes than a document may have.
    TooLong(usize),
    /// Not JSON, or not of the format's shape.
    Shape(String),
    /// Two keys of one object are the same.
    DuplicateKey(String),
    /// A key that differs only in case from one that has a meaning: other readers would take it for that one.
    LookalikeKey(String),
    /// More values than a document may have.
    TooManyValues(usize),
    /// `schemaVersion` is not 2.
    SchemaVersion(u64),
    /// Keys of an index and of a manifest in one document (CVE-2021-41190).
    Ambiguous(&'static str),
    /// The document's own media type is not the descriptor's.
    MediaType {
        /// The descriptor's media type.
        descriptor: String,
        /// The document's `mediaType`.
        document: String,
    },
    /// A media type that has no place here.
    NotSupported {
        /// Which part of the image has it.
        part: &'static str,
        /// The media type.
        found: String,
    },
    /// The config is not an image's: an artifact, an attestation, a chart.
    NotAnImage(String),
    /// A layer that is not distributed with its image.
    ForeignLayer(String),
    /// A layer that would need a key.
    EncryptedLayer(String),
    /// Not a sha256 digest.
    Digest(String),
    /// The manifest has no layers.
    NoLayers,
    /// More of something than is allowed.
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// A text that is longer than allowed.
    TooLongText {
        /// Which text.
        what: &'static str,
        /// Bytes allowed.
        limit: usize,
    },
    /// A text that breaks the grammar of its field.
    Text {
        /// Which text.
        what: &'static str,
        /// The rule of the grammar.
        reason: &'static str,
        /// The text.
        found: String,
    },
    /// `rootfs.type` is not `layers`.
    RootfsType(String),
    /// The config does not list one diff_id a layer.
    LayerCount {
        /// Layers of the manifest.
        layers: usize,
        /// diff_ids of the config.
        diff_ids: usize,
    },
    /// The index has no manifest for this host.
    NoPlatform {
        /// The host's platform.
        wanted: String,
        /// The platforms of the index.
        offered: String,
    },
    /// The image is for another platform.
    Platform {
        /// The host's platform.
        host: String,
        /// The image's platform.
        image: String,
    },
    /// An index inside an index.
    NestedIndex,
    /// Two descriptors give one digest different sizes.
    Sizes(String),
}

impl Error {
    /// Adds which document breaks the rule: a digest, a path in an archive, a file.
    pub fn in_document(self, document: impl fmt::Display) -> InvalidDocument {
        InvalidDocument { document: document.to_string(), error: self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |text: &str| text.escape_debug().to_string();
        match self {
            Self::TooLong(limit) => write!(f, "longer than {limit} bytes"),
            Self::Shape(reason) => f.write_str(&show(reason)),
            Self::DuplicateKey(key) => write!(f, "the key `{}` stands twice in one object", show(key)),
            Self::LookalikeKey(key) => {
                write!(f, "the key `{}` differs only in case from one that has a meaning", show(key))
            }
            Self::TooManyValues(limit) => write!(f, "more than {limit} values"),
            Self::SchemaVersion(found) => write!(f, "schemaVersion is {found}, only 2 is supported"),
            Self::Ambiguous(key) => {
                write!(f, "the key `{key}` makes the document an index and a manifest at once")
            }
            Self::MediaType { descriptor, document } => {
                write!(
                    f,
                    "its descriptor says media type `{}`, the document says `{}`",
                    show(descriptor),
                    show(document)
                )
            }
            Self::NotSupported { part, found } => {
                write!(f, "media type `{}` of the {part} is not supported", show(found))
            }
            Self::NotAnImage(found) => write!(f, "not an image but `{}`", show(found)),
            Self::ForeignLayer(found) => {
                write!(f, "layer type `{}` is not distributed with the image", show(found))
            }
            Self::EncryptedLayer(found) => write!(f, "layer type `{}` is encrypted", show(found)),
            Self::Digest(found) => {
                write!(f, "`{}`: a digest is `sha256:` and 64 lower-case hexadecimal digits", show(found))
            }
            Self::NoLayers => f.write_str("the manifest has no layers, so there is nothing to run"),
            Self::TooMany { what, limit } => write!(f, "more than {limit} {what}"),
            Self::TooLongText { what, limit } => write!(f, "{what} is longer than {limit} bytes"),
            Self::Text { what, reason, found } => write!(f, "{what} `{}` {reason}", show(found)),
            Self::RootfsType(found) => write!(f, "rootfs.type is `{}`, not `layers`", show(found)),
            Self::LayerCount { layers, diff_ids } => {
                write!(f, "the manifest has {layers} layers, the config {diff_ids} diff_ids")
            }
            Self::NoPlatform { wanted, offered } => {
                write!(f, "no manifest for {wanted} in the index, only for {}", show(offered))
            }
            Self::Platform { host, image } => {
                write!(f, "the image is for {}, this host is {host}", show(image))
            }
            Self::Sizes(digest) => write!(f, "its descriptors give two sizes for {digest}"),
            Self::NestedIndex => f.write_str("an index inside an index is not supported"),
        }
    }
}

impl std::error::Error for Error {}

/// A document that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidDocument {
    /// Its digest, its path in an archive, or its file.
    pub document: String,
    /// The rule.
    pub error: Error,
}

impl fmt::Display for InvalidDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.document, self.error)
    }
}

impl std::error::Error for InvalidDocument {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
