//! A process of this program that times one thing again and again, where the thing needs another place or user than ours:
//! crun needs a mount namespace in which cgroup2 lies where it looks, the helper needs the manager's uid.
//!
//! One byte in: one run. One line out: the nanoseconds that it took, or `error:` and why.

use crate::failure::{Failure, Result, Step};
use crate::measure::Contender;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// The asking side.
#[derive(Debug)]
pub struct Agent {
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Agent {
    /// Starts one by a command that ends in [`serve`].
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().step("start an agent")?;
        match (process.stdin.take(), process.stdout.take()) {
            (Some(questions), Some(answers)) => {
                Ok(Self { process, questions: Some(questions), answers: BufReader::new(answers) })
            }
            _ => Err(Failure::new("start an agent", "no pipes")),
        }
    }
}

impl Agent {
    /// The next line that it says.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).step("hear from the agent")?;
        Ok(line.trim().to_owned())
    }
}

impl Contender for Agent {
    fn run(&mut self) -> Result<Duration> {
        if let Some(questions) = &mut self.questions {
            questions.write_all(b"r").step("ask the agent")?;
        }
        let line = self.line()?;
        let nanoseconds = line.parse().map_err(|_| Failure::new("agent", &line))?;
        Ok(Duration::from_nanos(nanoseconds))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.questions = None;
        let _ = self.process.wait();
    }
}

/// The answering side: runs `contender` once for every byte of standard input.
pub fn serve(contender: &mut dyn Contender) -> Result<()> {
    let mut input = std::io::stdin().lock();
    let mut output = std::io::stdout().lock();
    let mut byte = [0];
    while input.read(&mut byte).step("read")? == 1 {
        let answer = match contender.run() {
            Ok(time) => time.as_nanos().to_string(),
            Err(failure) => format!("error: {}", failure.to_string().replace('\n', "; ")),
        };
        writeln!(output, "{answer}").step("write")?;
    }
    Ok(())
}
