//! One instance of casemate: directories of its own, the programs, and the proof at the end that nothing is left.

use crate::cgroups::Delegated;
use crate::host::{self, Process};
use crate::{Container, Mode, Report, Spec, Up, oci, place, poll};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// What a command that has ended leaves to read.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit code; 128 and the signal if one ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// The output, if the command ended with this code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// One instance.
#[derive(Debug)]
pub struct Instance {
    mode: Mode,
    directory: PathBuf,
    cgroup: Option<Delegated>,
}

impl Instance {
    /// A fresh one, with limits wherever this machine can give them to the mode's user.
    pub fn new(mode: Mode) -> Self {
        let mut instance = Self::without_cgroup(mode);
        if mode == Mode::User && crate::mode::we_are_root() {
            let name = instance.directory.strip_prefix(place::base()).unwrap().to_str().unwrap();
            let base = place::base().file_name().unwrap().to_str().unwrap();
            let (uid, gid) = mode.other_user();
            instance.cgroup = Some(Delegated::new(&format!("{base}-{name}"), (uid, gid.unwrap())));
        }
        instance
    }

    /// A fresh one; an ordinary user gets no cgroup.
    pub fn without_cgroup(mode: Mode) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = place::base().join(format!("{}-{number}", std::process::id()));
        place::make_directory(&directory);
        if let (uid, Some(gid)) = mode.other_user() {
            chown(&directory, Some(uid), Some(gid)).unwrap();
        }
        Self { mode, directory, cgroup: None }
    }

    /// How it runs.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// A directory that belongs to the mode's user and ends with the instance.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The state directory; casemate makes it.
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// The run directory; casemate makes it.
    pub fn run_directory(&self) -> PathBuf {
        self.directory.join("run")
    }

    /// A directory to make things in, of the tests' own user, which everybody may read.
    pub fn scratch(&self, name: &str) -> PathBuf {
        let path = self.directory.join(name);
        place::make_directory(&path);
        path
    }

    /// A `casemate` command line for this instance.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.mode.command(place::program("casemate"));
        command.env("HOME", &self.directory);
        self.arguments(&mut command, arguments);
        command
    }

    fn arguments(&self, command: &mut Command, arguments: &[&str]) {
        command.args(arguments).arg("--state-dir").arg(self.state()).arg("--run-dir").arg(self.run_directory());
        command.stdin(Stdio::null());
    }

    /// Runs `casemate` to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        finish(self.command(arguments), poll::PATIENCE)
    }

    /// Writes a file below the instance's directory and gives its path as text.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Starts `casemate up` with this file, in the foreground.
    pub fn up(&self, spec: &Spec) -> Up {
        self.up_text(&self.text_of(spec))
    }

    /// The file's text; limits are waived where this instance's user cannot have them.
    pub fn text_of(&self, spec: &Spec) -> String {
        // Root that plays the user owns every cgroup, and the user it plays owns none.
        let own = || !crate::mode::we_are_root() && crate::cgroups::own_is_delegated();
        let can = self.mode == Mode::Root || self.cgroup.is_some() || own();
        if can { spec.text() } else { spec.clone().without_limits().text() }
    }

    /// As [`Self::up`], with the text as it is.
    pub fn up_text(&self, text: &str) -> Up {
        let file = self.write("casemate.toml", text);
        Up::start(self.in_cgroup(&["up", &file]))
    }

    /// A `casemate` command line inside the delegated cgroup, where this instance has one.
    pub fn in_cgroup(&self, arguments: &[&str]) -> Command {
        let Some(cgroup) = &self.cgroup else { return self.command(arguments) };
        // Root moves itself and then becomes the user, so that the user needs no right above the subtree.
        let script =
            "while [ \"$1\" != -- ]; do echo $$ >\"$1/cgroup.procs\" || exit 125; shift; done; shift; exec \"$@\"";
        let (uid, gid) = self.mode.other_user();
        let mut command = Command::new("/bin/sh");
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", &self.directory).current_dir("/");
        command.args(["-c", script, "sh"]).args(cgroup.directories()).arg("--");
        command.args(["/usr/bin/setpriv", "--clear-groups", "--reuid", &uid.to_string()]);
        command.args(["--regid", &gid.unwrap().to_string()]).arg(place::program("casemate"));
        self.arguments(&mut command, arguments);
        command
    }

    /// Starts the file and waits until all has ended.
    pub fn up_to_the_end(&self, spec: &Spec) -> Output {
        self.up(spec).finish()
    }

    /// The same under strace(1): see [`Self::trace`].
    pub fn trace_up(&self, spec: &Spec, calls: &str) -> String {
        let file = self.write("traced.toml", &self.text_of(spec));
        self.trace(&["up", &file], calls)
    }

    /// These calls of all processes of a verb that ends well, a line each. strace(1) has to be there; for an instance without a
    /// cgroup, as the way into one is a shell.
    pub fn trace(&self, words: &[&str], calls: &str) -> String {
        assert!(self.cgroup.is_none());
        let trace = self.directory.join("trace");
        let mut outer = self.mode.command("/usr/bin/strace");
        outer.args(["-f", "-qq", "-e", &format!("trace={calls}"), "-o"]).arg(&trace);
        let inner = self.command(words);
        outer.arg(inner.get_program()).args(inner.get_args());
        finish(outer, poll::PATIENCE).expect(0);
        fs::read_to_string(trace).unwrap()
    }

    /// Packs one static program as an image and gives its pin.
    pub fn pack_binary(&self, name: &str, program: &Path) -> String {
        self.pack(name, &["--binary", program.to_str().unwrap()])
    }

    /// Packs a directory as an image, with more options, and gives its pin.
    pub fn pack_directory(&self, name: &str, rootfs: &Path, options: &[&str]) -> String {
        let mut arguments = options.to_vec();
        arguments.push(rootfs.to_str().unwrap());
        self.pack(name, &arguments)
    }

    fn pack(&self, name: &str, options: &[&str]) -> String {
        let mut arguments = vec!["image", "pack", "--name", name];
        arguments.extend(options);
        let output = self.run(&arguments).expect(0);
        let digest = output.stdout.split_whitespace().find(|word| word.contains("sha256:"));
        let digest = digest.unwrap_or_else(|| panic!("no digest in {:?}", output.stdout));
        let digest = &digest[digest.find("sha256:").unwrap()..];
        format!("localhost/{name}@{digest}")
    }

    /// Imports an image made by [`oci::layout`] of one layer with this content and config, and gives its pin.
    pub fn import_directory(&self, name: &str, rootfs: &Path, config: &serde_json::Value) -> String {
        self.import_layers(name, &[oci::layer_of(rootfs)], config)
    }

    /// Imports an image made by [`oci::layout`], and gives its pin.
    pub fn import_layers(&self, name: &str, layers: &[Vec<u8>], config: &serde_json::Value) -> String {
        let layout = self.scratch(&format!("layout-{name}"));
        let digest = oci::layout(&layout, layers, config);
        self.run(&["image", "import", layout.to_str().unwrap(), "--name", name]).expect(0);
        fs::remove_dir_all(layout).unwrap();
        format!("localhost/{name}@{digest}")
    }

    /// A root file system in the making that has the probe as `/probe`.
    pub fn rootfs_with_probe(&self, name: &str) -> PathBuf {
        let rootfs = self.scratch(name);
        fs::copy(place::program("casemate-probe"), rootfs.join("probe")).unwrap();
        rootfs
    }

    /// The probe as an image.
    pub fn probe(&self) -> String {
        self.pack_binary("probe", &place::program("casemate-probe"))
    }

    /// What a container has written on its standard output.
    pub fn stdout_of(&self, container: &str) -> String {
        self.run(&["logs", container]).expect(0).stdout
    }

    /// Starts one container with the probe and these changes, and returns its report.
    pub fn report(&self, change: impl FnOnce(Container) -> Container) -> Report {
        let image = self.probe();
        self.report_of(change(Container::new("a", &image, 10_001)), "")
    }

    /// Boots this container of the probe alone, and gives its report. `head` as in [`Spec::head`].
    pub fn report_of(&self, container: Container, head: &str) -> Report {
        let spec = Spec::new([container.command(&["report"])]).head(head);
        let output = self.up_to_the_end(&spec).expect(0);
        parse_report(&output.stdout)
    }

    /// Processes of this instance: those that name its directories, and all below them.
    pub fn processes(&self) -> Vec<Process> {
        let mut ours = self.programs();
        let pids: Vec<i32> = ours.iter().map(|process| process.pid).collect();
        ours.extend(host::descendants(&pids).into_iter().filter(|below| !pids.contains(&below.pid)));
        ours
    }

    fn programs(&self) -> Vec<Process> {
        let state = self.state();
        let state = state.to_str().unwrap();
        let names_us = |process: &Process| process.arguments.iter().any(|word| word == state);
        let ours = |process: &Process| {
            process.arguments.first().is_some_and(|program| program.rsplit('/').next().unwrap().starts_with("casemate"))
        };
        host::processes().into_iter().filter(|process| names_us(process) && ours(process)).collect()
    }

    /// The cgroup trees that the run directory's list names and that are still there; empty without the right to read it.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let list = fs::read_to_string(self.run_directory().join("cgroups")).unwrap_or_default();
        let trees = list.lines().map(PathBuf::from);
        trees.filter(|tree| tree.starts_with("/sys/fs/cgroup") && tree.is_dir()).collect()
    }

    /// The processes of the helper: the one that stays outside, and the one in A.
    pub fn helpers(&self) -> Vec<Process> {
        let mut all = self.programs();
        // A start has the same words until it executes its payload, and is no helper: A's first process is number 1 in A.
        let is_one =
            |process: &Process| matches!(process.field("NSpid").split('\t').collect::<Vec<_>>()[..], [_] | [_, "1"]);
        all.retain(|process| process.arguments[0].ends_with("casemate-helper") && is_one(process));
        all
    }

    /// The manager that runs `up`.
    pub fn managers(&self) -> Vec<Process> {
        let mut all = self.programs();
        all.retain(|process| process.arguments[0].ends_with("/casemate") && process.arguments[1] == "up");
        all
    }

    /// Ends every program of this instance and waits until it and all below it are gone.
    pub fn end(&self) {
        let family = self.processes();
        for process in self.programs() {
            host::signal(process.pid, Signal::KILL);
        }
        poll::until(&format!("the end of {}", describe(&family)), || {
            // A zombie has ended too.
            let left = |old: &Process| {
                Process::of(old.pid).is_some_and(|now| now.state != 'Z' && now.arguments == old.arguments)
            };
            (!family.iter().any(left) && self.programs().is_empty()).then_some(())
        });
    }
}

