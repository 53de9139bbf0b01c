//! Whether a program can run in an image that has no other file: one that needs a loader cannot.
//!
//! Enters: the file of `pack --binary`, the caller's own. Leaves: why it cannot be packed alone. Reads the ELF header and the program
//! headers (elf(5)) of 64-bit little-endian programs; others are not checked.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that are read: linkers write the program headers at the beginning of the file.
const READ: usize = 16 * 1024;
const MAGIC: &[u8] = b"\x7fELF";
const CLASS_64_LITTLE: &[u8] = &[2, 1];
const PT_INTERP: u64 = 3;

/// Why this program cannot run alone; `None` where nothing is known against it.
pub(super) fn cannot_run_alone(file: &File) -> io::Result<Option<&'static str>> {
    let mut bytes = vec![0; READ];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(needs(&bytes))
}

fn needs(bytes: &[u8]) -> Option<&'static str> {
    if !bytes.starts_with(MAGIC) {
        return Some("it is not an ELF program: pack a directory that has it and its interpreter");
    }
    if bytes.get(4..6) != Some(CLASS_64_LITTLE) {
        return None;
    }
    let number = |at: usize, size: usize| {
        let field = bytes.get(at..at.checked_add(size)?)?;
        Some(field.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    let headers = || {
        let start = usize::try_from(number(32, 8)?).ok()?;
        let size = usize::try_from(number(54, 2)?).ok()?;
        let count = usize::try_from(number(56, 2)?).ok()?;
        Some((0..count).map_while(move |n| start.checked_add(n.checked_mul(size)?)))
    };
    let dynamic = headers().is_some_and(|mut all| all.any(|at| number(at, 4) == Some(PT_INTERP)));
    dynamic.then_some("it is linked dynamically: link it statically, or pack a directory that has its libraries too")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(kinds: &[u8]) -> Vec<u8> {
        let mut bytes = [MAGIC, CLASS_64_LITTLE, &[0; 58]].concat();
        (bytes[32], bytes[54]) = (64, 56);
        bytes[56] = u8::try_from(kinds.len()).unwrap();
        for kind in kinds {
            bytes.extend([&[*kind][..], &[0; 55]].concat());
        }
        bytes
    }

    #[test]
    fn program_with_a_loader_cannot_run_alone() {
        assert_eq!(needs(&elf(&[1, 1, 2])), None);
        assert!(needs(&elf(&[1, 3, 1])).unwrap().contains("dynamically"));
        for script in [&b"#!/bin/sh\n"[..], b"", b"\x7fEL"] {
            assert!(needs(script).unwrap().contains("ELF"));
        }
    }

    #[test]
    fn malformed_header_does_not_panic() {
        for at in 0..64 {
            let mut bytes = elf(&[1]);
            bytes[at..].fill(0xff);
            needs(&bytes);
            needs(&bytes[..at]);
        }
    }
}
