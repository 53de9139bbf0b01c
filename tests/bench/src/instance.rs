//! An instance of casemate as its user has one: the programs beside this one, a state and a run directory of its own.

use crate::failure::{Failure, Result, Step};
use crate::tools;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where it lives.
#[derive(Debug, Clone)]
pub struct Instance {
    directory: PathBuf,
}

impl Instance {
    /// In a new directory below `work`.
    pub fn new(work: &Path, name: &str) -> Result<Self> {
        let directory = work.join(name);
        fs::create_dir(&directory).step(format_args!("make {}", directory.display()))?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).step("chmod")?;
        Ok(Self { directory })
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// The run directory.
    pub fn run(&self) -> PathBuf {
        self.directory.join("run")
    }

    /// A path in the instance's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The program's path; the others lie beside it.
    pub fn program() -> Result<PathBuf> {
        let program = std::env::current_exe().step("find this program")?.with_file_name("casemate");
        if program.is_file() { Ok(program) } else { Err(Failure::new("find casemate", "build it first: make bench")) }
    }

    /// A command line of this instance.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Command> {
        let mut command = Command::new(Self::program()?);
        command.args(arguments).arg("--state-dir").arg(self.state()).arg("--run-dir").arg(self.run());
        Ok(command)
    }

    /// Packs a directory as an image of one layer and gives its pin.
    pub fn pack(&self, root: &Path) -> Result<String> {
        let said = tools::run(self.command(["image", "pack", "--name", "bench"])?.arg(root))?;
        let digest = said.find("sha256:").and_then(|at| said.get(at..at + 71));
        let digest = digest.ok_or_else(|| Failure::new("casemate image pack", "it printed no digest"))?;
        Ok(format!("localhost/bench@{digest}"))
    }

    /// Writes a file with `count` containers of this image, each with a user of its own.
    pub fn file(&self, pin: &str, count: u32, command: &[&str]) -> Result<PathBuf> {
        let mut text = String::from(HEAD);
        for number in 1..=count {
            text.push_str(&container(&format!("c{number}"), number, pin, command, ""));
        }
        self.write(&format!("{count}.toml"), &text)
    }

    /// Writes a file into the instance's directory.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        fs::write(&path, text).step(format_args!("write {}", path.display()))?;
        Ok(path)
    }
}

/// What every file begins with.
pub const HEAD: &str = "schema = 1\n\n[appliance]\nname = \"bench\"\n";

/// The table of one container, with more keys.
pub fn container(name: &str, number: u32, pin: &str, command: &[&str], keys: &str) -> String {
    format!(
        "\n[containers.{name}]\nimage = \"{pin}\"\nuser = \"{}\"\ncommand = {command:?}\nrestart = \"no\"\n\
         tmpfs = [\"/tmp:size=16MiB\"]\nstop_grace_period = \"1s\"\n\
         resources = {{ memory = \"64MiB\", pids = 64, cpus = 1.0 }}\n{keys}",
        10_000 + number
    )
}
