//! One virtual machine: started, listened to, and killed when it is dropped.
//!
//! It is emulated (TCG), so that every machine can run it and all run the same. When it is killed, it loses its memory and so
//! all that the guest had not yet given to its disks; what the disks had been given is kept. What a disk with a write cache
//! would lose besides is the matter of [`super::write_log`].

use super::disks::Disks;
use crate::boots::Boot;
use crate::line::{self, Line};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A running machine.
#[derive(Debug)]
pub struct Qemu {
    child: Child,
    results: PathBuf,
    console: PathBuf,
}

impl Qemu {
    /// Powers it on.
    pub fn boot(boot: &Boot, disks: &Disks) -> Self {
        let file = |kind: &str| disks.directory.join(format!("{}.{kind}", boot.name));
        let console = file("console");
        let results = file("results");
        for old in [&console, &results] {
            let _ = fs::remove_file(old);
        }
        let access = if boot.machine.read_only { "ro systemd.mask=systemd-remount-fs.service" } else { "rw" };
        let append = format!(
            "root=/dev/disk/by-id/virtio-root {access} console=ttyS0 panic=-1 oops=panic quiet \
             systemd.unit=casemate-vm.target systemd.show_status=0 casemate.boot={}",
            boot.name
        );
        // Whatever ends this program ends the machine.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max"]);
        command.args(["-smp", "2", "-m", "1536", "-display", "none", "-nic", "none", "-no-reboot", "-monitor", "none"]);
        command.arg("-kernel").arg(disks.host(boot, "vmlinuz")).arg("-initrd").arg(disks.host(boot, "initrd"));
        command.args(["-append", &append]);
        command.arg("-serial").arg(format!("file:{}", console.display()));
        command.arg("-serial").arg(format!("file:{}", results.display()));
        command.args(["-object", "rng-random,filename=/dev/urandom,id=rng", "-device", "virtio-rng-pci,rng=rng"]);
        if let Some(clock) = boot.machine.clock {
            command.args(["-rtc", &format!("base={clock}")]);
        }
        command.args(disks.arguments(boot));
        command.stdin(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, results, console }
    }

    /// Whether it has power.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it has reported.
    pub fn lines(&self) -> Vec<Line> {
        line::parse(&String::from_utf8_lossy(&fs::read(&self.results).unwrap_or_default()))
    }

    /// What its console has shown.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).into_owned()
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // The power goes, whatever it does.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
