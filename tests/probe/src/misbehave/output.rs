//! Too much output, output that can be counted, and sockets that should not be there.

use super::say;
use crate::answer::Answer;
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

/// Writes lines as fast as they are taken.
pub fn flood(bytes: u64) {
    let line = [b"flood ".repeat(20).as_slice(), b"\n"].concat();
    let block = line.repeat(512);
    let mut left = bytes;
    let mut stdout = std::io::stdout().lock();
    while left > 0 {
        let part = block.get(..usize::try_from(left).unwrap_or(usize::MAX).min(block.len())).unwrap_or(&block);
        if stdout.write_all(part).is_err() {
            return;
        }
        left -= part.len() as u64;
    }
    let _ = stdout.flush();
}

/// Numbered lines: odd ones on stdout, even ones on stderr.
pub fn lines(count: u64, pause: u64) {
    for number in 1..=count {
        let text = format!("line {number}\n");
        let written = if number % 2 == 1 {
            std::io::stdout().write_all(text.as_bytes())
        } else {
            std::io::stderr().write_all(text.as_bytes())
        };
        if written.is_err() {
            return;
        }
        if pause > 0 {
            std::thread::sleep(Duration::from_micros(pause));
        }
    }
}

/// Tries abstract sockets by name.
pub fn connect(names: &[&str]) {
    for name in names {
        let result = SocketAddr::from_abstract_name(name).and_then(|to| UnixStream::connect_addr(&to));
        say(&format!("connect @{name}: {}", Answer::of(&result)));
    }
}
