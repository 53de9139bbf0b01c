//! Read-only image stores (`store.preload`): used in place, without unpack, copy or network, and never written.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::units::Units;
use casemate_e2e::{Container, Feature, Instance, Mode, Output, Spec, Up, both_modes, needs, oci, poll};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A layer with the probe, and one with a file of this text.
fn layers(casemate: &Instance, text: &str) -> [Vec<u8>; 2] {
    let rootfs = casemate.rootfs_with_probe(&format!("rootfs-{text}"));
    let more = casemate.scratch(&format!("more-{text}"));
    fs::write(more.join("more"), text).unwrap();
    [oci::layer_of(&rootfs), oci::layer_of(&more)]
}

/// A copy of another instance's state directory, as a builder of an operating system's image makes it, and the image in it.
fn copied_store(casemate: &Instance) -> (PathBuf, String) {
    let maker = Instance::new(casemate.mode());
    let config = json!({ "Entrypoint": ["/probe"] });
    let image = maker.import_layers("a", &layers(&maker, "a"), &config);
    let preloaded = casemate.directory().join("preloaded");
    assert!(Command::new("cp").arg("-a").arg(maker.state()).arg(&preloaded).status().unwrap().success());
    (preloaded, image)
}

fn spec(preloaded: &Path, image: &str) -> Spec {
    let head = format!("[store]\npreload = [\"{}\"]\nverify = \"start\"", preloaded.display());
    Spec::new([Container::new("a", image, 10_001).command(&["true"])]).head(&head)
}

/// `up` to its end with the store on a read-only mount.
fn up_read_only(casemate: &Instance, preloaded: &Path, spec: &Spec) -> Output {
    let file = casemate.write("casemate.toml", &casemate.text_of(spec));
    let inner = casemate.in_cgroup(&["up", &file]);
    let mut outer = Command::new("/usr/bin/unshare");
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" || exit 125; shift; exec \"$@\"";
    outer.args(["--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh"]).arg(preloaded);
    outer.arg(inner.get_program()).args(inner.get_args()).env_clear().current_dir("/");
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Up::start(outer).finish()
}

type Found = BTreeMap<PathBuf, (u32, u32, u64, i64, i64, u64)>;

/// Everything below a directory, with the metadata that shows a change.
fn everything(directory: &Path) -> Found {
    let mut found = Found::new();
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        let data = fs::symlink_metadata(&path).unwrap();
        if data.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let facts = (data.mode(), data.uid(), data.size(), data.ctime(), data.ctime_nsec(), data.ino());
        found.insert(path, facts);
    }
    found
}

