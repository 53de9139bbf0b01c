//! A program of ours in the foreground: its output while it runs, its signals, its end.

use crate::{Output, poll};
use rustix::process::{Pid, Signal};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

type Lines = Arc<Mutex<String>>;

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Up {
    child: Child,
    stdout: Lines,
    stderr: Lines,
    readers: Vec<JoinHandle<()>>,
}

impl Up {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = Lines::default();
        let stderr = Lines::default();
        let readers = vec![
            read(child.stdout.take().unwrap(), stdout.clone()),
            read(child.stderr.take().unwrap(), stderr.clone()),
        ];
        Self { child, stdout, stderr, readers }
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// What it has written on standard output up to now.
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// What it has written on standard error up to now.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until a line of either stream has this text in it, and gives the line.
    #[track_caller]
    pub fn until_line(&mut self, text: &str) -> String {
        let found = poll::within(poll::PATIENCE, || {
            let line = |all: String| all.lines().find(|line| line.contains(text)).map(str::to_owned);
            let ended = self.child.try_wait().unwrap().is_some();
            match line(self.stdout()).or_else(|| line(self.stderr())) {
                Some(line) => Some(Some(line)),
                None => ended.then_some(None),
            }
        });
        match found {
            Some(Some(line)) => line,
            // It may have ended after its last line was looked for.
            _ => panic!("no line with {text:?} in\nstdout:\n{}\nstderr:\n{}", self.stdout(), self.stderr()),
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end; panics after [`poll::PATIENCE`].
    #[track_caller]
    pub fn finish(mut self) -> Output {
        self.wait(poll::PATIENCE)
    }

    /// Waits for its end; kills it and panics when the time is over.
    #[track_caller]
    pub fn wait(&mut self, time: Duration) -> Output {
        let Some(status) = poll::within(time, || self.child.try_wait().unwrap()) else {
            let at = ["wchan", "syscall", "stack"]
                .map(|what| std::fs::read_to_string(format!("/proc/{}/{what}", self.pid())));
            let _ = self.child.kill();
            panic!("it does not end; it waits at {at:?}\nstdout:\n{}\nstderr:\n{}", self.stdout(), self.stderr());
        };
        // A child of it that outlives it may hold the pipes, so the readers get time and not for ever.
        poll::within(Duration::from_secs(5), || self.readers.iter().all(JoinHandle::is_finished).then_some(()));
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
        Output { code, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(stream: impl Read + Send + 'static, into: Lines) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}
