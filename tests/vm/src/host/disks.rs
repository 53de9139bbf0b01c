//! The disks of one run, made anew each time: the root (a copy of the cached host), the payload, casemate's state,
//! and what power cuts have left of that.

use super::large;
use crate::boots::{self, Boot, STATE_SIZE, StateDisk};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where they are.
#[derive(Debug)]
pub struct Disks {
    /// Of this run.
    pub directory: PathBuf,
    hosts: PathBuf,
}

impl Disks {
    /// Makes them.
    pub fn make(directory: &Path, hosts: &Path, payload: &Path) -> Self {
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory).unwrap();
        for (host, suite) in boots::hosts() {
            copy(&hosts.join(suite).join("disk.img"), &directory.join(format!("root-{host}.img")));
            file_system(&directory.join(format!("state-{host}.img")), STATE_SIZE, None);
        }
        let content = directory.join("payload");
        run(Command::new("cp").arg("-r").arg(payload).arg(&content));
        large::make(&content.join("large"), &content.join("bin/casemate-probe"));
        file_system(&directory.join("payload.img"), 64 << 20, Some(&content));
        fs::remove_dir_all(content).unwrap();
        Self { directory: directory.to_owned(), hosts: hosts.to_owned() }
    }

    /// A file of this run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Of this boot's host: its kernel, its initial file system.
    pub fn host(&self, boot: &Boot, name: &str) -> PathBuf {
        self.hosts.join(boot.machine.suite).join(name)
    }

    /// qemu's arguments for the disks of this boot. Each disk's serial number is its name.
    pub fn arguments(&self, boot: &Boot) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut disk = |name: &str, how: String| {
            arguments.extend(["-blockdev".to_owned(), format!("{how},node-name={name}")]);
            arguments.extend(["-device".to_owned(), format!("virtio-blk-pci,drive={name},serial={name}")]);
        };
        let file = |name: &str| format!("driver=file,filename={}", self.file(name).display());
        // `cache.no-flush`: what was written stays in this host's page cache when qemu is killed, flushed or not.
        let raw = |name: &str| format!("driver=raw,cache.no-flush=on,file.{}", file(name).replace(",", ",file."));
        let root = format!("root-{}.img", boot.machine.host);
        let state = format!("state-{}.img", boot.machine.host);
        disk("root", raw(&root));
        disk("payload", format!("{},read-only=on", raw("payload.img")));
        match boot.machine.state {
            StateDisk::Ordinary => disk("state", raw(&state)),
            StateDisk::Recorded => {
                copy(&self.file(&state), &self.file("state-before.img"));
                fs::File::create(self.file("state.log")).unwrap();
                let image = file(&state);
                let log = file("state.log");
                let image = image.replace(',', ",file.");
                let log = log.replace(',', ",log.");
                disk("state", format!("driver=blklogwrites,log-sector-size=512,file.{image},log.{log}"));
            }
            StateDisk::Cut => {
                disk("state", raw(&state));
                disk("cuts", raw("cuts.img"));
            }
        }
        arguments
    }
}

/// Copies a disk, holes as holes.
fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("--sparse=always").arg(from).arg(to));
}

/// A sparse file of so many bytes with an ext4 in it, and this content.
fn file_system(image: &Path, size: u64, content: Option<&Path>) {
    fs::File::create(image).unwrap().set_len(size).unwrap();
    let mut command = Command::new("mkfs.ext4");
    command.arg("-q");
    if let Some(content) = content {
        command.arg("-d").arg(content);
    }
    run(command.arg(image));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
