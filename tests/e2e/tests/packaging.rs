//! The maintainer scripts of the Debian package, as dpkg calls them: on this kernel and these directories, in a mount namespace where
//! those that they change are empty ones. What systemd then does is asked in a virtual machine (tests/vm).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::{Feature, Output, finish, needs, place, poll};
use std::process::Command;

/// What a host has: the directories that are changed, and stand-ins for systemd's commands, whose calls are recorded in /run/reported.
const HOST: &str = r#"
for directory in /etc /var/lib /run; do mount -t tmpfs none "$directory"; done
mkdir -p /run/systemd/system /run/bin
printf 'root:x:0:0::/:/bin/sh\ncasemate:x:1:1::/:/x\n' >/etc/passwd
printf 'alice:100000:65536' >/etc/subuid
for word in systemctl deb-systemd-invoke deb-systemd-helper systemd-sysusers systemd-tmpfiles userdel; do
    printf '#!/bin/sh\necho "$(basename "$0") $*" >>/run/reported\n' >"/run/bin/$word"
    chmod +x "/run/bin/$word"
done
PATH=/run/bin:$PATH
"#;

/// Runs a shell script on such a host.
fn on_a_host(script: &str) -> Output {
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--mount", "--propagation", "private", "/bin/sh", "-e", "-c", &format!("{HOST}\n{script}")]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir(place::repository());
    finish(command, poll::PATIENCE)
}

#[test]
fn purge_ends_for_any_kind_of_state_directory() {
    if !needs("purge_ends_for_any_kind_of_state_directory", &[Feature::Root]) {
        return;
    }
    for (state, left) in [
        ("mkdir -p /var/lib/casemate/blobs && touch /var/lib/casemate/blobs/x", ""),
        ("mkdir -p /run/disk/blobs && ln -s /run/disk /var/lib/casemate", "/run/disk\n"),
        ("mkdir -p /var/lib/casemate/layers/x && mount -t tmpfs none /var/lib/casemate", "/var/lib/casemate\n"),
        (
            "mkdir -p /var/lib/casemate/layers /var/lib/casemate/blobs && mount -t tmpfs none /var/lib/casemate/layers",
            "/var/lib/casemate\n/var/lib/casemate/layers\n",
        ),
        ("printf '#!/bin/sh\nexit 8\n' >/run/bin/userdel", ""),
    ] {
        let script =
            format!("{state}\nsh packaging/debian/postrm purge\nfind /var/lib/casemate /run/disk 2>/dev/null || true");
        assert_eq!(on_a_host(&script).expect(0).stdout, left, "{state}");
    }
    // What is behind a link is not of the package.
    let script =
        "mkdir -p /var/lib/casemate /run/canary && touch /run/canary/x && ln -s /run/canary /var/lib/casemate/layers
        sh packaging/debian/postrm purge; ls /run/canary";
    assert_eq!(on_a_host(script).expect(0).stdout, "x\n");
}

#[test]
fn installation_starts_and_keeps_existing_subordinate_ids() {
    if !needs("installation_starts_and_keeps_existing_subordinate_ids", &[Feature::Root]) {
        return;
    }
    // The first; an upgrade; one after a removal, which dpkg reports like an upgrade.
    for (before, restarts) in [("", false), ("0.1.0-1", true)] {
        let script = format!(
            "for _ in 1 2; do sh packaging/debian/postinst configure {before}; done; cat /etc/subuid /etc/subgid /run/reported"
        );
        let reported = on_a_host(&script).expect(0).stdout;
        let range = "casemate-helper:1879113728:65535\n";
        assert!(reported.starts_with(&format!("alice:100000:65536\n{range}{range}")), "{reported}");
        assert!(reported.contains("deb-systemd-invoke start casemate.target\n"), "{reported}");
        assert_eq!(reported.contains("deb-systemd-invoke try-restart casemate.service\n"), restarts, "{reported}");
    }
}
