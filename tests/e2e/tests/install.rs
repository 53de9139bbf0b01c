//! What `make install` puts in place: which files, with which modes, and units that systemd's own tools accept.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::{Feature, needs, place};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const ANALYZE: &str = "/usr/bin/systemd-analyze";
/// Besides the programs; below the prefix.
const FILES: [&str; 15] = [
    "bin/casemate",
    "lib/systemd/system/casemate-containers.service",
    "lib/systemd/system/casemate-fetch.socket",
    "lib/systemd/system/casemate-fetch@.service",
    "lib/systemd/system/casemate-helper.service",
    "lib/systemd/system/casemate-helper.socket",
    "lib/systemd/system/casemate.service",
    "lib/systemd/system/casemate.target",
    "lib/sysusers.d/casemate.conf",
    "lib/tmpfiles.d/casemate.conf",
    "share/casemate/apparmor/casemate-helper",
    "share/casemate/examples/backup.seccomp.toml",
    "share/casemate/examples/casemate.toml",
    "share/casemate/examples/minimal.toml",
    "share/casemate/examples/quickstart.toml",
];
const PROGRAMS: [&str; 5] = ["casemate", "casemate-fetch", "casemate-helper", "casemate-init", "casemate-unpack"];

/// A directory that goes when the test is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = place::base().join(format!("install-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        place::make_directory(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `make install` without building: the programs are those under test.
fn install(destination: &Path, prefix: &str) {
    let output = Command::new("make")
        .args(["-o", "build", "install"])
        .arg(format!("DESTDIR={}", destination.display()))
        .arg(format!("PREFIX={prefix}"))
        .arg(format!("release={}", place::binaries().display()))
        .current_dir(place::repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

#[test]
fn installed_files_have_no_set_id_bits_or_capabilities() {
    let root = Scratch::new("modes");
    install(&root.0, "/usr");
    let mut expected: Vec<PathBuf> = FILES.iter().map(|file| root.0.join("usr").join(file)).collect();
    expected.extend(PROGRAMS.iter().map(|name| root.0.join("usr/libexec/casemate").join(name)));
    expected.sort();
    assert_eq!(files(&root.0), expected);
    for file in expected {
        let link = fs::symlink_metadata(&file).unwrap().is_symlink();
        let shown = file.display();
        if link {
            assert_eq!(fs::read_link(&file).unwrap(), Path::new("../libexec/casemate/casemate"), "{shown}");
            continue;
        }
        let metadata = fs::metadata(&file).unwrap();
        let program = file.parent().unwrap().ends_with("libexec/casemate");
        assert_eq!(metadata.permissions().mode() & 0o7777, if program { 0o755 } else { 0o644 }, "{shown}");
        assert_eq!(metadata.uid(), rustix::process::geteuid().as_raw(), "{shown}");
        let mut names = [0; 1024];
        let length = rustix::fs::llistxattr(&file, &mut names).unwrap();
        assert!(!String::from_utf8_lossy(&names[..length]).contains("security.capability"), "{shown}");
    }
}

#[test]
fn units_name_installed_programs_and_pass_systemd_analyze() {
    if !needs("units_name_installed_programs_and_pass_systemd_analyze", &[Feature::Program(ANALYZE)]) {
        return;
    }
    let root = Scratch::new("units");
    // No destination: systemd-analyze wants the programs where the units say that they are.
    let prefix = root.0.join("prefix");
    install(Path::new(""), prefix.to_str().unwrap());
    let units = files(&prefix.join("lib/systemd/system"));
    for unit in &units {
        let text = fs::read_to_string(unit).unwrap();
        assert!(!text.contains("/usr/libexec"), "{}", unit.display());
    }
    let output = Command::new(ANALYZE).args(["verify", "--man=no"]).args(&units).output().unwrap();
    let reported = String::from_utf8_lossy(&output.stderr);
    // A warning is no failure to the tool; about our units it is one.
    let ours: Vec<&str> = reported.lines().filter(|line| line.contains("casemate")).collect();
    assert!(output.status.success() && ours.is_empty(), "{reported}");
}

#[test]
fn units_have_a_bounded_exposure_score() {
    if !needs("units_have_a_bounded_exposure_score", &[Feature::Program(ANALYZE)]) {
        return;
    }
    // In tenths; docs/security/systemd.md has the reason for every point that is left.
    for (unit, most) in [
        ("casemate.service", "6"),
        ("casemate-containers.service", "6"),
        ("casemate-fetch@.service", "12"),
        ("casemate-helper.service", "30"),
    ] {
        let output = Command::new(ANALYZE)
            .args(["security", "--no-pager", "--offline=yes", &format!("--threshold={most}")])
            .arg(place::repository().join("systemd").join(unit))
            .output()
            .unwrap();
        assert!(output.status.success(), "{unit}:\n{}", String::from_utf8_lossy(&output.stdout));
    }
}
