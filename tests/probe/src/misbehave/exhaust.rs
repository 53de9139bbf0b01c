//! Memory, descriptors, blocks and inodes without measure.

use super::say;
use crate::answer::Answer;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const MEBIBYTE: usize = 1 << 20;

/// Touches memory without end.
pub fn memory() {
    let mut held: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut block: Vec<u8> = Vec::new();
        if block.try_reserve_exact(8 * MEBIBYTE).is_err() {
            say("allocation refused");
            return;
        }
        // Not zero, so that the pages are really written.
        block.resize(8 * MEBIBYTE, 0x55);
        held.push(block);
        say(&format!("holding {} MiB", held.len() * 8));
    }
}

/// Has a child that does so, and says whether it was alone in its end.
pub fn memory_beside() {
    let child = std::env::current_exe().and_then(|own| Command::new(own).args(["misbehave", "memory"]).status());
    say(&format!("survived: {child:?}"));
}

/// Writes a file and waits until the disk has it; says how many milliseconds that took.
pub fn write(directory: &str, mebibytes: usize) {
    let start = Instant::now();
    let block = vec![0x55; MEBIBYTE];
    let written = File::create(Path::new(directory).join("written")).and_then(|mut file| {
        (0..mebibytes).try_for_each(|_| file.write_all(&block))?;
        file.sync_all()
    });
    match written {
        Ok(()) => say(&format!("wrote in {} ms", start.elapsed().as_millis())),
        Err(error) => say(&format!("write: {}", Answer::of::<()>(&Err(error)))),
    }
}

/// Computes for some seconds of wall time; says how many milliseconds of CPU time it got in each.
pub fn spin(seconds: u64) {
    let cpu = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    };
    let start = Instant::now();
    let before = cpu();
    while start.elapsed() < Duration::from_secs(seconds) {
        std::hint::spin_loop();
    }
    let wall = i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX).max(1);
    say(&format!("spun: {} ms a second", (cpu() - before) * 1000 / wall));
}

/// Opens descriptors until it is refused.
pub fn descriptors() {
    let mut held = Vec::new();
    let error = loop {
        match File::open("/dev/null") {
            Ok(file) => held.push(file),
            Err(error) => break error,
        }
    };
    let count = held.len();
    // One has to go, or the line could not be counted on to come out.
    held.pop();
    say(&format!("descriptors: {count}, then {}", Answer::of::<()>(&Err(error))));
}

/// Writes one file until it is refused.
pub fn disk(directory: &str) {
    let block = vec![0x55; MEBIBYTE];
    let mut written = 0u64;
    let result = OpenOptions::new().write(true).create(true).truncate(true).open(Path::new(directory).join("fill"));
    let error = match result {
        Err(error) => error,
        Ok(mut file) => loop {
            match file.write(&block) {
                Ok(count) => written += count as u64,
                Err(error) => break error,
            }
        },
    };
    say(&format!("disk: {written} bytes, then {}", Answer::of::<()>(&Err(error))));
}

/// Makes empty files until it is refused.
pub fn inodes(directory: &str) {
    let mut count = 0u64;
    let error = loop {
        if let Err(error) = fs::write(Path::new(directory).join(format!("inode-{count}")), "") {
            break error;
        }
        count += 1;
    };
    say(&format!("inodes: {count}, then {}", Answer::of::<()>(&Err(error))));
}
