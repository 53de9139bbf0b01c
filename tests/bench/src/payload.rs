//! What this program does inside of containers: it writes lines, every 20 ms or as fast as they are taken.

use crate::failure::{Result, Step};
use std::ffi::OsString;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where this program lies in the image.
pub const PROGRAM: &str = "/bin/bench";
/// A line every 20 ms, which says when it was written.
pub const TICKS: &str = "payload-ticks";
/// [`LINES`] lines at once.
pub const FLOOD: &str = "payload-flood";
/// How many, each of [`LINE`] bytes with its line feed.
pub const LINES: u32 = 1_000_000;
/// Bytes of one.
pub const LINE: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);
/// In one write(2); [`LINES`] is a multiple of it.
const LINES_OF_A_WRITE: u32 = 160;

/// Nanoseconds since 1970.
pub fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// The payload of this name, if it is one.
pub fn run(verb: &OsString) -> Option<Result<()>> {
    match verb.to_str()? {
        TICKS => Some(ticks()),
        FLOOD => Some(flood()),
        _ => None,
    }
}

fn ticks() -> Result<()> {
    loop {
        let line = format!("{}\n", now());
        rustix::io::write(rustix::stdio::stdout(), line.as_bytes()).step("write a line")?;
        std::thread::sleep(PAUSE);
    }
}

/// The lines are made before the first is written: what is measured is how fast they are taken.
fn flood() -> Result<()> {
    let line = format!("{:x<width$}\n", "", width = LINE - 1);
    let block = line.repeat(LINES_OF_A_WRITE as usize);
    for _ in 0..LINES / LINES_OF_A_WRITE {
        let mut rest = block.as_bytes();
        while !rest.is_empty() {
            let written = rustix::io::write(rustix::stdio::stdout(), rest).step("write lines")?;
            rest = rest.get(written..).unwrap_or_default();
        }
    }
    Ok(())
}
