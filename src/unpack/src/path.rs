//! Names of a layer: what enters is the bytes of an archive, what leaves is a path below the root without `.`, `..`, empty
//! components and NUL, and what that path means (OCI image-spec, layer.md "Whiteouts").

use casemate_wire::LayerLimits;

/// Components joined by single slashes; empty for the root itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayerPath(Vec<u8>);

/// What an entry of this path is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// The root itself.
    Root,
    /// This name in this directory.
    Entry(&'a [u8], &'a [u8]),
    /// Parents' entry of this name in this directory goes.
    Whiteout(&'a [u8], &'a [u8]),
    /// All of the parents' entries in this directory go.
    Opaque(&'a [u8]),
    /// Bookkeeping of aufs, which no reader keeps.
    Bookkeeping,
}

impl LayerPath {
    /// Leading slashes go, `..` is refused: writers do not need it, and readers disagree on it.
    pub fn new(raw: &[u8], limits: &LayerLimits) -> Result<Self, &'static str> {
        let mut path = Vec::with_capacity(raw.len());
        let mut depth = 0_u32;
        for part in raw.split(|b| *b == b'/') {
            match part {
                b"" | b"." => continue,
                b".." => return Err("path holds `..`"),
                _ if part.len() > 255 => return Err("name is longer than 255 bytes"),
                _ if part.contains(&0) => return Err("name holds a NUL"),
                _ => {}
            }
            if depth > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(part);
            depth += 1;
        }
        if path.len() > usize::try_from(limits.path).unwrap_or(usize::MAX) {
            return Err("path is longer than the limit");
        }
        if depth > limits.depth { Err("path is deeper than the limit") } else { Ok(Self(path)) }
    }

    /// The path's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What an entry of this path is for.
    pub fn meaning(&self) -> Result<Meaning<'_>, &'static str> {
        if self.0.is_empty() {
            return Ok(Meaning::Root);
        }
        let (directory, name) = split(&self.0);
        if directory.split(|b| *b == b'/').chain([name]).any(|part| part.starts_with(b".wh..wh.") && part != OPAQUE) {
            return Ok(Meaning::Bookkeeping);
        }
        if directory.split(|b| *b == b'/').any(|part| part.starts_with(WHITEOUT)) {
            return Err("whiteout used as a directory");
        }
        match name.strip_prefix(WHITEOUT) {
            _ if name == OPAQUE => Ok(Meaning::Opaque(directory)),
            None => Ok(Meaning::Entry(directory, name)),
            Some(b"" | b"." | b"..") => Err("whiteout of nothing, of itself or of its parent"),
            Some(victim) => Ok(Meaning::Whiteout(directory, victim)),
        }
    }
}

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Directory and last name.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
        None => (&[], path),
    }
}

/// A name in a directory; the root's path is empty.
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

/// Where a symbolic link in this directory leads, by its text alone: never above the root.
pub fn follow(directory: &[u8], target: &[u8]) -> Vec<u8> {
    let start = if target.starts_with(b"/") { &[][..] } else { directory };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in start.split(|b| *b == b'/').chain(target.split(|b| *b == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LayerLimits = LayerLimits { bytes: 1, entries: 1, path: 20, depth: 4, ratio: 1 };

    fn meaning(path: &str) -> Result<String, &'static str> {
        LayerPath::new(path.as_bytes(), &LIMITS).and_then(|p| {
            p.meaning().map(|m| match m {
                Meaning::Root => "root".into(),
                Meaning::Entry(d, n) => format!("{} {}", d.escape_ascii(), n.escape_ascii()),
                Meaning::Whiteout(d, n) => format!("{} -{}", d.escape_ascii(), n.escape_ascii()),
                Meaning::Opaque(d) => format!("{} -*", d.escape_ascii()),
                Meaning::Bookkeeping => "aufs".into(),
            })
        })
    }

    #[test]
    fn threat_08_whiteout_names_have_one_meaning() {
        for (path, expect) in [
            ("./", "root"),
            ("/", "root"),
            ("a", " a"),
            ("//a/./b/", "a b"),
            (".wh.a", " -a"),
            ("d/.wh.a", "d -a"),
            ("d/.wh..wh..opq", "d -*"),
            (".wh..wh..opq", " -*"),
            (".wh..wh.plnk/1.2", "aufs"),
            (".wh..wh.aufs", "aufs"),
            ("a.wh.b", " a.wh.b"),
            (".wh...a", " -..a"),
            (".wh.x.wh.y", " -x.wh.y"),
        ] {
            assert_eq!(meaning(path).as_deref(), Ok(expect), "{path}");
        }
        for bad in
            ["..", "a/../b", "/..", ".wh.", ".wh..", ".wh...", ".wh.a/b", "d/.wh..wh..opq/x", "a\0b", "1/2/3/4/5"]
        {
            assert!(meaning(bad).is_err(), "{bad:?} {:?}", meaning(bad));
        }
        assert!(meaning(&"x".repeat(21)).is_err());
        assert_eq!(follow(b"a/b", b"../../../c/./d"), b"c/d");
        assert_eq!(follow(b"a/b", b"/run"), b"run");
    }
}
