//! Bundles: a file and its images go to another machine as one archive, with the digests they had, all of them or none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::{Container, Feature, Instance, Moments, Spec, Up, both_modes, needs, oci, place};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Two images that share a layer, and a profile of its own for the second container.
fn appliance(casemate: &Instance) -> String {
    let base = oci::layer_of(&casemate.rootfs_with_probe("rootfs"));
    let image = |name: &str| {
        let more = casemate.scratch(&format!("more-{name}"));
        fs::write(more.join("more"), name.repeat(100_000)).unwrap();
        casemate.import_layers(name, &[base.clone(), oci::layer_of(&more)], &json!({ "Entrypoint": ["/probe"] }))
    };
    let profile = fs::read(place::repository().join("policies/seccomp/service.toml")).unwrap();
    fs::write(casemate.directory().join("own.seccomp.toml"), &profile).unwrap();
    fs::set_permissions(casemate.directory().join("own.seccomp.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    let seccomp = format!("{{ profile = \"own.seccomp.toml\", sha256 = \"{}\" }}", oci::sha256(&profile));
    let spec = Spec::new([
        Container::new("a", &image("one"), 10_001).command(&["true"]),
        Container::new("b", &image("two"), 10_002)
            .command(&["true"])
            .set("security", &format!("{{ seccomp = {seccomp} }}")),
    ]);
    casemate.write("casemate.toml", &casemate.text_of(&spec))
}

/// What a changed bundle is called, what is changed, and the exit code of its load.
type Change<'a> = (&'a str, &'a dyn Fn(&Path), i32);

fn save(casemate: &Instance, file: &str, name: &str) -> PathBuf {
    let archive = casemate.directory().join(name);
    casemate.run(&["bundle", "save", file, "-o", archive.to_str().unwrap()]).expect(0);
    fs::set_permissions(&archive, fs::Permissions::from_mode(0o644)).unwrap();
    archive
}

fn kept(casemate: &Instance) -> BTreeSet<PathBuf> {
    let directories = ["blobs/sha256", "images", "images/trees", "layers/sha256", "layers/tmp"];
    let list = |name| fs::read_dir(casemate.state().join(name)).into_iter().flatten().flatten();
    let all = directories.into_iter().flat_map(list).map(|entry| entry.path());
    all.filter(|path| !path.ends_with("images/trees")).collect()
}

fn pins(casemate: &Instance) -> BTreeSet<String> {
    let images: Value = serde_json::from_str(&casemate.run(&["image", "ls", "--json"]).expect(0).stdout).unwrap();
    images.as_array().unwrap().iter().map(|image| image["pin"].as_str().unwrap().to_owned()).collect()
}

fn tool(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap();
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Unpacks a bundle, has it changed, and packs it again.
fn changed(casemate: &Instance, archive: &Path, name: &str, change: impl FnOnce(&Path)) -> PathBuf {
    let tree = casemate.scratch(&format!("tree-{name}"));
    tool("tar", &["-xf", archive.to_str().unwrap(), "-C", tree.to_str().unwrap()]);
    change(&tree);
    let changed = casemate.directory().join(format!("{name}.tar"));
    tool("tar", &["-cf", changed.to_str().unwrap(), "-C", tree.to_str().unwrap(), "--transform=s,^\\./,,", "."]);
    changed
}

both_modes! {
    fn bundle_carries_a_file_and_its_images_unchanged(mode) {
        let here = Instance::new(mode);
        let there = Instance::new(mode);
        let file = appliance(&here);
        let archive = save(&here, &file, "a.tar");
        assert_eq!(fs::read(&archive).unwrap(), fs::read(save(&here, &file, "b.tar")).unwrap());
        let output = there.directory().join("casemate.toml");
        let words = ["bundle", "load", archive.to_str().unwrap(), "-o", output.to_str().unwrap()];
        there.run(&words).expect(0);
        assert_eq!(fs::read(&output).unwrap(), fs::read(&file).unwrap());
        assert_eq!(pins(&there), pins(&here));
        fs::copy(here.directory().join("own.seccomp.toml"), there.directory().join("own.seccomp.toml")).unwrap();
        Up::start(there.in_cgroup(&["up", output.to_str().unwrap()])).finish().expect(0);
        // Nothing is written over, and without -o only the images come in.
        assert!(there.run(&words).expect(2).stderr.contains("exists"));
        let reported = there.run(&["bundle", "load", archive.to_str().unwrap()]).expect(0).stdout;
        assert_eq!(reported.lines().count(), 2, "{reported}");
        let profile = tool("tar", &["-xOf", archive.to_str().unwrap(), "casemate/own.seccomp.toml"]);
        assert_eq!(profile.as_bytes(), fs::read(here.directory().join("own.seccomp.toml")).unwrap());
    }

    fn load_of_an_incomplete_bundle_fails_and_leaves_nothing(mode) {
        let here = Instance::new(mode);
        let there = Instance::new(mode);
        let file = appliance(&here);
        let archive = save(&here, &file, "a.tar");
        there.run(&["image", "ls"]).expect(0);
        let before = kept(&there);
        let blobs = |tree: &Path| fs::read_dir(tree.join("blobs/sha256")).unwrap().map(|blob| blob.unwrap().path());
        let index = |tree: &Path, change: &dyn Fn(&mut Value)| {
            let mut index: Value = serde_json::from_slice(&fs::read(tree.join("index.json")).unwrap()).unwrap();
            change(&mut index);
            fs::write(tree.join("index.json"), index.to_string()).unwrap();
        };
        let edit = |tree: &Path, from: &str, to: &str| {
            let path = tree.join("casemate/casemate.toml");
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from));
            fs::write(path, text.replace(from, to)).unwrap();
        };
        let changes: [Change<'_>; 7] = [
            ("blob-gone", &|tree| fs::remove_file(blobs(tree).max().unwrap()).unwrap(), 4),
            ("blob-changed", &|tree| {
                let blob = blobs(tree).min().unwrap();
                let mut bytes = fs::read(&blob).unwrap();
                bytes[0] ^= 1;
                fs::write(blob, bytes).unwrap();
            }, 4),
            ("image-gone", &|tree| index(tree, &|index| { index["manifests"].as_array_mut().unwrap().pop(); }), 4),
            ("no-file", &|tree| fs::remove_file(tree.join("casemate/casemate.toml")).unwrap(), 4),
            ("no-profile", &|tree| fs::remove_file(tree.join("casemate/own.seccomp.toml")).unwrap(), 4),
            ("other-profile", &|tree| fs::write(tree.join("casemate/own.seccomp.toml"), "schema = 1\n").unwrap(), 4),
            ("bad-file", &|tree| edit(tree, "10001", "0"), 3),
        ];
        for (name, change, code) in changes {
            let archive = changed(&here, &archive, name, change);
            let output = there.directory().join(format!("{name}.toml"));
            let result = there.run(&["bundle", "load", archive.to_str().unwrap(), "-o", output.to_str().unwrap()]);
            assert_eq!(result.code, code, "{name}: {result:?}");
            assert_eq!(kept(&there), before, "{name}");
        }
        let files = fs::read_dir(there.directory()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(files.into_iter().all(|file| !file.to_str().unwrap().contains(".toml")), "a half file is left");
        // The same on the way out.
        let victim = fs::read_dir(here.state().join("blobs/sha256")).unwrap().next().unwrap().unwrap().path();
        let mut bytes = fs::read(&victim).unwrap();
        bytes[0] ^= 1;
        fs::write(&victim, bytes).unwrap();
        let output = here.directory().join("damaged.tar");
        here.run(&["bundle", "save", &file, "-o", output.to_str().unwrap()]).expect(4);
        assert!(!output.exists());
    }

    fn load_killed_at_any_moment_leaves_all_images_or_none(mode) {
        let here = Instance::new(mode);
        let there = Instance::new(mode);
        let archive = save(&here, &appliance(&here), "a.tar");
        let archive = archive.to_str().unwrap();
        let all = pins(&here);
        let mut moments = Moments::new(8, Duration::from_millis(100));
        while let Some(moment) = moments.take() {
            moments.kill(moment, &there, Up::start(there.command(&["bundle", "load", archive])));
            // Each image is whole or not there; the records come one after the other, at the end.
            for pin in pins(&there) {
                assert!(all.contains(&pin));
                there.run(&["image", "inspect", &pin]).expect(0);
            }
            for pin in pins(&there) {
                there.run(&["image", "rm", &pin]).expect(0);
            }
        }
        there.run(&["bundle", "load", archive]).expect(0);
        assert_eq!(pins(&there), all);
        there.run(&["store", "fsck"]).expect(0);
    }
}

#[test]
fn bundle_is_exchanged_with_skopeo_and_umoci() {
    let test = "bundle_is_exchanged_with_skopeo_and_umoci";
    if !needs(test, &[Feature::Program("/usr/bin/skopeo"), Feature::Program("/usr/bin/umoci")]) {
        return;
    }
    let here = Instance::new(casemate_e2e::Mode::User);
    let there = Instance::new(casemate_e2e::Mode::User);
    let file = appliance(&here);
    let archive = save(&here, &file, "a.tar");
    let work = here.scratch("work");
    let work = work.to_str().unwrap();
    // For an ordinary user skopeo unpacks no archive of root's entries, which ours has for the same bytes from everybody.
    let read = match rustix::process::getuid().is_root() {
        true => format!("oci-archive:{}", archive.display()),
        false => {
            let unpacked = here.scratch("unpacked");
            let unpacked = unpacked.to_str().unwrap();
            tool("tar", &["--no-same-owner", "-xf", archive.to_str().unwrap(), "-C", unpacked]);
            format!("oci:{unpacked}")
        }
    };
    for name in ["one", "two"] {
        let source = format!("{read}:localhost/{name}");
        let seen: Value = serde_json::from_str(&tool("skopeo", &["inspect", &source])).unwrap();
        assert!(pins(&here).contains(seen["Digest"].as_str().unwrap()), "{seen}");
        let copy = format!("oci:{work}/layout:{name}");
        tool("skopeo", &["--insecure-policy", "copy", "--quiet", "--preserve-digests", &source, &copy]);
        let rootless = if rustix::process::getuid().is_root() { &[][..] } else { &["--rootless"] };
        let from = format!("{work}/layout:{name}");
        let to = format!("{work}/{name}");
        let words = [&["unpack"], rootless, &["--image", &from, &to]].concat();
        tool("umoci", &words);
        let more = fs::read_to_string(format!("{work}/{name}/rootfs/more")).unwrap();
        assert!(more.starts_with(name), "{more}");
    }
    // What skopeo has made of it, with the file put back.
    fs::create_dir(format!("{work}/layout/casemate")).unwrap();
    fs::copy(&file, format!("{work}/layout/casemate/casemate.toml")).unwrap();
    let profile = here.directory().join("own.seccomp.toml");
    fs::copy(profile, format!("{work}/layout/casemate/own.seccomp.toml")).unwrap();
    let again = here.directory().join("again.tar");
    tool("tar", &["-cf", again.to_str().unwrap(), "-C", &format!("{work}/layout"), "."]);
    fs::set_permissions(&again, fs::Permissions::from_mode(0o644)).unwrap();
    there.run(&["bundle", "load", again.to_str().unwrap()]).expect(0);
    assert_eq!(pins(&there), pins(&here));
}