fn describe(processes: &[Process]) -> String {
    let words: Vec<String> = processes.iter().map(|p| format!("{} {}", p.pid, p.arguments.join(" "))).collect();
    words.join("; ")
}

impl Drop for Instance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The first failure is the one to read, and the directory is evidence for it.
            for process in self.programs() {
                host::signal(process.pid, Signal::KILL);
            }
            eprintln!("the instance's directory is kept: {}", self.directory.display());
            return;
        }
        self.end();
        // A helper that was killed leaves its cgroups to the next start, which there will not be.
        for tree in self.cgroups() {
            poll::until("the end of its cgroups", || crate::cgroups::remove(&tree).ok());
        }
        let mounts = host::mounts_of(&self.directory);
        assert!(mounts.is_empty(), "mounts are left: {mounts:?}");
        make_removable(&self.directory);
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// An ordinary user may not remove from directories that an image made read-only.
fn make_removable(directory: &Path) {
    if crate::mode::we_are_root() {
        return;
    }
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_removable(&entry.path());
        }
    }
}

/// Runs a command to its end, or kills it when the time is over and panics.
pub fn finish(command: Command, time: Duration) -> Output {
    let mut up = Up::start(command);
    up.wait(time)
}

/// The report in what a container has written; `up` puts the container's name before each line.
pub fn parse_report(text: &str) -> Report {
    let mut lines = text.lines().map(|line| line.split_once("| ").map_or(line, |(_, rest)| rest));
    let mut json = String::new();
    for line in lines.by_ref().skip_while(|line| *line != "{") {
        json.push_str(line);
        if line == "}" {
            break;
        }
    }
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("no report ({error}) in:\n{text}"))
}
