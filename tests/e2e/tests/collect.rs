//! Collection: what is needed stays whatever happens, what is not goes, and a moment that is interrupted leaves whole images.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::{Container, Instance, Moments, Spec, Up, both_modes, oci, poll};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An image on a layer that all of these share.
fn image(casemate: &Instance, base: &[u8], name: &str) -> String {
    let more = casemate.scratch(&format!("more-{name}"));
    fs::write(more.join("more"), name.repeat(5000)).unwrap();
    casemate.import_layers(name, &[base.to_vec(), oci::layer_of(&more)], &json!({ "Entrypoint": ["/probe"] }))
}

fn base(casemate: &Instance) -> Vec<u8> {
    oci::layer_of(&casemate.rootfs_with_probe("rootfs"))
}

fn gc(casemate: &Instance, more: &[&str]) -> Value {
    let words = [&["store", "gc", "--json", "--min-age", "0"], more].concat();
    serde_json::from_str(&casemate.run(&words).expect(0).stdout).unwrap()
}

fn removed(report: &Value) -> Vec<&str> {
    report["removed"].as_array().unwrap().iter().map(|image| image.as_str().unwrap()).collect()
}

fn kept(casemate: &Instance) -> BTreeSet<PathBuf> {
    let directories = ["blobs/sha256", "images", "images/trees", "layers/sha256", "layers/tmp"];
    let list = |name| fs::read_dir(casemate.state().join(name)).into_iter().flatten().flatten();
    directories.into_iter().flat_map(list).map(|entry| entry.path()).collect()
}

/// A file with this image that keeps so many.
fn keeping(image: &str, keep: u32) -> Spec {
    let container = Container::new("a", image, 10_001).command(&["true"]);
    Spec::new([container]).head(&format!("[store]\nkeep = {keep}"))
}

/// As if the image had come then.
fn set_imported(casemate: &Instance, image: &str, time: u64) {
    let pin = image.split_once("@sha256:").unwrap().1;
    let record = casemate.state().join("images").join(format!("{pin}.json"));
    let mut document: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    document["imported"] = json!(time);
    fs::write(&record, document.to_string()).unwrap();
}

/// Whatever is left has all of its blobs; layers may have to be unpacked again.
fn expect_whole(casemate: &Instance) {
    let report = casemate.run(&["store", "fsck", "--json"]).stdout;
    let report: Value = serde_json::from_str(&report).unwrap();
    for finding in report["findings"].as_array().unwrap() {
        let layer = finding["object"].as_str().unwrap().starts_with("layer ");
        assert!(finding["kind"] == "leftover" || (finding["kind"] == "missing" && layer), "{report}");
    }
}

