//! Power cuts: of one recorded boot, many disks, each as a cut at a random moment of a phase would have left it.

use super::dice::Dice;
use super::disks::Disks;
use super::write_log::WriteLog;
use crate::boots::{CUTS, CUTS_A_PHASE, STATE_SIZE};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Phases of the recorded boot, and how long the log was at the beginning of each.
pub type Phases = Vec<(String, u64)>;

/// How long the log of the state disk is now.
pub fn length(disks: &Disks) -> u64 {
    fs::metadata(disks.file("state.log")).map_or(0, |log| log.len())
}

/// Makes the cut disks, one behind the other; the last phase ends where the log does. Gives what to print.
pub fn make(disks: &Disks, phases: &Phases, dice: &mut Dice) -> Vec<String> {
    let log = WriteLog::open(&disks.file("state.log"));
    let before = content(&disks.file("state-before.img"));
    let all = File::create(disks.file("cuts.img")).unwrap();
    all.set_len(STATE_SIZE * CUTS as u64).unwrap();
    let mut lines = Vec::new();
    let mut number = 0;
    for (n, (name, begin)) in phases.iter().enumerate() {
        let end = phases.get(n + 1).map_or(u64::MAX, |(_, end)| *end);
        let position = |length: u64| log.entries.partition_point(|entry| entry.end <= length);
        let first = position(*begin);
        let last = position(end);
        assert!(last > first, "the disk had no requests during `{name}`");
        let mut at: Vec<u64> = Vec::new();
        for _ in 0..CUTS_A_PHASE {
            let count = first + usize::try_from(dice.roll((last - first) as u64)).unwrap() + 1;
            let disk = STATE_SIZE * number;
            for (offset, bytes) in &before {
                all.write_all_at(bytes, disk + offset).unwrap();
            }
            log.cut(&all, disk, count, dice);
            at.push(count as u64);
            number += 1;
        }
        at.sort_unstable();
        lines.push(format!("`{name}`: requests {first} to {last} of the disk, power cut after {at:?}"));
    }
    lines
}

/// What is not zero of a disk, and where.
fn content(disk: &Path) -> Vec<(u64, Vec<u8>)> {
    let disk = File::open(disk).unwrap();
    let zeros = vec![0; 1 << 16];
    let mut found = Vec::new();
    for at in (0..STATE_SIZE).step_by(zeros.len()) {
        let mut block = zeros.clone();
        disk.read_exact_at(&mut block, at).unwrap();
        if block != zeros {
            found.push((at, block));
        }
    }
    found
}
