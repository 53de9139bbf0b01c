//! Values that carry a decision: who holds one need not check again.
//!
//! Enters: text of the file. Leaves: a value of one meaning, or [`ValueError`] with the reason in words.

use std::fmt;
use std::time::Duration;

/// Why a text is not the value that is wanted: the end of a sentence whose subject the caller knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueError(pub &'static str);

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ValueError {}

/// The largest id that a container may have: 65535 and 4294967295 mean "no id" to parts of the kernel.
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

/// Reads a number of ASCII digits: no sign, no blank, no leading zero, no overflow, so that it has one spelling.
pub(crate) fn digits(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    if canonical && !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// A number of bytes, 1 and up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// None for 0 and for more than 2^63 - 1, which the kernel reads as unlimited or refuses.
    pub const fn new(bytes: u64) -> Option<Self> {
        if bytes >= 1 && bytes <= i64::MAX as u64 { Some(Self(bytes)) } else { None }
    }

    /// So many MiB; for constants, so never 0.
    pub(super) const fn mib(count: u32) -> Self {
        Self((count as u64) << 20)
    }

    /// The number.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl std::str::FromStr for ByteSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::new(bytes(text)?).ok_or(ValueError("a size is 1 byte at least"))
    }
}

/// Reads `512MiB`: digits and one of B, KiB, MiB, GiB, TiB, or digits alone for bytes. 0 is read: whether it is allowed is a rule.
pub(crate) fn bytes(text: &str) -> Result<u64, ValueError> {
    const UNITS: [(&str, u32); 5] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("B", 0)];
    const SHAPE: ValueError = ValueError("a size is a whole number and B, KiB, MiB, GiB or TiB, such as `512MiB`");
    let (number, shift) =
        UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift))).unwrap_or((text, 0));
    let number = digits(number).ok_or(SHAPE)?;
    let value = number.checked_mul(1 << shift).filter(|value| i64::try_from(*value).is_ok());
    value.ok_or(ValueError("a size is at most 2^63 - 1 bytes"))
}

/// Reads `10s`, `1m30s`, `500ms`: whole numbers with units h, m, s, ms in falling order, each at most once, 1 ms to 7 days.
pub(crate) fn duration(text: &str) -> Result<Duration, ValueError> {
    const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    const SHAPE: ValueError = ValueError("a duration is written with h, m, s and ms, such as `1m30s` or `500ms`");
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let end = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at_checked(end).ok_or(SHAPE)?;
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at_checked(letters).ok_or(SHAPE)?;
        let (_, factor) = units.find(|(name, _)| *name == unit).ok_or(SHAPE)?;
        let part = digits(number).ok_or(SHAPE)?.checked_mul(*factor);
        total = part.and_then(|part| total.checked_add(part)).ok_or(ValueError("a duration is at most 7 days"))?;
        rest = tail;
    }
    match total {
        0 if text.is_empty() => Err(SHAPE),
        0 => Err(ValueError("a duration is at least 1ms")),
        _ if total > 7 * 24 * 3_600_000 => Err(ValueError("a duration is at most 7 days")),
        _ => Ok(Duration::from_millis(total)),
    }
}

/// CPU time: how many microseconds of each 100 ms, 1000 (0.01 CPU) and up; 100000 is one CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpus(u32);

impl Cpus {
    /// One CPU.
    pub const ONE: Self = Self(100_000);

    /// From a number of CPUs; none below 0.01 (the kernel's least quota is 1 ms) and above 4096.
    pub fn new(count: f64) -> Option<Self> {
        if !(0.01..=4096.0).contains(&count) {
            return None;
        }
        // In range by the check above: 1000 to 409600000.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let quota = (count * 100_000.0).round() as u32;
        Some(Self(quota))
    }

    /// Microseconds of each 100 ms.
    pub const fn quota(self) -> u32 {
        self.0
    }
}

/// A list of CPUs as the kernel writes it (`0-1,3`), ascending.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CpuList(String);

impl CpuList {
    /// The highest CPU number that a list can name: the kernel's NR_CPUS is at most 8192.
    const LAST: u64 = 8191;

