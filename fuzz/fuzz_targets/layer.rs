//! Layers and image archives: any bytes, decompressed within a bound, give entries that keep the reader's invariants or an error.
#![no_main]

use casemate_unpack::decode::Stream;
use casemate_unpack::tar::{Kind, Reader};
use libfuzzer_sys::fuzz_target;
use std::io::Read;

fuzz_target!(|bytes: &[u8]| {
    let mut tar = Vec::new();
    let Ok(stream) = Stream::new(bytes) else { return };
    if stream.take(4 << 20).read_to_end(&mut tar).is_err() {
        return;
    }
    let mut reader = Reader::new(tar.as_slice());
    while let Ok(Some(entry)) = reader.entry() {
        assert!(!entry.path.is_empty() && !entry.path.contains(&0));
        let start = usize::try_from(entry.offset).unwrap();
        assert_eq!(start % 512, 0);
        let (mut left, mut at) = (entry.size, start);
        if let Kind::SparseFile(sparse) = &entry.kind {
            let mut end = 0;
            for (offset, length) in &sparse.extents {
                assert!(*offset >= end);
                end = offset + length;
            }
            assert!(end <= sparse.size);
            assert_eq!(sparse.extents.iter().map(|(_, length)| length).sum::<u64>(), entry.size);
        } else if entry.kind != Kind::File {
            assert_eq!(entry.size, 0);
        }
        while let Ok(piece @ [_, ..]) = reader.content() {
            assert_eq!(Some(piece), tar.get(at..at + piece.len()));
            let count = piece.len();
            reader.used(count);
            at += count;
            left -= count as u64;
        }
        if left > 0 {
            return;
        }
    }
    if let Ok(members) = casemate_unpack::index(tar.as_slice()) {
        for member in members {
            assert!(member.offset + member.size <= tar.len() as u64);
            assert!(member.path.split('/').all(|part| !matches!(part, "" | "." | "..")));
        }
    }
});
