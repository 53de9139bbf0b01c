//! The two ways of running, and what a machine must have for a test to mean something.

use crate::place;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// The user of the user-mode suite when root runs it; `tests/setup` makes it.
const USER: &str = "casemate-test";

/// Who calls `casemate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Root, as a boot would.
    Root,
    /// An ordinary user: the one who runs the tests, or [`USER`] if that is root.
    User,
}

impl Mode {
    /// Runs a test in this mode, or says that it is skipped.
    pub fn run(self, test: &str, body: fn(Self)) {
        if self == Self::Root && !we_are_root() {
            skip(&format!("{test} needs root"));
            return;
        }
        body(self);
    }

    /// A command that runs as this mode's user, with nothing in its environment but PATH.
    pub fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").current_dir("/");
        if let (uid, Some(gid)) = self.other_user() {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Uid and gid that files of this mode's user have; the gid only where it is not ours.
    pub fn other_user(self) -> (u32, Option<u32>) {
        if self == Self::User && we_are_root() {
            let (uid, gid) = test_user();
            return (uid, Some(gid));
        }
        (rustix::process::getuid().as_raw(), None)
    }
}

/// Whether the tests themselves run as root.
pub fn we_are_root() -> bool {
    rustix::process::getuid().is_root()
}

fn test_user() -> (u32, u32) {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.starts_with(&format!("{USER}:")));
    let fields: Vec<&str> = line.unwrap_or_else(|| panic!("no user {USER}: run tests/setup")).split(':').collect();
    (fields[2].parse().unwrap(), fields[3].parse().unwrap())
}

/// What not every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Memory, pids and cpu limits can be had by this mode's user.
    Limits(Mode),
    /// A program of Debian's packages.
    Program(&'static str),
    /// The kernel has the 32-bit entry.
    Ia32,
    /// The test itself has to be root to look or to prepare.
    Root,
}

impl Feature {
    fn is_there(self) -> bool {
        match self {
            Self::Limits(_) => we_are_root() || crate::cgroups::own_is_delegated(),
            Self::Program(path) => Path::new(path).exists(),
            Self::Ia32 => ia32_entry_works(),
            Self::Root => we_are_root(),
        }
    }
}

/// Says whether the test can go on. With CI set, a missing feature is a failure and no skip.
#[must_use]
pub fn needs(test: &str, features: &[Feature]) -> bool {
    let Some(missing) = features.iter().find(|feature| !feature.is_there()) else { return true };
    assert!(std::env::var_os("CI").is_none(), "{test}: this machine lacks {missing:?}");
    skip(&format!("{test} needs {missing:?}"));
    false
}

/// Says so past the capture of the test runner, and where `tests/run` counts it.
fn skip(what: &str) {
    let line = format!("skipped: {what}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    let list = place::base().join("skipped");
    let file = std::fs::OpenOptions::new().append(true).create(true).open(list);
    file.unwrap().write_all(line.as_bytes()).unwrap();
}

fn ia32_entry_works() -> bool {
    let probe = place::program("casemate-probe");
    let output = Command::new(probe).args(["try", "int 0x80 getpid"]).output().unwrap();
    output.stdout == b"worked\n"
}
