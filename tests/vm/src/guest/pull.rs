//! `casemate pull` through casemate-fetch.socket: systemd gives each download a process of its own, of a user that is there for as long.

use super::appliance::{FILE, PAYLOAD, anchor, casemate, container, probe, restart, run, until_state, write_file};
use super::command::sh;
use super::run::note;
use super::wait::until;
use casemate_e2e::host::{self, Process};
use casemate_e2e::web::{self, Web};
use casemate_e2e::{Spec, oci};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// systemd hands out throw-away users from here (systemd.exec(5), `DynamicUser=`).
const DYNAMIC: std::ops::RangeInclusive<u32> = 61_184..=65_519;

/// The registry is a server of this program's own on the loopback: the host has no other network.
pub fn goes_through_the_units() {
    let work = Path::new("/run/casemate-vm-registry");
    let root = work.join("root");
    let layout = work.join("layout");
    fs::create_dir_all(&root).unwrap();
    fs::copy(format!("{PAYLOAD}/bin/casemate-probe"), root.join("probe")).unwrap();
    let digest = oci::layout(&layout, &[oci::layer_of(&root)], &json!({ "Entrypoint": ["/probe"] }));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&seen);
    let web = Web::start(None, move |asked, out| {
        list.lock().unwrap().extend(downloads());
        web::layout(&layout, asked, out)
    });
    let image = format!("{}/team/probe:1@{digest}", web.name());
    let head = format!("[registries.\"{}\"]\ninsecure = true\n", web.name());
    let packed = probe();
    let pulled = container("pulled", &image, 10_001, &["misbehave", "sleep"]);
    write_file(&Spec::new([pulled, anchor(&packed)]).head(&head));
    let output = casemate(&["pull", FILE]).expect(0);
    assert!(output.stdout.contains(&format!("{image}: pulled")), "{output:?}");
    let seen = seen.lock().unwrap().clone();
    assert!(!seen.is_empty());
    for (process, group) in &seen {
        assert!(process.uids.iter().all(|uid| DYNAMIC.contains(uid)), "{process:?}");
        assert!(group.contains("casemate-fetch@"), "{group}");
        for (field, value) in [("CapPrm", "0000000000000000"), ("NoNewPrivs", "1"), ("Seccomp", "2")] {
            assert_eq!(process.field(field), value, "{field} of {process:?}");
        }
    }
    if let Some((process, group)) = seen.last() {
        note(format!("casemate-fetch: user {:?}, peak {}, {}", process.uids, process.field("VmHWM"), group.trim()));
    }
    // Again: nothing is asked for. And what came runs, whatever has become of the registry.
    let asked = web.asked().len();
    assert!(casemate(&["pull", FILE]).expect(0).stdout.contains("already in the store"));
    assert_eq!(web.asked().len(), asked);
    drop(web);
    restart();
    until_state("pulled", "running");
    until("the downloads' units to be gone", || {
        sh("systemctl list-units --all --no-legend 'casemate-fetch@*'").stdout.is_empty().then_some(())
    });
    assert_eq!(sh("systemctl --failed --no-legend").stdout, "");
    run(&packed, []);
    fs::remove_dir_all(work).unwrap();
}

/// The processes of downloads, each with its cgroup.
fn downloads() -> Vec<(Process, String)> {
    let all = host::processes().into_iter().filter(|process| process.name == "casemate-fetch");
    all.filter_map(|process| {
        let group = fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).ok()?;
        Some((process, group))
    })
    .collect()
}
