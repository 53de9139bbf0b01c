//! The loop over the tests of a boot, and the line to the other side.

use crate::boots::{self, Test};
use crate::line::{DEVICE, Line};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::process::Command;
use std::sync::{LazyLock, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A message longer than this is cut in the middle: the line is slow, and the console has the whole.
const MESSAGE: usize = 5000;

static LINE: LazyLock<Mutex<File>> =
    LazyLock::new(|| Mutex::new(OpenOptions::new().write(true).open(DEVICE).expect(DEVICE)));
static PANIC: Mutex<String> = Mutex::new(String::new());

/// The whole of the suite's program.
pub fn main() {
    std::panic::set_hook(Box::new(|info| {
        println!("{info}");
        let mut last = PANIC.lock().unwrap();
        // The first one of a test is the one to read.
        if last.is_empty() {
            *last = info.to_string();
        }
    }));
    let name = parameter("casemate.boot").expect("the kernel's command line names the boot");
    let boot = boots::find(&name).expect("a boot of the list");
    for test in boot.tests {
        send(&outcome(test));
    }
    send(&Line::End {});
    if boot.machine.cut.is_some() {
        loop {
            std::thread::park();
        }
    }
    Command::new("systemctl").args(["poweroff", "--no-block"]).status().expect("systemctl");
}

/// A value of the kernel's command line.
pub fn parameter(name: &str) -> Option<String> {
    let line = fs::read_to_string("/proc/cmdline").unwrap();
    line.split_whitespace().find_map(|word| Some(word.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

/// Prints a note to the reader of the run.
pub fn note(text: impl Into<String>) {
    send(&Line::Note { text: text.into() });
}

/// Sends a line.
pub fn send(line: &Line) {
    let text = serde_json::to_string(line).unwrap();
    // The console has it too, so that its log can be read alone.
    println!("{text}");
    let mut port = LINE.lock().unwrap();
    writeln!(port, "{text}").unwrap();
    port.flush().unwrap();
}

fn outcome(test: &Test) -> Line {
    println!("test {} ...", test.name);
    PANIC.lock().unwrap().clear();
    let begin = Instant::now();
    let since = SystemTime::now();
    let ok = std::panic::catch_unwind(test.run).is_ok();
    let milliseconds = u64::try_from(begin.elapsed().as_millis()).unwrap();
    let message = if ok { String::new() } else { shortened(&format!("{}\n{}", PANIC.lock().unwrap(), journal(since))) };
    Line::Test { name: test.name.to_owned(), ok, message, milliseconds }
}

/// The journal since then: messages of casemate, and errors.
fn journal(since: SystemTime) -> String {
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let units = ["casemate.service", "casemate-helper.service", "casemate-containers.service"];
    let units = units.map(|unit| format!("_SYSTEMD_UNIT={unit} + UNIT={unit}")).join(" + ");
    let line = format!(
        "journalctl --boot --since=@{since} --output=short-monotonic --no-hostname {units} + PRIORITY=3 | tail -n 30"
    );
    let output = Command::new("/bin/sh").args(["-c", &line]).output();
    output.map_or_else(|error| error.to_string(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn shortened(text: &str) -> String {
    let count = text.chars().count();
    if count <= MESSAGE {
        return text.to_owned();
    }
    let head: String = text.chars().take(MESSAGE / 2).collect();
    let tail: String = text.chars().skip(count - MESSAGE / 2).collect();
    format!("{head}\n[...]\n{tail}")
}
