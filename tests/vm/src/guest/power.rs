//! Power cuts. One boot works on the state disk while the host records its writes and flushes, and ends with a cut; the next
//! one finds its own disk so, and beside it disks as cuts at other moments would have left them.

use super::appliance::{PAYLOAD, STATE, apply, casemate, container, payloads, probe, run, until_output, until_state};
use super::command::sh;
use super::run::{note, send};
use super::wait::until;
use super::whole;
use crate::boots::{CUTS, CUTS_A_PHASE, STATE_SIZE};
use crate::line::Line;
use casemate_e2e::{Output, Spec};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

fn phase(name: &str) {
    send(&Line::Mark { name: name.to_owned() });
}

/// The name of the image that takes a while, in the store.
fn import(state: &str, run: &str) -> Output {
    let layout = format!("{PAYLOAD}/large/layout");
    casemate(&["--state-dir", state, "--run-dir", run, "image", "import", &layout, "--name", "large"])
}

fn large() -> String {
    let digest = fs::read_to_string(format!("{PAYLOAD}/large/digest")).unwrap();
    format!("localhost/large@{digest}")
}

/// Images come and go.
pub fn is_cut_while_images_come() {
    let image = probe();
    run(&image, []);
    sh("sync").expect(0);
    phase("images");
    for round in 0..3 {
        import(STATE, "/run/casemate").expect(0);
        if round < 2 {
            let pin = large();
            casemate(&["image", "rm", pin.split('@').nth(1).unwrap()]).expect(0);
        }
    }
}

/// Files are applied, one after the other.
pub fn is_cut_while_files_are_applied() {
    let image = probe();
    phase("files");
    for round in 0..4 {
        let uid = 10_001 + round;
        run(&image, [container("a", &image, uid, &["misbehave", "sleep"])]);
        until_state("a", "running");
    }
}

/// Two containers write more than their logs keep.
pub fn is_cut_while_logs_rotate() {
    let image = probe();
    let writer = |name: &str, uid| {
        let container = container(name, &image, uid, &["misbehave", "lines", "1000000", "300"]);
        container.set("logging", "{ max_size = \"64KiB\", max_file = 2 }")
    };
    apply(&Spec::new([writer("even", 10_001), writer("odd", 10_002)]));
    until_output("odd", "line");
    phase("logs");
    for _ in 0..8 {
        // The kernel would keep all of it in memory for half a minute; an unlucky host writes it as it comes.
        sh("sleep 0.7; sync").expect(0);
    }
}

/// The boot after a cut is like any other, and what the state disk has is whole.
pub fn came_back_and_the_state_is_whole() {
    for name in ["even", "odd"] {
        until_state(name, "running");
        let output = until_output(name, "line");
        assert!(output.lines().all(|line| line.starts_with("line ")), "a torn line: {output}");
    }
    assert_eq!(payloads().len(), 2);
    whole::check(Path::new(STATE));
    for name in ["even", "odd"] {
        whole::logs(&Path::new(STATE).join("logs").join(name));
    }
}

/// So is what every other disk has, and casemate goes on with it.
pub fn was_cut_and_every_disk_is_whole() {
    // The machine has two CPUs, and the containers of this boot would take one.
    sh("systemctl stop casemate.target").expect(0);
    // As many at once as there are CPUs.
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= CUTS {
                break;
            }
            match std::panic::catch_unwind(|| one(number)) {
                Err(_) => wrong.lock().unwrap().push(number),
                Ok(()) if number % CUTS_A_PHASE == CUTS_A_PHASE - 1 => note(format!("cut disk {number} was whole")),
                Ok(()) => {}
            }
        }
    };
    std::thread::scope(|scope| [(); 2].map(|()| scope.spawn(work)).map(|thread| thread.join().unwrap()));
    let wrong = wrong.into_inner().unwrap();
    // Mounting replayed the journal, and found nothing else to be done.
    assert_eq!(sh("dmesg | grep -E 'EXT4-fs (error|warning)'").stdout, "");
    assert!(wrong.is_empty(), "cuts that are not whole: {wrong:?}; the first one's reason stands above");
    note(format!("all {CUTS} cut disks were whole"));
}

fn one(number: usize) {
    let offset = STATE_SIZE * number as u64;
    let state_dir = format!("/mnt/cut-{number}");
    let run_dir = format!("/run/cut-{number}");
    let options = format!("noatime,loop,offset={offset},sizelimit={STATE_SIZE}");
    sh(&format!("mkdir -p {state_dir} && mount -t ext4 -o {options} /dev/disk/by-id/virtio-cuts {state_dir}"))
        .expect(0);
    let state = Path::new(&state_dir);
    whole::check(state);
    let ours = |words: &[&str]| {
        let mut all = vec!["--state-dir", state_dir.as_str(), "--run-dir", run_dir.as_str()];
        all.extend(words);
        casemate(&all)
    };
    // What was half there is completed, what was there is kept.
    import(&state_dir, &run_dir).expect(0);
    let image = large();
    let words = ["misbehave", "find", "/files-1/dir-2/file-39"];
    // All that have logs there, so that each file is opened again.
    let logs = fs::read_dir(state.join("logs")).unwrap().flatten();
    let names: Vec<String> = logs.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(!names.is_empty(), "the anchor ran before the first cut");
    let containers =
        names.iter().zip(10_001..).map(|(name, uid)| container(name, &image, uid, &words).entrypoint(&["/probe"]));
    let file = format!("{run_dir}.toml");
    fs::write(&file, Spec::new(containers).head("[store]\nverify = \"start\"").text()).unwrap();
    let output = ours(&["up", &file]).expect(0);
    assert_eq!(output.stdout.matches("find: worked").count(), names.len(), "{output:?}");
    whole::check(state);
    whole::knows_every_layer(state);
    for name in &names {
        whole::logs(&state.join("logs").join(name));
    }
    let left = fs::read_dir(state.join("layers/tmp")).unwrap().count();
    assert_eq!(left, 0, "half layers are left");
    until("the disk to be free", || (sh(&format!("umount {state_dir}")).code == 0).then_some(()));
}
