//! One 512-byte header block of a tar archive: its fields, read strictly. Sources: POSIX.1-2017 pax(1) "ustar Interchange
//! Format", GNU tar manual "Basic Tar Format". What readers are known to disagree on is an error here.

/// The unit of every tar archive.
pub const BLOCK: usize = 512;

/// Which of the three layouts a header has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// No magic.
    V7,
    /// POSIX ustar and pax.
    Posix,
    /// GNU tar before 1.14 and with `--format=gnu`.
    Gnu,
}

/// A header whose checksum is right.
pub struct Header<'a> {
    block: &'a [u8; BLOCK],
    /// Its layout.
    pub format: Format,
}

type Result<T> = std::result::Result<T, &'static str>;

impl<'a> Header<'a> {
    /// Checks the checksum and the magic.
    pub fn new(block: &'a [u8; BLOCK]) -> Result<Self> {
        let mut header = Self { block, format: Format::V7 };
        header.check_sum()?;
        header.format = match header.bytes(257, 8) {
            b"ustar\x0000" if header.bytes(508, 4) == b"tar\0" => {
                return Err("star's own header is not supported");
            }
            b"ustar\x0000" => Format::Posix,
            b"ustar  \0" => Format::Gnu,
            [0, 0, 0, 0, 0, 0, 0, 0] => Format::V7,
            _ => return Err("unknown tar format"),
        };
        header.check_fields()?;
        Ok(header)
    }

    /// Every number must be one, in headers that carry no entry and for fields that are overridden or unused too: readers
    /// that look refuse the archive or, worse, pass over the header.
    fn check_fields(&self) -> Result<()> {
        self.size()?;
        self.mode()?;
        self.uid()?;
        self.gid()?;
        self.mtime()?;
        let number_or_blank = |at, length| match natural_or_blank(self.bytes(at, length)) {
            Ok(_) => Ok(()),
            Err(_) => Err("unused field of the header is not a number"),
        };
        match self.format {
            Format::V7 => Ok(()),
            Format::Posix => number_or_blank(329, 8).and_then(|()| number_or_blank(337, 8)),
            // Access and change time, then fields of multi-volume archives; Go 1.7 wrote its prefix over them (go issue 12594).
            Format::Gnu => {
                number_or_blank(329, 8).and_then(|()| number_or_blank(337, 8))?;
                number_or_blank(345, 12).and_then(|()| number_or_blank(357, 12))?;
                let end = if self.kind() == b'S' { 386 } else { BLOCK };
                let unused = self.bytes(369, end - 369);
                if unused.iter().all(|b| *b == 0) { Ok(()) } else { Err("unused field of the header is not empty") }
            }
        }
    }

    /// Writers of the seventies summed signed bytes; where the two sums differ, either is taken, as every reader does.
    fn check_sum(&self) -> Result<()> {
        let stated = number(self.bytes(148, 8)).map_err(|_| "not a tar header")?;
        let blanked = self.block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { b' ' } else { *b });
        let mut plain = 0_i64;
        let mut signed = 0_i64;
        for byte in blanked {
            plain += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if stated == plain || stated == signed { Ok(()) } else { Err("header checksum is wrong") }
    }

