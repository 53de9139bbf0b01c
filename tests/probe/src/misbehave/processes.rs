//! Too many processes, unreaped zombies, and a process that ignores signals.

use super::say;
use crate::answer::Answer;
use crate::process::{Disposition, Fork, fork, leave, on_signal, wait};
use std::fs;
use std::time::{Duration, Instant};

/// A fork bomb. The first process prints when fork fails for the first time.
pub fn fork_bomb() {
    let mut first = true;
    loop {
        match fork() {
            Ok(Fork::Child) => first = false,
            Ok(Fork::Parent(_)) => {}
            Err(error) => {
                if first {
                    say(&format!("fork refused: {}", Answer::of::<()>(&Err(error))));
                    first = false;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Makes orphans that end at once; then says each second how many zombies can be seen.
pub fn zombies(count: u32) {
    on_signal(libc::SIGTERM, Disposition::Leave);
    for _ in 0..count {
        match fork() {
            Ok(Fork::Child) => {
                // The grandchild outlives its parent, so it becomes a child of pid 1 before it ends.
                if let Ok(Fork::Child) = fork() {
                    std::thread::sleep(Duration::from_millis(100));
                }
                leave(0)
            }
            Ok(Fork::Parent(pid)) => drop(wait(pid)),
            Err(error) => say(&format!("fork refused: {}", Answer::of::<()>(&Err(error)))),
        }
    }
    loop {
        std::thread::sleep(Duration::from_secs(1));
        say(&format!("zombies: {}", count_zombies()));
    }
}

fn count_zombies() -> usize {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
    })
    .count()
}

/// Says that it will stay, and stays until SIGKILL.
pub fn ignore_term() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        on_signal(signal, Disposition::Ignore);
    }
    say("ignoring");
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Sleeps, and ends well when asked to.
pub fn sleep(seconds: u64) {
    on_signal(libc::SIGTERM, Disposition::Leave);
    on_signal(libc::SIGINT, Disposition::Leave);
    say("sleeping");
    let start = Instant::now();
    while start.elapsed().as_secs() < seconds {
        std::thread::sleep(Duration::from_millis(200).min(Duration::from_secs(seconds)));
    }
}

/// Exchanges two names without end: what a container does to a shared volume while another is being started.
pub fn swap(a: &str, b: &str) {
    on_signal(libc::SIGTERM, Disposition::Leave);
    let mut swaps = 0u64;
    loop {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        if let Err(error) = rustix::fs::renameat_with(rustix::fs::CWD, a, rustix::fs::CWD, b, flags) {
            say(&format!("swap: {error}"));
            std::thread::sleep(Duration::from_millis(100));
        }
        swaps += 1;
        if swaps == 1 {
            say("swapping");
        }
    }
}
