//! The Debian package on a host where nothing else of ours is: installed, upgraded, and what it leaves of privileges.

use super::appliance::{HELPER, MANAGER, PAYLOAD, anchor, apply, payloads, probe, property};
use super::command::sh;
use super::run::note;
use casemate_e2e::{Spec, host};

/// One command, and the target is up and comes with every boot.
pub fn works() {
    sh(&format!("dpkg --install {PAYLOAD}/casemate.deb")).expect(0);
    assert_eq!(property("casemate.target", "UnitFileState"), "enabled");
    assert_eq!(sh("systemctl is-active casemate.target").stdout.trim(), "active");
    assert_eq!(sh("systemctl --failed --no-legend").stdout, "");
    // No file yet, so no manager; with one it starts.
    apply(&Spec::new([anchor(&probe())]));
    assert_eq!(property(MANAGER, "ActiveState"), "active");
}

/// No program of the package is set-id or has capabilities, and no process of ours keeps one in the host's user namespace.
pub fn leaves_no_privilege() {
    let files = sh("dpkg --listfiles casemate").expect(0).stdout;
    let files: Vec<&str> = files.lines().filter(|file| file.contains("casemate")).collect();
    assert!(files.len() > 8, "{files:?}");
    let set_id = sh(&format!("find {} -maxdepth 0 -type f -perm /7000", files.join(" "))).stdout;
    assert_eq!(set_id, "");
    for file in files {
        let attribute = rustix::fs::lgetxattr(file, "security.capability", &mut [0_u8; 64]);
        assert!(attribute.is_err(), "{file} has capabilities");
    }
    let outside = std::fs::read_link("/proc/1/ns/user").unwrap();
    let mut seen = 0;
    for process in host::processes().into_iter().filter(|process| process.name.starts_with("casemate")) {
        let inside = std::fs::read_link(format!("/proc/{}/ns/user", process.pid)).is_ok_and(|ns| ns != outside);
        if process.name.starts_with("casemate-vm") || inside {
            continue;
        }
        seen += 1;
        assert!(!process.uids.contains(&0), "{process:?}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(process.field(set), "0000000000000000", "{set} of {:?}", process.arguments);
        }
    }
    assert!(seen >= 2, "{seen} processes");
    // Nor does oom_score_adj make the kernel end the host's own services before a payload.
    let score = |pid| std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    let payloads: Vec<_> = payloads().iter().map(|process| score(process.pid)).collect();
    assert!(!payloads.is_empty() && payloads.iter().all(|score| score == "0\n"), "{payloads:?}");
}

/// What systemd says of the units, measured on the host that runs them.
pub fn is_as_shut_as_it_says() {
    for (unit, most) in [(HELPER, 3.0), (MANAGER, 0.6), ("casemate-fetch@0.service", 1.5)] {
        let output = sh(&format!("systemd-analyze security --no-pager {unit} | tail -n 1")).expect(0).stdout;
        let exposure = output.split("level for").nth(1).and_then(|text| text.split(": ").nth(1));
        let exposure: f32 =
            exposure.and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{output}"));
        note(format!("systemd-analyze security {unit}: {exposure}"));
        assert!(exposure <= most, "{unit}: {exposure}, at most {most}");
    }
}

/// After a purge nothing of it is there.
pub fn is_undone_by_a_purge() {
    sh("dpkg --purge casemate").expect(0);
    let left = "find / -xdev \\( -name 'casemate*' -not -name 'casemate-vm*' -not -path '/srv/*' -not -path '/proc/*' \\) | head";
    assert_eq!(sh(left).stdout.replace("/var/lib/casemate\n", ""), "");
    assert_eq!(sh("ls -A /var/lib/casemate").stdout, "");
    assert_eq!(sh("grep casemate /etc/passwd /etc/group /etc/subuid /etc/subgid | grep -v casemate-test").stdout, "");
    let processes = host::processes();
    let ours: Vec<_> = processes.iter().filter(|process| process.name.starts_with("casemate")).collect();
    assert!(ours.iter().all(|process| process.name.starts_with("casemate-vm")), "{ours:?}");
}