    fn bytes(&self, at: usize, length: usize) -> &'a [u8] {
        self.block.get(at..at + length).unwrap_or_default()
    }

    /// The type flag.
    pub fn kind(&self) -> u8 {
        self.bytes(156, 1).first().copied().unwrap_or_default()
    }

    /// Name, with ustar's prefix.
    pub fn path(&self) -> Result<Vec<u8>> {
        let name = text(self.bytes(0, 100))?;
        let prefix = if self.format == Format::Posix { text(self.bytes(345, 155))? } else { &[] };
        Ok(if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() })
    }

    /// Link name.
    pub fn link(&self) -> Result<Vec<u8>> {
        Ok(text(self.bytes(157, 100))?.to_vec())
    }

    /// Bytes that follow.
    pub fn size(&self) -> Result<u64> {
        natural(self.bytes(124, 12)).map_err(|_| "size is not a number")
    }

    /// Permission bits; a file type above them, as some writers leave it, is cut off.
    pub fn mode(&self) -> Result<u32> {
        let mode = natural_or_blank(self.bytes(100, 8)).map_err(|_| "mode is not a number")?;
        Ok(u32::try_from(mode & 0o7777).unwrap_or_default())
    }

    /// Numeric owner.
    pub fn uid(&self) -> Result<u64> {
        natural_or_blank(self.bytes(108, 8)).map_err(|_| "uid is not a number")
    }

    /// Numeric group.
    pub fn gid(&self) -> Result<u64> {
        natural_or_blank(self.bytes(116, 8)).map_err(|_| "gid is not a number")
    }

    /// Seconds since 1970.
    pub fn mtime(&self) -> Result<i64> {
        let field = self.bytes(136, 12);
        if blank(field) { Ok(0) } else { number(field).map_err(|_| "mtime is not a number") }
    }

    /// GNU's old sparse header: the four extents, whether a block of more follows, the size of the file.
    pub fn sparse(&self) -> Result<(&'a [u8], bool, u64)> {
        let more = flag(self.bytes(482, 1))?;
        let size = natural(self.bytes(483, 12)).map_err(|_| "sparse size is not a number")?;
        Ok((self.bytes(386, 96), more, size))
    }
}

/// A block of more extents of GNU's old sparse header, and whether another follows.
pub fn sparse_block(block: &[u8; BLOCK]) -> Result<(&[u8], bool)> {
    Ok((block.get(..504).unwrap_or_default(), flag(block.get(504..505).unwrap_or_default())?))
}

fn flag(field: &[u8]) -> Result<bool> {
    match field {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err("sparse continuation flag is neither 0 nor 1"),
    }
}

/// Text to the first NUL; what lies behind it would be read by one reader and not by another.
fn text(field: &[u8]) -> Result<&[u8]> {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    let (text, rest) = field.split_at_checked(end).unwrap_or((field, &[]));
    if rest.iter().all(|b| *b == 0) { Ok(text) } else { Err("name holds a NUL") }
}

fn blank(field: &[u8]) -> bool {
    field.iter().all(|b| matches!(b, 0 | b' '))
}

fn natural_or_blank(field: &[u8]) -> Result<u64> {
    if blank(field) { Ok(0) } else { natural(field) }
}

/// A number that is not negative.
pub fn natural(field: &[u8]) -> Result<u64> {
    u64::try_from(number(field)?).map_err(|_| "number is negative")
}

/// Octal digits after blanks and before blanks or NULs, or GNU's base 256: 0x80 or 0xff, then big-endian two's complement.
fn number(field: &[u8]) -> Result<i64> {
    const BAD: &str = "not a number";
    match field {
        [first @ (0x80 | 0xff), rest @ ..] => {
            let start = if *first == 0xff { -1_i64 } else { 0 };
            let value = rest.iter().try_fold(start, |sum, b| sum.checked_mul(256)?.checked_add(i64::from(*b)));
            value.filter(|value| (*value < 0) == (start < 0)).ok_or(BAD)
        }
        _ => {
            let start = field.iter().position(|b| *b != b' ').unwrap_or(field.len());
            let (_, field) = field.split_at_checked(start).unwrap_or((&[], field));
            let end = field.iter().position(|b| matches!(b, 0 | b' ')).unwrap_or(field.len());
            let (digits, rest) = field.split_at_checked(end).unwrap_or((field, &[]));
            if digits.is_empty() || !blank(rest) || !digits.iter().all(|b| matches!(b, b'0'..=b'7')) {
                return Err(BAD);
            }
            Ok(digits.iter().fold(0, |sum, b| sum << 3 | i64::from(*b - b'0')))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"777777777777", 0o777_777_777_777),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", 256),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", -1),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", i64::MAX),
        ] {
            assert_eq!(number(field), Ok(value), "{field:?}");
        }
        for bad in [
            &b""[..],
            b"        ",
            b"8",
            b"-1",
            b"+1",
            b"1 1",
            b"\x00644",
            b"\x80\0\0\0\x80\0\0\0\0\0\0\0",
            b"\xc0\0\0\x01",
        ] {
            assert!(number(bad).is_err(), "{bad:?}");
        }
    }
}
