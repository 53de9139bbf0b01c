//! Extended headers (POSIX.1-2017, pax(1) "pax Extended Header"): records `LENGTH KEY=VALUE\n` that override the next header.
//! One malformed record refuses the archive; so does a key that stands twice, because readers disagree on which counts.

use super::Time;

/// What an extended header says about the next entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pax {
    /// Instead of name and prefix.
    pub path: Option<Vec<u8>>,
    /// Instead of the link name.
    pub link: Option<Vec<u8>>,
    /// Instead of the size: how many bytes follow.
    pub size: Option<u64>,
    /// Instead of the owner.
    pub uid: Option<u64>,
    /// Instead of the group.
    pub gid: Option<u64>,
    /// Instead of the mtime.
    pub mtime: Option<Time>,
    /// `SCHILY.xattr.` records, without the prefix.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// `GNU.sparse.` records, without the prefix; here alone a key may stand twice (version 0.0).
    pub sparse: Vec<(Vec<u8>, Vec<u8>)>,
}

type Result<T> = std::result::Result<T, &'static str>;

impl Pax {
    /// Reads all records.
    pub fn parse(mut rest: &[u8]) -> Result<Self> {
        let mut pax = Self::default();
        while !rest.is_empty() {
            let (key, value, after) = record(rest)?;
            pax.take(key, value)?;
            rest = after;
        }
        Ok(pax)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match key {
            b"path" => once(&mut self.path, name(value)?),
            b"linkpath" => once(&mut self.link, name(value)?),
            b"size" => once(&mut self.size, decimal(value)?),
            b"uid" => once(&mut self.uid, decimal(value)?),
            b"gid" => once(&mut self.gid, decimal(value)?),
            b"mtime" => once(&mut self.mtime, time(value)?),
            b"hdrcharset" if !matches!(value, b"BINARY" | b"ISO-IR 10646 2000 UTF-8") => Err("unknown hdrcharset"),
            _ => {
                if let Some(key) = key.strip_prefix(b"SCHILY.xattr.") {
                    if key.is_empty() || self.xattrs.iter().any(|(known, _)| known == key) {
                        return Err("extended attribute without a name or stated twice");
                    }
                    self.xattrs.push((key.to_vec(), value.to_vec()));
                } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.push((key.to_vec(), value.to_vec()));
                }
                Ok(())
            }
        }
    }
}

/// A global header may hold comments (git writes its commit id so) and nothing else: some readers apply it, others do not.
pub fn check_global(mut rest: &[u8]) -> Result<()> {
    while !rest.is_empty() {
        let (key, _, after) = record(rest)?;
        if key != b"comment" {
            return Err("global extended header with more than a comment");
        }
        rest = after;
    }
    Ok(())
}

/// Key, value, and what follows the record.
fn record(rest: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    const BAD: &str = "malformed extended header";
    let blank = rest.iter().take(8).position(|b| *b == b' ').ok_or(BAD)?;
    let (digits, _) = rest.split_at_checked(blank).ok_or(BAD)?;
    let length = usize::try_from(decimal(digits)?).map_err(|_| BAD)?;
    let (record, after) = rest.split_at_checked(length).ok_or(BAD)?;
    let body = record.get(blank + 1..).and_then(|body| body.strip_suffix(b"\n")).ok_or(BAD)?;
    let equals = body.iter().position(|b| *b == b'=').ok_or(BAD)?;
    let (key, value) = body.split_at_checked(equals).ok_or(BAD)?;
    if key.is_empty() || key.contains(&0) {
        return Err(BAD);
    }
    Ok((key, value.get(1..).unwrap_or_default(), after))
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<()> {
    if slot.replace(value).is_some() { Err("extended header key stands twice") } else { Ok(()) }
}

fn name(value: &[u8]) -> Result<Vec<u8>> {
    if value.is_empty() || value.contains(&0) {
        return Err("name is empty or holds a NUL");
    }
    Ok(value.to_vec())
}

/// Digits alone, below 2^63, no leading zero: one spelling.
pub fn decimal(value: &[u8]) -> Result<u64> {
    const BAD: &str = "not a decimal number";
    if value.is_empty() || (value.len() > 1 && value.starts_with(b"0")) {
        return Err(BAD);
    }
    let sum = value.iter().try_fold(0_i64, |sum, b| {
        let digit = b.is_ascii_digit().then(|| i64::from(*b - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    });
    sum.and_then(|sum| u64::try_from(sum).ok()).ok_or(BAD)
}

/// `[-]SECONDS[.FRACTION]`, cut to nanoseconds towards the past.
fn time(value: &[u8]) -> Result<Time> {
    const BAD: &str = "mtime is not a time";
    let (negative, value) = value.strip_prefix(b"-").map_or((false, value), |value| (true, value));
    let mut parts = value.splitn(2, |b| *b == b'.');
    let whole = decimal(parts.next().unwrap_or_default()).map_err(|_| BAD)?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanos = digits.fold(0_i64, |sum, b| sum * 10 + i64::from(*b - b'0'));
    let seconds = i64::try_from(whole).map_err(|_| BAD)?;
    Ok(match (negative, nanos) {
        (false, nanos) => Time { seconds, nanos },
        (true, 0) => Time { seconds: -seconds, nanos },
        (true, nanos) => Time { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_07_bad_record_refuses_the_archive() {
        for bad in [
            &b"6 path"[..],
            b"5 a=b\n",
            b"7 a=b\n",
            b"06 a=b\n",
            b"+6 a=b\n",
            b" 6 a=b\n",
            b"6 a=bc",
            b"6\0a=b\n",
            b"5 =b\n",
            b"6 abc\n",
            b"999999999999999999999 a=b\n",
            b"12 path=a\0b\n",
            b"11 path=a\0\n",
            b"8 path=\n",
            b"11 size=-1\n",
            b"9 size= \n",
            b"9 size=1\n9 size=2\n",
            b"13 mtime=1e9\n",
            b"29 size=99999999999999999999\n",
        ] {
            assert!(Pax::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn records() {
        let pax = Pax::parse(b"10 path=a\n19 mtime=-1.250000\n27 SCHILY.xattr.user.a==\0\n\n10 x.y=zz\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a"[..]));
        assert_eq!(pax.mtime, Some(Time { seconds: -2, nanos: 750_000_000 }));
        assert_eq!(pax.xattrs, [(b"user.a".to_vec(), b"=\0\n".to_vec())]);
        assert!(check_global(b"13 comment=a\n").is_ok());
        assert!(check_global(b"10 path=a\n").is_err());
    }
}
