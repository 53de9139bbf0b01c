//! The differences between two inventories of a layer, as text: which path, and which attribute of it. Both are output of
//! `casemate-unpack list`. The later one describes files that may have been tampered with, so any bytes are accepted.

use std::cmp::Ordering;
use std::io::{self, BufRead, Read};

/// At most this many differences are reported.
const MAX_DIFFERENCES: usize = 8;
/// The longest line: a path of 4096 bytes, each as an escape of four, and some attributes.
const MAX_LINE: u64 = 1 << 17;
/// The fields of a line after its path.
const FIELDS: [&str; 6] = ["type", "mode", "owner", "size", "time", "content"];

/// The first differences between the stored inventory (`before`) and a new one (`now`).
pub fn differences(mut before: impl BufRead, mut now: impl BufRead) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut old = line(&mut before)?;
    let mut new = line(&mut now)?;
    while found.len() < MAX_DIFFERENCES {
        let order = match (&old, &new) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => order(path(old), path(new)),
        };
        match (order, &old, &new) {
            (Ordering::Less, Some(gone), _) => found.push(format!("{} is gone", printable(path(gone)))),
            (Ordering::Greater, _, Some(added)) => found.push(format!("{} was added", printable(path(added)))),
            (Ordering::Equal, Some(old), Some(new)) if old != new => found.push(changed(old, new)),
            _ => {}
        }
        if order != Ordering::Greater {
            old = line(&mut before)?;
        }
        if order != Ordering::Less {
            new = line(&mut now)?;
        }
    }
    Ok(found)
}

fn line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let count = from.take(MAX_LINE).read_until(b'\n', &mut bytes)?;
    Ok((count > 0).then(|| String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned()))
}

fn path(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

/// The order of inventories: a directory's entries follow it directly.
fn order(a: &str, b: &str) -> Ordering {
    let parts = |path: &str| path.trim_end_matches('/').split('/').map(str::to_owned).collect::<Vec<_>>();
    parts(a).cmp(&parts(b))
}

fn changed(old: &str, new: &str) -> String {
    let before: Vec<&str> = old.split(' ').skip(1).collect();
    let after: Vec<&str> = new.split(' ').skip(1).collect();
    let mut changes: Vec<String> = Vec::new();
    for (at, name) in FIELDS.iter().enumerate() {
        match (before.get(at), after.get(at)) {
            (Some(was), Some(is)) if was != is && *name == "content" => changes.push("content".to_owned()),
            (Some(was), Some(is)) if was != is => {
                changes.push(format!("{name} was {}, is {}", printable(was), printable(is)));
            }
            _ => {}
        }
    }
    let attributes = |fields: &[&str]| fields.get(FIELDS.len()..).unwrap_or_default().join(" ");
    if attributes(&before) != attributes(&after) || changes.is_empty() {
        changes.push("attributes".to_owned());
    }
    format!("{}: {}", printable(path(old)), changes.join(", "))
}

/// Escaped and shortened for a message.
fn printable(text: &str) -> String {
    let mut short: String = text.chars().take(300).flat_map(char::escape_default).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short.replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "/ dir 0755 0:0 0 1.000000000 -\n/a dir 0755 0:0 0 1.000000000 -\n\
        /a/b file 0644 0:0 3 1.000000000 sha256:aa\n/a-c file 0644 0:0 3 1.000000000 sha256:bb user.x=sha256:00\n/d whiteout\n";

    fn found(now: &str) -> Vec<String> {
        differences(BEFORE.as_bytes(), now.as_bytes()).unwrap()
    }

    #[test]
    fn equal_inventories_have_no_difference() {
        assert!(found(BEFORE).is_empty());
    }

    #[test]
    fn each_difference_is_named() {
        let one = |from: &str, to: &str| found(&BEFORE.replace(from, to));
        assert_eq!(one("sha256:aa", "sha256:ab"), ["/a/b: content"]);
        assert_eq!(one("/a/b file 0644", "/a/b file 4755"), ["/a/b: mode was 0644, is 4755"]);
        assert_eq!(one("user.x=sha256:00", "user.x=sha256:01"), ["/a-c: attributes"]);
        assert_eq!(one("/a/b file 0644 0:0 3 1.000000000 sha256:aa\n", ""), ["/a/b is gone"]);
        assert_eq!(one("/d whiteout\n", "/c whiteout\n/d whiteout\n"), ["/c was added"]);
        assert_eq!(one("/d whiteout\n", ""), ["/d is gone"]);
        assert_eq!(one("/d whiteout", "/d file 0644 0:0 0 1.000000000 sha256:aa"), ["/d: type was whiteout, is file"]);
        assert_eq!(found("").len(), 5);
    }

    #[test]
    fn any_bytes_are_accepted() {
        for now in ["\u{1b}[2J\n", " \n \n", "/\n\n\n", &"x".repeat(300_000)] {
            let found = found(now);
            assert!(!found.is_empty() && found.iter().all(|line| !line.contains(char::is_control)), "{found:?}");
        }
        assert!(!differences(BEFORE.as_bytes(), &b"\xff\xfe\n"[..]).unwrap().is_empty());
    }
}
