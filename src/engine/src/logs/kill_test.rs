//! The pump under SIGKILL: the test runs a copy of itself as the pump, kills it at random times while two processes write numbered
//! lines, and then checks that each line is in the log once.

use super::cri::{self, Stream};
use super::files::{self, Bounds};
use super::pump::{Pipes, Pump, PumpResult, ScratchPipe};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

const VARIABLE: &str = "CASEMATE_TEST_PUMP";
const LINES: u64 = 1_500_000;

/// The copy: pumps until both streams have ended. It opens the pipes of its parent through /proc.
fn pump(arguments: &str, bounds: Bounds) {
    let mut arguments = arguments.split(' ');
    let base = Path::new(arguments.next().unwrap());
    let mut open = |flags| -> OwnedFd {
        rustix::fs::open(arguments.next().unwrap(), flags | OFlags::CLOEXEC, Mode::empty()).unwrap()
    };
    let pipes = Pipes {
        stdout: Rc::new(open(OFlags::RDONLY)),
        stderr: Rc::new(open(OFlags::RDONLY)),
        spool: open(OFlags::RDONLY),
        spool_write: open(OFlags::WRONLY),
    };
    let (mut pump, unfinished) =
        Pump::adopt(pipes, ScratchPipe::new().unwrap(), &base.join("logs"), bounds, &base.join("journal")).unwrap();
    assert!(unfinished.is_none());
    let mut open = vec![Stream::Stdout, Stream::Stderr];
    while !open.is_empty() {
        let mut ready: Vec<_> = open.iter().map(|s| PollFd::new(&**pump.pipes().source(*s), PollFlags::IN)).collect();
        poll(&mut ready, None).unwrap();
        drop(ready);
        open.retain(|stream| pump.move_chunk(*stream).unwrap() != PumpResult::Ended);
    }
    std::fs::write(base.join("ended"), "").unwrap();
}

fn writer(to: OwnedFd) -> Child {
    Command::new("seq").arg(LINES.to_string()).stdout(Stdio::from(to)).spawn().unwrap()
}

fn check(logs: &Path) -> (u64, u64) {
    let mut next = [1, 1];
    let mut part = [Vec::new(), Vec::new()];
    for generation in files::generations(logs).unwrap() {
        let bytes = std::fs::read(files::path(logs, generation)).unwrap();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let record = cri::parse(line).unwrap_or_else(|| panic!("not a record: {line:?}"));
            let n = usize::from(record.stream == Stream::Stderr);
            part[n].extend_from_slice(record.text);
            if record.ends {
                assert_eq!(std::str::from_utf8(&part[n]).unwrap(), next[n].to_string());
                part[n].clear();
                next[n] += 1;
            }
        }
    }
    (next[0] - 1, next[1] - 1)
}

#[test]
fn no_line_is_lost_or_duplicated_when_the_pump_is_killed() {
    let bounds = Bounds { size: 256 * 1024, count: 100_000 };
    if let Ok(arguments) = std::env::var(VARIABLE) {
        return pump(&arguments, bounds);
    }
    let base = tempfile::tempdir().unwrap();
    let pipes: Vec<_> = (0..3).map(|_| pipe_with(PipeFlags::CLOEXEC).unwrap()).collect();
    let [(out, out_write), (err, err_write), (spool, spool_write)] = <[_; 3]>::try_from(pipes).unwrap();
    let mut writers = [writer(out_write), writer(err_write)];
    let path = |fd: &OwnedFd| format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
    let arguments = [&out, &err, &spool, &spool_write].map(path).join(" ");
    let arguments = format!("{} {arguments}", base.path().display());
    // The test harness names this test without the crate.
    let (_, module) = module_path!().split_once("::").unwrap();
    let test = format!("{module}::no_line_is_lost_or_duplicated_when_the_pump_is_killed");
    let start = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([test.as_str(), "--exact", "--nocapture"]).env(VARIABLE, &arguments).stdout(Stdio::null());
        command.spawn().unwrap()
    };
    let begin = Instant::now();
    let mut kills = 0;
    let mut random = 88_172_645_463_325_252_u64;
    while !base.path().join("ended").exists() {
        let mut child = start();
        // A copy needs a few milliseconds to start.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_micros(2000 + random % 12_000));
        kills += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(begin.elapsed() < Duration::from_secs(120), "no progress after {kills} kills");
    }
    writers.iter_mut().for_each(|writer| assert!(writer.wait().unwrap().success()));
    assert_eq!(check(&base.path().join("logs")), (LINES, LINES));
    assert!(kills > 20, "only {kills} kills");
    eprintln!("{} lines, {kills} kills, {:?}", 2 * LINES, begin.elapsed());
}