fn count(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

/// The layers of an instance: whether each is a link.
fn links(casemate: &Instance) -> Vec<bool> {
    let layers = fs::read_dir(casemate.state().join("layers/sha256")).unwrap();
    layers.map(|layer| layer.unwrap().file_type().unwrap().is_symlink()).collect()
}

fn more(preloaded: &Path) -> PathBuf {
    let layers = fs::read_dir(preloaded.join("layers/sha256")).unwrap().flatten();
    layers.map(|layer| layer.path().join("fs/more")).find(|file| file.exists()).unwrap()
}

both_modes! {
    fn threat_19_read_only_store_is_used_in_place_and_never_written(mode) {
        if !needs("threat_19_read_only_store_is_used_in_place_and_never_written", &[Feature::Root]) {
            return;
        }
        let casemate = Instance::new(mode);
        let (preloaded, image) = copied_store(&casemate);
        let before = everything(&preloaded);
        let output = up_read_only(&casemate, &preloaded, &spec(&preloaded, &image)).expect(0);
        assert!(!output.stderr.contains("unpack"), "{output:?}");
        let state = casemate.state();
        // Nothing was copied: there are links, and they are the helper's own.
        assert_eq!(links(&casemate), [true, true]);
        assert_eq!((count(&state.join("blobs/sha256")), count(&state.join("images/trees"))), (0, 0));
        assert_eq!(count(&state.join("images")), 1);
        let owner = fs::metadata(state.join("layers")).unwrap().uid();
        for link in fs::read_dir(state.join("layers/sha256")).unwrap() {
            assert_eq!(fs::symlink_metadata(link.unwrap().path()).unwrap().uid(), owner);
        }
        // The verbs that take no file know of it by the one that was applied.
        let reported = |words: &[&str]| {
            let output = casemate.run(words).expect(0).stdout;
            assert!(output.contains("read-only"), "{words:?}: {output}");
        };
        reported(&["image", "ls"]);
        reported(&["store", "df"]);
        reported(&["store", "df", "-v"]);
        reported(&["store", "fsck"]);
        let df: Value = serde_json::from_str(&casemate.run(&["store", "df", "--json"]).expect(0).stdout).unwrap();
        assert_eq!((&df["layers"], &df["blobs"], &df["preloaded"][0]["images"]), (&json!([]), &json!([]), &json!(1)), "{df}");
        let ls: Value = serde_json::from_str(&casemate.run(&["image", "ls", "--json"]).expect(0).stdout).unwrap();
        assert_eq!(ls[0]["preloaded"], json!(preloaded), "{ls}");
        casemate.run(&["image", "inspect", "a"]).expect(0);
        casemate.run(&["image", "history", "a"]).expect(0);
        // And leave it alone.
        for words in [&["image", "pin", "a"][..], &["image", "unpin", "a"]] {
            let error = casemate.run(words).expect(1).stderr;
            assert!(error.contains("only read"), "{error}");
        }
        casemate.run(&["image", "rm", "a"]).expect(1);
        let other = "[store]\npreload = [\"PRELOADED\"]".replace("PRELOADED", preloaded.to_str().unwrap());
        let other_image = casemate.import_layers("b", &layers(&casemate, "b"), &json!({ "Entrypoint": ["/probe"] }));
        let other = Spec::new([Container::new("a", &other_image, 10_001).command(&["true"])]).head(&other);
        for _ in 0..3 {
            // Two files that do not name it: no kept one does.
            casemate.up_to_the_end(&other.clone().appliance("# another text")).expect(0);
            casemate.up_to_the_end(&other).expect(0);
        }
        let error = casemate.run(&["image", "rm", "a"]).expect(1).stderr;
        assert!(error.contains("only read"), "{error}");
        casemate.run(&["store", "gc", "--min-age", "0"]).expect(0);
        casemate.run(&["store", "fsck", "--repair"]).expect(0);
        up_read_only(&casemate, &preloaded, &spec(&preloaded, &image)).expect(0);
        assert_eq!(everything(&preloaded), before);
    }

    fn threat_19_changed_layer_of_a_read_only_store_is_not_started(mode) {
        let casemate = Instance::new(mode);
        let (preloaded, image) = copied_store(&casemate);
        casemate.up_to_the_end(&spec(&preloaded, &image)).expect(0);
        let more = more(&preloaded);
        let time = fs::metadata(&more).unwrap().modified().unwrap();
        fs::write(&more, "b").unwrap();
        fs::File::options().write(true).open(&more).unwrap().set_modified(time).unwrap();
        let changed = everything(&preloaded);
        let output = casemate.up_to_the_end(&spec(&preloaded, &image)).expect(4);
        assert!(output.stderr.contains("/more: content"), "{output:?}");
        let found = casemate.run(&["store", "fsck"]).expect(4).stdout;
        assert!(found.contains("/more: content"), "{found}");
        // What is repaired is the own store, from the good blob of the other one.
        casemate.run(&["store", "fsck", "--repair"]).expect(0);
        assert_eq!(links(&casemate).iter().filter(|link| **link).count(), 1);
        casemate.up_to_the_end(&spec(&preloaded, &image)).expect(0);
        casemate.run(&["store", "fsck"]).expect(0);
        // A damaged blob is reported, and not repaired.
        let blob = image.split_once("@sha256:").unwrap().1;
        let blob = preloaded.join("blobs/sha256").join(blob);
        assert_eq!(everything(&preloaded), changed);
        let mut bytes = fs::read(&blob).unwrap();
        bytes[5] ^= 1;
        fs::write(&blob, &bytes).unwrap();
        for words in [&["store", "fsck"][..], &["store", "fsck", "--repair"]] {
            let found = casemate.run(words).expect(4).stdout;
            assert!(found.contains(preloaded.to_str().unwrap()) && found.contains("read-only store"), "{found}");
        }
        assert_eq!(fs::read(&blob).unwrap(), bytes);
        casemate.up_to_the_end(&spec(&preloaded, &image)).expect(4);
    }

    fn threat_19_read_only_store_that_others_can_write_is_refused(mode) {
        let casemate = Instance::new(mode);
        let (preloaded, image) = copied_store(&casemate);
        let refused = |words: &str| {
            let output = casemate.up_to_the_end(&spec(&preloaded, &image)).expect(1);
            assert!(output.stderr.contains(words) && output.stderr.contains(preloaded.to_str().unwrap()), "{output:?}");
        };
        for part in ["", "blobs", "images", "layers"] {
            let part = preloaded.join(part);
            let before = fs::metadata(&part).unwrap().permissions();
            fs::set_permissions(&part, fs::Permissions::from_mode(before.mode() | 0o022)).unwrap();
            refused("writable by other users");
            fs::set_permissions(&part, before).unwrap();
        }
        if mode == Mode::Root {
            let owner = fs::metadata(preloaded.join("blobs")).unwrap().uid();
            chown(&preloaded, Some(owner), None).unwrap();
            refused("who could replace it");
            chown(&preloaded, Some(0), None).unwrap();
            chown(preloaded.join("layers"), Some(owner), None).unwrap();
            refused("not by user");
            let helper = fs::metadata(preloaded.join("volumes")).unwrap().uid();
            chown(preloaded.join("layers"), Some(helper), None).unwrap();
        }
        casemate.up_to_the_end(&spec(&preloaded, &image)).expect(0);
        fs::rename(&preloaded, preloaded.with_file_name("gone")).unwrap();
        refused("No such file");
        // A verb that has to work for a way out says so and goes on.
        let reported = casemate.run(&["image", "ls"]).expect(0).stderr;
        assert!(reported.contains("read-only store left out"), "{reported}");
        casemate.up_to_the_end(&Spec::new([Container::new("a", &image, 10_001)])).expect(4);
        assert!(links(&casemate).is_empty());
    }

    fn layers_of_a_read_only_store_are_not_unpacked_again(mode) {
        let casemate = Instance::new(mode);
        let (preloaded, image) = copied_store(&casemate);
        // No registry of this name is asked.
        let file = casemate.write("pull.toml", &casemate.text_of(&spec(&preloaded, &image)));
        let pulled = casemate.run(&["pull", &file]).expect(0).stdout;
        assert!(pulled.contains("already in the store"), "{pulled}");
        casemate.up_to_the_end(&spec(&preloaded, &image)).expect(0);
        let [_, more] = layers(&casemate, "b");
        // The base as it lies there, byte for byte: a layer's digest is that of its archive.
        let base = casemate.run(&["image", "inspect", "a", "--json"]).expect(0).stdout;
        let base: Value = serde_json::from_str(&base).unwrap();
        let base = base["layers"][0]["blob"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let base = fs::read(preloaded.join("blobs/sha256").join(base)).unwrap();
        let own = casemate.import_layers("b", &[base, more], &json!({ "Entrypoint": ["/probe"] }));
        assert_eq!(links(&casemate).iter().filter(|link| **link).count(), 2);
        assert_eq!(links(&casemate).len(), 3);
        let both = [Container::new("a", &image, 10_001), Container::new("b", &own, 10_002)];
        let head = format!("[store]\npreload = [\"{}\"]", preloaded.display());
        casemate.up_to_the_end(&Spec::new(both.map(|container| container.command(&["true"]))).head(&head)).expect(0);
        for _ in 0..2 {
            casemate.up_to_the_end(&spec(&preloaded, &image)).expect(0);
            casemate.up_to_the_end(&spec(&preloaded, &image).appliance("# another text")).expect(0);
        }
        // No kept file names it any more, so it has gone by itself.
        casemate.run(&["image", "inspect", "b"]).expect(2);
        assert_eq!(links(&casemate), [true, true]);
        casemate.up_to_the_end(&spec(&preloaded, &image)).expect(0);
    }

    fn gc_keeps_read_only_layers_of_another_file(mode) {
        let casemate = Instance::new(mode);
        let (preloaded, image) = copied_store(&casemate);
        let own = casemate.import_layers("b", &layers(&casemate, "b"), &json!({ "Entrypoint": ["/probe"] }));
        let head = format!("[store]\npreload = [\"{}\"]", preloaded.display());
        let sleeper = Container::new("a", &image, 10_001).command(&["misbehave", "sleep"]);
        let mut up = casemate.up(&Spec::new([sleeper]).head(&head));
        up.until_line("sleeping");
        // For a moment no container uses the layers, and a garbage collection without the other store runs.
        casemate.run(&["stop", "a"]).expect(0);
        let other = Spec::new([Container::new("b", &own, 10_002).command(&["misbehave", "sleep"])]);
        let pulled = casemate.run(&["pull", &casemate.write("other.toml", &casemate.text_of(&other))]).expect(0).stdout;
        assert!(pulled.contains("already in the store"), "{pulled}");
        assert_eq!(links(&casemate).iter().filter(|link| **link).count(), 2);
        casemate.run(&["start", "a"]).expect(0);
        up.signal(Signal::INT);
        up.wait(poll::PATIENCE);
        // A helper without the read-only store: the image is unpacked from the blobs of that store, and nothing is downloaded.
        let mut up = casemate.up(&other);
        up.until_line("sleeping");
        assert_eq!(links(&casemate), [false, false]);
        let blobs = count(&casemate.state().join("blobs/sha256"));
        let file = casemate.write("preloaded.toml", &casemate.text_of(&spec(&preloaded, &image)));
        let pulled = casemate.run(&["pull", &file]).expect(0).stdout;
        assert!(pulled.contains("already in the store"), "{pulled}");
        assert_eq!((links(&casemate), count(&casemate.state().join("blobs/sha256"))), (vec![false; 4], blobs));
        assert_eq!(casemate.run(&["pull", &file]).expect(0).stdout, pulled);
        up.signal(Signal::INT);
        up.wait(poll::PATIENCE);
        casemate.up_to_the_end(&spec(&preloaded, &image)).expect(0);
    }

    fn damaged_document_of_a_read_only_store_affects_its_image_only(mode) {
        let casemate = Instance::new(mode);
        let (preloaded, _) = copied_store(&casemate);
        let own = casemate.import_layers("b", &layers(&casemate, "b"), &json!({ "Entrypoint": ["/probe"] }));
        let head = format!("[store]\npreload = [\"{}\"]\nverify = \"start\"", preloaded.display());
        let spec = Spec::new([Container::new("b", &own, 10_001).command(&["true"])]).head(&head);
        casemate.up_to_the_end(&spec).expect(0);
        for directory in ["images", "images/trees"] {
            for document in fs::read_dir(preloaded.join(directory)).unwrap().map(|entry| entry.unwrap().path()) {
                if document.is_file() {
                    let mut bytes = fs::read(&document).unwrap();
                    bytes[0] ^= 1;
                    fs::write(&document, bytes).unwrap();
                }
            }
            casemate.up_to_the_end(&spec).expect(0);
            casemate.run(&["pull", &casemate.write("pull.toml", &casemate.text_of(&spec))]).expect(0);
            for words in [&["store", "df"][..], &["store", "gc"], &["image", "ls"]] {
                casemate.run(words).expect(0);
            }
            casemate.import_layers("c", &layers(&casemate, directory), &json!({ "Entrypoint": ["/probe"] }));
            for words in [&["store", "fsck"][..], &["store", "fsck", "--repair"]] {
                let found = casemate.run(words).expect(4).stdout;
                assert!(found.contains(&format!("of {}, which is only read", preloaded.display())), "{found}");
            }
        }
    }

    fn inventory_of_a_read_only_store_is_not_used_for_own_layers(mode) {
        let casemate = Instance::new(mode);
        let (preloaded, image) = copied_store(&casemate);
        // The same layers here, of which nothing is known: as a power cut leaves them.
        let state = casemate.state();
        assert!(Command::new("cp").arg("-a").arg(&preloaded).arg(&state).status().unwrap().success());
        for known in fs::read_dir(state.join("images/trees")).unwrap() {
            fs::remove_file(known.unwrap().path()).unwrap();
        }
        fs::write(more(&state), "").unwrap();
        casemate.up_to_the_end(&spec(&preloaded, &image)).expect(0);
        assert_eq!((count(&state.join("images/trees")), links(&casemate)), (2, vec![false, false]));
        assert_eq!(fs::read_to_string(more(&state)).unwrap(), "a");
    }

    fn start_from_a_read_only_store_unpacks_and_downloads_nothing(mode) {
        let name = "start_from_a_read_only_store_unpacks_and_downloads_nothing";
        if !needs(name, &[Feature::Program("/usr/bin/strace")]) {
            return;
        }
        let casemate = Instance::without_cgroup(mode);
        let (preloaded, image) = copied_store(&casemate);
        let head = format!("[store]\npreload = [\"{}\"]", preloaded.display());
        let spec = Spec::new([Container::new("a", &image, 10_001).command(&["true"])]).head(&head);
        assert!(!casemate.state().exists());
        let trace = casemate.trace_up(&spec, "%network,execve,execveat");
        assert_eq!(links(&casemate), [true, true]);
        assert!(trace.contains("casemate-helper") && trace.contains("AF_UNIX"), "{trace}");
        let connects = |line: &&str| line.contains("AF_INET") && !line.contains("socket(");
        assert_eq!(trace.lines().find(connects), None, "{trace}");
        for program in ["[\"casemate-unpack\"", "casemate-fetch"] {
            assert!(!trace.contains(program), "{program}: {trace}");
        }
    }
}

#[test]
fn helper_service_gets_the_read_only_stores_of_its_file() {
    if !needs("helper_service_gets_the_read_only_stores_of_its_file", &[Feature::Root]) {
        return;
    }
    let casemate = Instance::new(Mode::Root);
    let (preloaded, image) = copied_store(&casemate);
    let units = Units::new(&casemate);
    let sleeper = Container::new("a", &image, 10_001).command(&["misbehave", "sleep"]);
    let head = format!("[store]\npreload = [\"{}\"]\nverify = \"start\"", preloaded.display());
    let text = Spec::new([sleeper.clone()]).head(&head).without_limits().text();
    let file = casemate.write("casemate.toml", &text);
    // No file yet is none that names a store; what is wrong with one is for the manager to say.
    units.lend("/nonexistent").finish().expect(0);
    units.lend(&casemate.write("wrong.toml", "schema = 7\n[[[")).finish().expect(0);
    assert!(links(&casemate).is_empty());
    fs::set_permissions(&preloaded, fs::Permissions::from_mode(0o733)).unwrap();
    let refused = units.lend(&file).finish().expect(1);
    assert!(refused.stderr.contains("writable by other users") && links(&casemate).is_empty(), "{refused:?}");
    fs::set_permissions(&preloaded, fs::Permissions::from_mode(0o711)).unwrap();
    units.lend(&file).finish().expect(0);
    assert_eq!(links(&casemate), [true, true]);
    let mut helper = units.helper();
    units.until_helper_says("READY=1");
    let manager = units.manager(&["supervise", &file]);
    units.until_manager_says("READY=1");
    assert_eq!((links(&casemate), count(&casemate.state().join("blobs/sha256"))), (vec![true, true], 0));
    // A manager that has shut itself in opens no other store.
    let other = casemate.scratch("other");
    casemate.write("casemate.toml", &text.replace(preloaded.to_str().unwrap(), other.to_str().unwrap()));
    let refused = casemate.run(&["reload"]).expect(1).stderr;
    assert!(refused.contains("store.preload") && refused.contains("restart"), "{refused}");
    casemate.write("casemate.toml", &text);
    casemate.run(&["reload"]).expect(0);
    units.manager(&["supervise", "--stop", &file]).finish().expect(0);
    manager.finish().expect(0);
    // Of two stores, only the one that passes its check is used.
    let second = format!("\"{}\", \"{}\"", other.display(), preloaded.display());
    let both = text.replace(&format!("\"{}\"", preloaded.display()), &second);
    units.lend("/nonexistent").finish().expect(0);
    assert!(links(&casemate).is_empty());
    let refused = units.lend(&casemate.write("both.toml", &both)).finish().expect(1);
    assert!(refused.stderr.contains(other.to_str().unwrap()), "{refused:?}");
    assert_eq!(links(&casemate), [true, true]);
    // Without the layers a start does not fail: it unpacks from the same store.
    helper.signal(Signal::TERM);
    helper.wait(poll::PATIENCE).expect(0);
    for link in fs::read_dir(casemate.state().join("layers/sha256")).unwrap().map(|link| link.unwrap().path()) {
        fs::remove_file(&link).unwrap();
        symlink("/nonexistent", link).unwrap();
    }
    units.forget();
    let mut helper = units.helper();
    units.until_helper_says("READY=1");
    let manager = units.manager(&["supervise", &file]);
    units.until_manager_says("READY=1");
    assert_eq!(links(&casemate), [false, false]);
    units.manager(&["supervise", "--stop", &file]).finish().expect(0);
    manager.finish().expect(0);
    helper.signal(Signal::TERM);
    helper.wait(poll::PATIENCE).expect(0);
    poll::until("the end of A", || casemate.helpers().is_empty().then_some(()));
}
