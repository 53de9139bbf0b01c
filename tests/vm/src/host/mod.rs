//! The side that boots: `casemate-vm DIRECTORY HOSTS PAYLOAD [BOOT...]`.
//!
//! DIRECTORY is for the disks and logs of this run, HOSTS has what tests/vm/image made for each release, PAYLOAD what comes to the
//! guest: `casemate.deb`, `bin/casemate-probe`, `bin/casemate-vm-suite`.
//! Each boot is one qemu; what the guest reports is printed as a test run. All boots must report the outcome of all their tests.

mod cuts;
mod dice;
mod disks;
mod large;
mod qemu;
mod report;
mod write_log;

use crate::boots::{self, BOOTS, Boot, StateDisk};
use crate::line::Line;
use dice::Dice;
use disks::Disks;
use qemu::Qemu;
use report::{Report, Results};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long the guest may say nothing: longer than a test that waits in vain, and many times longer than a boot.
const SILENCE: Duration = Duration::from_secs(480);

/// Hosts that are booted at once. Each has two CPUs; together they use about as many.
const AT_ONCE: usize = 2;

/// The whole program.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    let [directory, hosts, payload, wanted @ ..] = arguments.as_slice() else {
        eprintln!("usage: casemate-vm DIRECTORY HOSTS PAYLOAD [BOOT...]");
        return ExitCode::from(2);
    };
    if let Some(name) = wanted.iter().find(|name| boots::find(name).is_none()) {
        eprintln!("no boot `{name}`; there are: {}", BOOTS.iter().map(|boot| boot.name).collect::<Vec<_>>().join(" "));
        return ExitCode::from(2);
    }
    let begin = Instant::now();
    let dice = Dice::new();
    let disks = Disks::make(Path::new(directory), Path::new(hosts), Path::new(payload));
    let left = Mutex::new(boots::hosts().into_iter());
    let results = Mutex::new(Results::default());
    let work = || {
        while let Some((host, _)) = { left.lock().unwrap().next() } {
            // Each from the beginning, so that it does not matter which one is quicker.
            let mut dice = dice.clone();
            let of_host = BOOTS.iter().filter(|boot| boot.machine.host == host);
            for boot in of_host.filter(|boot| wanted.is_empty() || wanted.iter().any(|name| name == boot.name)) {
                let result = one(boot, &disks, &mut dice);
                results.lock().unwrap().add(result);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    results.into_inner().unwrap().end(begin.elapsed())
}

/// One boot, from power on to power off.
fn one(boot: &'static Boot, disks: &Disks, dice: &mut Dice) -> Results {
    let mut report = Report::new(boot);
    let mut machine = Qemu::boot(boot, disks);
    let mut phases = cuts::Phases::new();
    let mut cut: Option<Instant> = None;
    let mut seen = 0;
    let mut last = Instant::now();
    loop {
        // Looked at before the lines are: what it has reported until its end is all there is.
        let running = machine.is_running();
        let lines = machine.lines();
        for line in &lines[seen..] {
            last = Instant::now();
            report.line(line);
            match (line, boot.machine.cut) {
                (Line::Mark { name }, _) => phases.push((name.clone(), cuts::length(disks))),
                (Line::End {}, Some(most)) => cut = Some(last + Duration::from_millis(dice.roll(most))),
                _ => {}
            }
        }
        seen = lines.len();
        if !running || cut.is_some_and(|cut| Instant::now() >= cut) {
            break;
        }
        if last.elapsed() > SILENCE {
            report.trouble(&format!("no output for {SILENCE:?}"), &machine.console());
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let console = machine.console();
    drop(machine);
    if boot.machine.state == StateDisk::Recorded && !phases.is_empty() {
        for line in cuts::make(disks, &phases, dice) {
            report.note(&line);
        }
    }
    report.booted(&console)
}