    /// Checks and takes the text.
    pub fn new(text: &str) -> Result<Self, ValueError> {
        const SHAPE: ValueError = ValueError("a cpuset is a list of CPUs in rising order, such as `0-1,3`");
        let mut next = 0;
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first = digits(first).ok_or(SHAPE)?;
            let last = digits(last).ok_or(SHAPE)?;
            if first < next || last < first || last > Self::LAST {
                return Err(SHAPE);
            }
            next = last + 1;
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An absolute path in its normal form: no `.`, no `..`, no empty part, no `/` at the end (but `/` itself), no control character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbsolutePath(String);

impl AbsolutePath {
    /// The kernel's PATH_MAX without its NUL.
    const MAX: usize = 4095;

    /// Checks and takes the text.
    pub fn new(text: &str) -> Result<Self, ValueError> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(ValueError("the path has to be absolute: it starts with `/`"));
        };
        if text.chars().any(char::is_control) {
            return Err(ValueError("the path has a control character in it"));
        }
        if text.len() > Self::MAX {
            return Err(ValueError("the path is longer than 4095 bytes"));
        }
        for part in rest.split('/') {
            match part {
                "" if rest.is_empty() => {}
                "" => return Err(ValueError("the path has an empty part: no `//`, and no `/` at its end")),
                "." | ".." => {
                    return Err(ValueError("the path has a `.` or `..` part: write where it really leads"));
                }
                _ if part.len() > 255 => {
                    return Err(ValueError("a part of the path is longer than 255 bytes"));
                }
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this path is `other` or lies below it.
    pub fn is_at_or_below(&self, other: &str) -> bool {
        other == "/" || self.0.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!(digits("0"), Some(0));
        assert_eq!(digits("18446744073709551615"), Some(u64::MAX));
        for bad in ["", "00", "01", "+1", "-1", " 1", "1 ", "1_000", "0x1", "١", "18446744073709551616"] {
            assert_eq!(digits(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn sizes() {
        for (text, value) in [("0", 0), ("7", 7), ("7B", 7), ("1KiB", 1024), ("512MiB", 512 << 20), ("1TiB", 1 << 40)] {
            assert_eq!(bytes(text), Ok(value), "{text}");
        }
        for bad in
            ["", "B", "1k", "1m", "1MB", "1.5GiB", "1 MiB", "-1", "unlimited", "9223372036854775808", "8388608TiB"]
        {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in
            [("10s", 10_000), ("1m30s", 90_000), ("500ms", 500), ("168h", 604_800_000), ("1h1ms", 3_600_001)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in
            ["", "0s", "10", "s", "30s1m", "1s1s", "1.5s", "-1s", "1d", "169h", "10 s", "99999999999999999999h", "1é"]
        {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_cpus_and_lists() {
        for id in [0, 65535, u32::MAX] {
            assert_eq!((NonRootUid::new(id), NonRootGid::new(id)), (None, None), "{id}");
        }
        assert_eq!(NonRootUid::new(MAX_ID).map(NonRootUid::get), Some(MAX_ID));
        assert_eq!(Cpus::new(1.0), Some(Cpus::ONE));
        assert_eq!(Cpus::new(0.5).map(Cpus::quota), Some(50_000));
        for bad in [0.0, 0.009, -1.0, 5000.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Cpus::new(bad), None, "{bad}");
        }
        for good in ["0", "0-1,3", "0,2,4-7", "8191"] {
            assert!(CpuList::new(good).is_ok(), "{good}");
        }
        for bad in ["", ",", "1-0", "0,0", "3,1", "0-", "-1", "8192", "0-1-2", "a"] {
            assert!(CpuList::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths() {
        for good in ["/", "/a", "/a/b.c", "/..a", "/a b/é"] {
            assert!(AbsolutePath::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "./a", "//", "/a/", "/a//b", "/a/./b", "/a/..", "/..", "/a\0", "/a\nb", "~/a"] {
            assert!(AbsolutePath::new(bad).is_err(), "{bad:?}");
        }
        assert!(AbsolutePath::new(&format!("/{}", "x".repeat(256))).is_err());
        assert!(AbsolutePath::new(&"/xyz".repeat(1024)).is_err());
        let path = AbsolutePath::new("/a/b").unwrap();
        assert!(path.is_at_or_below("/a") && path.is_at_or_below("/a/b") && path.is_at_or_below("/"));
        assert!(!path.is_at_or_below("/a/b/c") && !path.is_at_or_below("/a/bc") && !path.is_at_or_below("/b"));
    }
}
