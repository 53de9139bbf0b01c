//! Everything a container must not be able to do to its host, done on request.

mod exhaust;
mod files;
mod output;
mod processes;

use std::process::ExitCode;

/// Misbehaves in the named way; `None` if the name is unknown.
pub fn run(how: &[&str]) -> Option<ExitCode> {
    match how {
        ["forkbomb"] => processes::fork_bomb(),
        ["zombies", count] => processes::zombies(count.parse().ok()?),
        ["ignore-term"] => processes::ignore_term(),
        ["sleep"] => processes::sleep(u64::MAX),
        ["sleep", seconds] => processes::sleep(seconds.parse().ok()?),
        ["exit", code] => return Some(ExitCode::from(code.parse::<u8>().ok()?)),
        ["spin", seconds] => exhaust::spin(seconds.parse().ok()?),
        ["memory"] => exhaust::memory(),
        ["memory-beside"] => exhaust::memory_beside(),
        ["write", directory, mebibytes] => exhaust::write(directory, mebibytes.parse().ok()?),
        ["fds"] => exhaust::descriptors(),
        ["fill-disk", directory] => exhaust::disk(directory),
        ["say", lines @ ..] => lines.iter().for_each(|line| say(line)),
        ["mark", directory] => files::mark(directory),
        ["where"] => files::working_directory(),
        ["find", path] => files::find(path),
        ["fill-inodes", directory] => exhaust::inodes(directory),
        ["flood"] => output::flood(u64::MAX),
        ["flood", bytes] => output::flood(bytes.parse().ok()?),
        ["lines", count] => output::lines(count.parse().ok()?, 0),
        ["lines", count, pause] => output::lines(count.parse().ok()?, pause.parse().ok()?),
        ["swap", a, b] => processes::swap(a, b),
        ["connect", names @ ..] => output::connect(names),
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

/// One line on stdout, whether or not anybody reads it.
fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}
