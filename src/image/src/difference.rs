//! Where two lists of a layer's files differ, in words: which path, and what of it. Both are text of `casemate-unpack list`; the
//! later one comes from the side that is being proven, so any bytes are answered.

use std::cmp::Ordering;
use std::io::{self, BufRead, Read};

/// Differences that are named; the rest is counted by nobody.
const MOST: usize = 8;
/// The longest line that is read: a path of 4096 bytes, each written in four, and some attributes.
const MAX_LINE: u64 = 1 << 17;
/// The words of a line behind its path.
const WORDS: [&str; 6] = ["type", "mode", "owner", "size", "time", "content"];

/// The first differences between what was (`before`) and what is (`now`).
pub fn differences(mut before: impl BufRead, mut now: impl BufRead) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let (mut old, mut new) = (line(&mut before)?, line(&mut now)?);
    while found.len() < MOST {
        let order = match (&old, &new) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => order(path(old), path(new)),
        };
        match (order, &old, &new) {
            (Ordering::Less, Some(gone), _) => found.push(format!("{} is gone", shown(path(gone)))),
            (Ordering::Greater, _, Some(added)) => found.push(format!("{} was added", shown(path(added)))),
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

/// As the lists are sorted: a directory's entries follow it at once.
fn order(a: &str, b: &str) -> Ordering {
    let parts = |path: &str| path.trim_end_matches('/').split('/').map(str::to_owned).collect::<Vec<_>>();
    parts(a).cmp(&parts(b))
}

fn changed(old: &str, new: &str) -> String {
    let (before, after): (Vec<&str>, Vec<&str>) = (old.split(' ').skip(1).collect(), new.split(' ').skip(1).collect());
    let mut what: Vec<String> = Vec::new();
    for (at, name) in WORDS.iter().enumerate() {
        match (before.get(at), after.get(at)) {
            (Some(was), Some(is)) if was != is && *name == "content" => what.push("content".to_owned()),
            (Some(was), Some(is)) if was != is => what.push(format!("{name} was {}, is {}", shown(was), shown(is))),
            _ => {}
        }
    }
    let attributes = |words: &[&str]| words.get(WORDS.len()..).unwrap_or_default().join(" ");
    if attributes(&before) != attributes(&after) || what.is_empty() {
        what.push("attributes".to_owned());
    }
    format!("{}: {}", shown(path(old)), what.join(", "))
}

/// Short enough for a line that people read.
fn shown(text: &str) -> String {
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

    fn told(now: &str) -> Vec<String> {
        differences(BEFORE.as_bytes(), now.as_bytes()).unwrap()
    }

    #[test]
    fn equal_lists_have_no_difference() {
        assert!(told(BEFORE).is_empty());
    }

    #[test]
    fn what_differs_is_named() {
        let one = |from: &str, to: &str| told(&BEFORE.replace(from, to));
        assert_eq!(one("sha256:aa", "sha256:ab"), ["/a/b: content"]);
        assert_eq!(one("/a/b file 0644", "/a/b file 4755"), ["/a/b: mode was 0644, is 4755"]);
        assert_eq!(one("user.x=sha256:00", "user.x=sha256:01"), ["/a-c: attributes"]);
        assert_eq!(one("/a/b file 0644 0:0 3 1.000000000 sha256:aa\n", ""), ["/a/b is gone"]);
        assert_eq!(one("/d whiteout\n", "/c whiteout\n/d whiteout\n"), ["/c was added"]);
        assert_eq!(one("/d whiteout\n", ""), ["/d is gone"]);
        assert_eq!(one("/d whiteout", "/d file 0644 0:0 0 1.000000000 sha256:aa"), ["/d: type was whiteout, is file"]);
        assert_eq!(told("").len(), 5);
    }

    #[test]
    fn any_bytes_are_answered() {
        for now in ["\u{1b}[2J\n", " \n \n", "/\n\n\n", &"x".repeat(300_000)] {
            let told = told(now);
            assert!(!told.is_empty() && told.iter().all(|line| !line.contains(char::is_control)), "{told:?}");
        }
        assert!(!differences(BEFORE.as_bytes(), &b"\xff\xfe\n"[..]).unwrap().is_empty());
    }
}
