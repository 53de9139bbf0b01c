//! Values that carry a decision: who holds one need not check again.
//!
//! Enters: text of the file. Leaves: a value of one meaning, or [`ValueError`] with the reason in words.

use std::fmt;

/// Why a text is not the value that is wanted: a sentence without its subject, which the caller knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueError(pub &'static str);

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ValueError {}

/// The largest id that a container may have; 65535 and 4294967295 mean "no id" to parts of the kernel.
pub const MAX_ID: u32 = 65534;

/// A user id from 1 to [`MAX_ID`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NonRootUid(u32);

/// A group id from 1 to [`MAX_ID`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NonRootGid(u32);

impl NonRootUid {
    /// None for 0 and for what is above [`MAX_ID`].
    pub const fn new(id: u32) -> Option<Self> {
        if id >= 1 && id <= MAX_ID { Some(Self(id)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl NonRootGid {
    /// None for 0 and for what is above [`MAX_ID`].
    pub const fn new(id: u32) -> Option<Self> {
        if id >= 1 && id <= MAX_ID { Some(Self(id)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A number of bytes, 1 and up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// None for 0 and for more than 2^63 - 1, which the kernel reads as unlimited or refuses.
    pub const fn new(bytes: u64) -> Option<Self> {
        if bytes >= 1 && bytes <= i64::MAX as u64 { Some(Self(bytes)) } else { None }
    }

    /// So many MiB; for constants.
    pub(crate) const fn mib(count: u32) -> Self {
        Self((count as u64) << 20)
    }

    /// The number.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// CPU time: how many microseconds of each 100 ms, 1000 (0.01 CPU) and up; 100000 is one CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpus(u32);

impl Cpus {
    /// One CPU.
    pub const ONE: Self = Self(100_000);

    /// Microseconds of each 100 ms.
    pub const fn quota(self) -> u32 {
        self.0
    }
}

/// A list of CPUs as the kernel writes it (`0-1,3`), ascending.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CpuList(String);

impl CpuList {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An absolute path in its normal form: no `.`, no `..`, no empty part, no `/` at the end (but `/` itself), no NUL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbsolutePath(String);

impl AbsolutePath {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this path is `other` or lies below it.
    pub fn is_at_or_below(&self, other: &str) -> bool {
        other == "/"
            || self.0.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A day of the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}
