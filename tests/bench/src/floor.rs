//! The floor, compiled for one job and kept running as a server, as the helper is: its own exec is not counted.

use crate::cgroup::Subtree;
use crate::failure::{Failure, Result, Step};
use crate::measure::Contender;
use crate::tools;
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("../floor/floor.c");

/// Compiles the floor with this recipe.
pub fn compile(directory: &Path, recipe: &str) -> Result<PathBuf> {
    let source = directory.join("floor.c");
    std::fs::write(&source, SOURCE).step("write floor.c")?;
    std::fs::write(directory.join("recipe.h"), recipe).step("write recipe.h")?;
    let program = directory.join("floor");
    tools::run(
        Command::new("cc").args(["-O2", "-static", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(&source),
    )?;
    Ok(program)
}

/// The running server.
#[derive(Debug)]
pub struct Floor {
    socket: Option<OwnedFd>,
    server: Child,
}

impl Floor {
    /// Starts it in its cgroup; `map` is the content of A's uid_map and gid_map.
    pub fn start(program: &Path, map: &str, subtree: &Subtree) -> Result<Self> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).step("socketpair")?;
        // Its standard input is the socket; the shell puts it where the program looks for it.
        let server = Command::new("sh")
            .args(["-c", "echo $$ > \"$2\" && exec \"$0\" \"$1\" 3<&0 </dev/null"])
            .arg(program)
            .arg(map)
            .arg(subtree.server().unwrap_or_else(|| "/dev/null".into()))
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .step("start the floor")?;
        Ok(Self { socket: Some(ours), server })
    }
}

impl Contender for Floor {
    fn run(&mut self) -> Result<Duration> {
        let Some(socket) = &self.socket else { return Err(Failure::new("floor", "it has ended")) };
        let mut status = [255];
        let begin = Instant::now();
        send(socket, b"s", SendFlags::NOSIGNAL).step("ask the floor")?;
        let (_, length) = recv(socket, &mut status, RecvFlags::empty()).step("hear from the floor")?;
        let time = begin.elapsed();
        match (length, status) {
            (1, [0]) => Ok(time),
            _ => Err(Failure::new("floor", "a step failed; it is named above")),
        }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.socket = None;
        let _ = self.server.wait();
    }
}