both_modes! {
    fn gc_removes_only_unused_images(mode) {
        let casemate = Instance::new(mode);
        let base = base(&casemate);
        let [first, second, third, held, spare] = ["first", "second", "third", "held", "spare"].map(|name| image(&casemate, &base, name));
        let apply = |image: &str, keep: u32| casemate.up_to_the_end(&keeping(image, keep)).expect(0);
        casemate.run(&["image", "pin", "held"]).expect(0);
        apply(&first, 3);
        apply(&second, 3);
        apply(&third, 3);
        // Just imported: no file may name them yet.
        assert!(casemate.run(&["store", "gc"]).expect(0).stdout.starts_with("freed 0 B"));
        let before = kept(&casemate);
        let reported = gc(&casemate, &["--dry-run"]);
        assert_eq!(removed(&reported), [spare.as_str()], "{reported}");
        assert_eq!(kept(&casemate), before);
        // What a pull has not finished goes with it, and repair leaves it for the next pull.
        let half = casemate.state().join("blobs/partial").join("0".repeat(64));
        fs::write(&half, "half").unwrap();
        assert!(casemate.run(&["store", "df"]).expect(0).stdout.contains("unfinished"));
        assert!(casemate.run(&["store", "fsck", "--repair"]).expect(0).stdout.contains("of a pull"));
        assert!(half.exists());
        let reported = gc(&casemate, &[]);
        assert!(!half.exists());
        assert_eq!(removed(&reported), [spare.as_str()], "{reported}");
        assert!(reported["bytes"].as_u64().unwrap() > 20_000, "{reported}");
        casemate.run(&["store", "fsck"]).expect(0);
        // A file that keeps one before it lets the first go, and an image that is not held any more goes with it.
        apply(&second, 2);
        casemate.run(&["image", "inspect", "first"]).expect(2);
        casemate.run(&["image", "unpin", "held"]).expect(0);
        let reported = gc(&casemate, &[]);
        assert_eq!(removed(&reported), [held.as_str()], "{reported}");
        apply(&third, 2);
        casemate.run(&["store", "fsck"]).expect(0);
    }

    fn images_of_dropped_revisions_are_removed_automatically(mode) {
        let casemate = Instance::new(mode);
        let base = base(&casemate);
        let names = ["first", "second", "third", "held", "spare"];
        let images = names.map(|name| image(&casemate, &base, name));
        let of = |name: &str| &images[names.iter().position(|known| *known == name).unwrap()];
        let apply = |name: &str| casemate.up_to_the_end(&keeping(of(name), 1)).expect(0).stderr;
        let left = || -> Vec<&str> {
            names.into_iter().filter(|name| casemate.run(&["image", "inspect", name]).code == 0).collect()
        };
        casemate.run(&["image", "pin", "held"]).expect(0);
        // What a pull has not finished is none of its business.
        let half = casemate.state().join("blobs/partial").join("0".repeat(64));
        let whole = casemate.state().join("blobs/sha256").join(oci::sha256(b"whole"));
        fs::write(&half, "half").unwrap();
        fs::write(&whole, "whole").unwrap();
        assert!(!apply("first").contains("collected"));
        let reported = apply("held");
        assert_eq!(reported.matches("collected").count(), 1, "{reported}");
        assert!(reported.contains(&format!("collected {}: no kept revision uses them; ", of("first"))), "{reported}");
        assert_eq!(left(), ["second", "third", "held", "spare"]);
        assert!(half.exists() && whole.exists());
        casemate.run(&["store", "fsck"]).expect(0);
        // The image is pinned.
        assert!(!apply("second").contains("collected"));
        assert_eq!(left(), ["second", "third", "held", "spare"]);
        // A start is in progress, so the next one collects.
        let using = fs::File::open(casemate.state().join("images/trees")).unwrap();
        rustix::fs::flock(&using, rustix::fs::FlockOperation::LockShared).unwrap();
        let reported = apply("third");
        assert!(reported.contains("the store is locked by another process"), "{reported}");
        drop(using);
        // It has come again since it was dropped, and not long ago.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        set_imported(&casemate, of("second"), now + 1);
        let reported = apply("third");
        assert!(!reported.contains("collected"), "{reported}");
        assert_eq!(left(), ["second", "third", "held", "spare"]);
        set_imported(&casemate, of("second"), 1_000_000_000);
        assert!(apply("third").contains(of("second")));
        assert_eq!(left(), ["third", "held", "spare"]);
        assert!(!apply("third").contains("collected"));
        casemate.run(&["store", "fsck"]).expect(0);
    }

    fn gc_of_a_killed_manager_leaves_whole_images(mode) {
        let casemate = Instance::new(mode);
        let base = base(&casemate);
        let [needed, spare] = ["needed", "spare"].map(|name| image(&casemate, &base, name));
        casemate.run(&["image", "pin", "needed"]).expect(0);
        casemate.up_to_the_end(&keeping(&needed, 1)).expect(0);
        let alone = kept(&casemate);
        let file = casemate.write("needed.toml", &casemate.text_of(&keeping(&needed, 1)));
        let mut moments = Moments::new(8, Duration::from_millis(200));
        while let Some(moment) = moments.take() {
            let former = image(&casemate, &base, "former");
            casemate.up_to_the_end(&keeping(&former, 1)).expect(0);
            moments.kill(moment, &casemate, Up::start(casemate.in_cgroup(&["up", &file])));
            expect_whole(&casemate);
            casemate.run(&["image", "inspect", &spare]).expect(0);
        }
        casemate.up_to_the_end(&keeping(&needed, 1)).expect(0);
        casemate.run(&["image", "inspect", "former"]).expect(2);
        casemate.run(&["store", "gc"]).expect(0);
        assert_eq!(kept(&casemate), alone);
    }

    fn gc_keeps_an_image_that_was_just_pulled(mode) {
        let casemate = Instance::new(mode);
        let image = image(&casemate, &base(&casemate), "a");
        let spec = Spec::new([Container::new("a", &image, 10_001).command(&["true"])]);
        let file = casemate.write("new.toml", &casemate.text_of(&spec));
        set_imported(&casemate, &image, 1_000_000_000);
        assert!(casemate.run(&["pull", &file]).expect(0).stdout.contains("already in the store"));
        casemate.run(&["store", "gc"]).expect(0);
        casemate.up_to_the_end(&spec).expect(0);
    }

    fn gc_keeps_images_of_running_containers(mode) {
        let casemate = Instance::new(mode);
        let base = base(&casemate);
        let image = image(&casemate, &base, "a");
        let mut up = casemate.up(&Spec::new([Container::new("a", &image, 10_001).command(&["misbehave", "sleep"])]));
        up.until_line("sleeping");
        // As if its file had been taken back long ago.
        for file in fs::read_dir(casemate.state().join("revisions")).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        let before = kept(&casemate);
        let reported = gc(&casemate, &[]);
        assert_eq!(reported["in_use"], json!([image]), "{reported}");
        assert_eq!(kept(&casemate), before);
        up.signal(Signal::INT);
        up.wait(poll::PATIENCE);
        assert_eq!(removed(&gc(&casemate, &[])), [image.as_str()]);
        assert_eq!(kept(&casemate).iter().filter(|path| !path.ends_with("images/trees")).count(), 0);
    }

    fn gc_waits_for_a_start_in_progress(mode) {
        let casemate = Instance::new(mode);
        let base = base(&casemate);
        let image = image(&casemate, &base, "a");
        // As `up` does between looking for its images and applying its file.
        let using = fs::File::open(casemate.state().join("images/trees")).unwrap();
        rustix::fs::flock(&using, rustix::fs::FlockOperation::LockShared).unwrap();
        let mut gc = Up::start(casemate.in_cgroup(&["store", "gc", "--min-age", "0"]));
        poll::until("its word that it waits", || gc.stderr().contains("waiting").then_some(()));
        casemate.run(&["image", "inspect", "a"]).expect(0);
        let container = Container::new("b", &image, 10_001).command(&["true"]);
        casemate.up_to_the_end(&Spec::new([container])).expect(0);
        drop(using);
        gc.wait(poll::PATIENCE).expect(0);
        // Its file was applied in between.
        casemate.run(&["image", "inspect", "a"]).expect(0);
    }

    fn gc_killed_at_any_moment_leaves_whole_images(mode) {
        let casemate = Instance::new(mode);
        let base = base(&casemate);
        let needed = image(&casemate, &base, "needed");
        let spec = Spec::new([Container::new("a", &needed, 10_001).command(&["true"])]);
        casemate.up_to_the_end(&spec).expect(0);
        let alone = kept(&casemate);
        let mut moments = Moments::new(8, Duration::from_millis(100));
        while let Some(moment) = moments.take() {
            for name in ["x", "y"] {
                image(&casemate, &base, name);
            }
            moments.kill(moment, &casemate, Up::start(casemate.command(&["store", "gc", "--min-age", "0"])));
            expect_whole(&casemate);
            if moment.round % 4 == 0 {
                casemate.up_to_the_end(&spec).expect(0);
            }
        }
        gc(&casemate, &[]);
        assert_eq!(kept(&casemate), alone);
        casemate.up_to_the_end(&spec).expect(0);
    }
}
