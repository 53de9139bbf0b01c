//! What is printed, each line with its boot's name in front, and what the run is worth in the end.

use crate::boots::Boot;
use crate::line::Line;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Lines of the console that are shown with a failure.
const TAIL: usize = 60;

/// What boots have come to.
#[derive(Debug, Default)]
pub struct Results {
    passed: usize,
    failed: Vec<String>,
}

impl Results {
    /// Of two, one.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
    }

    /// All has ended.
    pub fn end(self, time: Duration) -> ExitCode {
        println!("\n{} passed, {} failed, in {:.0} s", self.passed, self.failed.len(), time.as_secs_f32());
        for name in &self.failed {
            println!("failed: {name}");
        }
        // A run of nothing shows nothing.
        if self.failed.is_empty() && self.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// One boot up to now.
#[derive(Debug)]
pub struct Report {
    boot: &'static Boot,
    reported: BTreeSet<String>,
    results: Results,
    begin: Instant,
    ended: bool,
}

impl Report {
    /// A boot begins.
    pub fn new(boot: &'static Boot) -> Self {
        let begin = Instant::now();
        println!("{}: {} with {} tests", boot.name, boot.machine.suite, boot.tests.len());
        Self { boot, reported: BTreeSet::new(), results: Results::default(), begin, ended: false }
    }

    /// Something to know.
    pub fn note(&self, text: &str) {
        println!("{}:   {text}", self.boot.name);
    }

    /// The guest has reported something.
    pub fn line(&mut self, line: &Line) {
        match line {
            Line::Test { name, ok, message, milliseconds } => {
                let seconds = Duration::from_millis(*milliseconds).as_secs_f32();
                let boot = self.boot.name;
                if *ok {
                    println!("{boot}: test {name} ... ok ({seconds:.1} s)");
                    self.results.passed += 1;
                } else {
                    println!("{boot}: test {name} ... FAILED ({seconds:.1} s)\n{message}");
                    self.failed(name);
                }
                self.reported.insert(name.clone());
            }
            Line::Note { text } => self.note(text),
            Line::Mark { .. } => {}
            Line::End {} => self.ended = true,
        }
    }

    /// Something is wrong with the machine itself.
    pub fn trouble(&mut self, what: &str, console: &str) {
        let lines: Vec<&str> = console.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n| ");
        println!("{}: {what}; the end of the console:\n| {tail}", self.boot.name);
        self.failed(what);
    }

    fn failed(&mut self, what: &str) {
        self.results.failed.push(format!("{}: {what}", self.boot.name));
    }

    /// The machine is off: a test without a reported outcome has failed.
    pub fn booted(mut self, console: &str) -> Results {
        let missing: Vec<_> = self.boot.tests.iter().filter(|test| !self.reported.contains(test.name)).collect();
        if !missing.is_empty() || !self.ended {
            self.trouble("the boot did not end", console);
        }
        for test in missing {
            self.failed(&format!("{} (no answer)", test.name));
        }
        println!("{}: took {:.1} s", self.boot.name, self.begin.elapsed().as_secs_f32());
        self.results
    }
}
