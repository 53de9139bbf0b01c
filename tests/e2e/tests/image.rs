//! Images from outside: what other tools write comes in, what is damaged or too much does not, and nothing of it stays.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::{Container, Feature, Instance, Mode, Moments, Spec, Up, both_modes, needs, oci, place, poll};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Everything that an image has in the store.
fn kept(casemate: &Instance) -> BTreeSet<PathBuf> {
    let state = casemate.state();
    ["blobs/sha256", "images", "images/trees", "layers/sha256", "layers/tmp", "layers/stage"]
        .iter()
        .flat_map(|name| fs::read_dir(state.join(name)).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| !path.ends_with("images/trees"))
        .collect()
}

fn tool(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A small tree with what layers are made of.
fn tree(directory: &Path) {
    fs::create_dir_all(directory.join("usr/bin")).unwrap();
    fs::write(directory.join("usr/bin/tool"), vec![7; 300_000]).unwrap();
    fs::set_permissions(directory.join("usr/bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::hard_link(directory.join("usr/bin/tool"), directory.join("usr/bin/alias")).unwrap();
    symlink("usr/bin", directory.join("bin")).unwrap();
    let long = directory.join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("leaf"), "leaf").unwrap();
}

fn pins(output: &str) -> Vec<String> {
    output.lines().map(|line| line.split_once('@').unwrap().1.to_owned()).collect()
}

fn images(casemate: &Instance) -> Vec<Value> {
    let output = casemate.run(&["image", "ls", "--json"]).expect(0);
    serde_json::from_str::<Vec<Value>>(&output.stdout).unwrap()
}

/// Two layers, written by hand.
fn layout(casemate: &Instance) -> (PathBuf, String) {
    let first = casemate.scratch("first");
    tree(&first);
    let second = casemate.scratch("second");
    fs::write(second.join("more"), "more").unwrap();
    let layout = casemate.scratch("layout");
    let config = json!({ "Entrypoint": ["/usr/bin/tool"], "Env": ["A=b"] });
    let pin = oci::layout(&layout, &[oci::layer_of(&first), oci::layer_of(&second)], &config);
    (layout, pin)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

both_modes! {
    fn packed_image_is_listed_inspected_and_removed(mode) {
        let casemate = Instance::new(mode);
        let source = casemate.scratch("source");
        tree(&source);
        let words = ["image", "pack", text(&source), "--name", "a:1", "--entrypoint", "/usr/bin/tool"];
        let pin = pins(&casemate.run(&words).expect(0).stdout).remove(0);
        let table = casemate.run(&["image", "ls"]).expect(0).stdout;
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
        assert!(table.contains("localhost/a:1"), "{table}");
        let shown = casemate.run(&["image", "inspect", "a:1", "--json"]).expect(0).stdout;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["pin"], pin.as_str());
        assert_eq!(shown["defaults"]["entrypoint"], json!(["/usr/bin/tool"]));
        assert!(shown["layers"][0]["unpacked"]["entries"].as_u64().unwrap() >= 8, "{shown}");
        assert!(casemate.run(&["image", "rm", "b"]).expect(2).stderr.contains("no image"));
        casemate.run(&["image", "rm", &pin]).expect(0);
        assert_eq!(kept(&casemate), BTreeSet::new());
    }

    fn image_rm_refuses_an_image_of_an_applied_file(mode) {
        let casemate = Instance::new(mode);
        let (layout, pin) = layout(&casemate);
        casemate.run(&["image", "import", text(&layout)]).expect(0);
        let before = kept(&casemate);
        let revision = casemate.state().join("revisions/1.toml");
        fs::write(&revision, format!("image = \"localhost/a@{pin}\"\n")).unwrap();
        fs::set_permissions(&revision, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(casemate.run(&["image", "rm", &pin]).expect(1).stderr.contains("in use"));
        assert_eq!(kept(&casemate), before);
        fs::remove_file(revision).unwrap();
        casemate.run(&["image", "rm", &pin]).expect(0);
    }

    fn image_pack_refuses_options_that_could_never_run(mode) {
        let casemate = Instance::new(mode);
        let script = casemate.write("script", "#!/bin/sh\n");
        let dynamic = if Path::new("/usr/bin/setpriv").exists() { "/usr/bin/setpriv" } else { "/bin/ls" };
        for (arguments, word) in [
            (&["--binary", &script][..], "ELF"),
            (&["--binary", dynamic], "dynamically"),
            (&["--binary", "/dev/null"], "ELF"),
        ] {
            let output = casemate.run(&[&["image", "pack"], arguments].concat()).expect(2);
            assert!(output.stderr.contains(word), "{output:?}");
        }
        let probe = place::program("casemate-probe");
        for user in ["root", "0", "1:0", "1:2:3", "", "01", "65535"] {
            casemate.run(&["image", "pack", "--user", user, "--binary", probe.to_str().unwrap()]).expect(2);
        }
        casemate.run(&["image", "pack", "--user", "1:2", "--binary", probe.to_str().unwrap()]).expect(0);
    }

    fn image_can_be_removed_after_two_later_files(mode) {
        let casemate = Instance::new(mode);
        let old = casemate.probe();
        let new = casemate.pack_binary("other", &place::program("casemate-init"));
        let digest = old.split('@').nth(1).unwrap();
        let apply = |image: &str, name: &str| {
            let container = Container::new(name, image, 10_001).entrypoint(&["/nothing"]);
            casemate.up_to_the_end(&Spec::new([container])).expect(1);
        };
        apply(&old, "a");
        apply(&new, "b");
        assert!(casemate.run(&["image", "rm", digest]).expect(1).stderr.contains("one before"));
        apply(&new, "b");
        casemate.run(&["image", "rm", digest]).expect(1);
        apply(&new, "c");
        casemate.run(&["image", "rm", digest]).expect(0);
    }

    fn image_rm_keeps_shared_layers(mode) {
        let casemate = Instance::new(mode);
        let base = casemate.scratch("base");
        tree(&base);
        let layer = oci::layer_of(&base);
        let one = casemate.import_layers("one", std::slice::from_ref(&layer), &json!({}));
        let alone = kept(&casemate);
        let top = casemate.scratch("top");
        fs::write(top.join("x"), "x").unwrap();
        let two = casemate.import_layers("two", &[layer, oci::layer_of(&top)], &json!({}));
        let shown = casemate.run(&["image", "inspect", pins(&two)[0].as_str(), "--json"]).expect(0).stdout;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["layers"][0]["shared_with"], 1);
        assert_eq!(shown["layers"][1]["shared_with"], 0);
        casemate.run(&["image", "rm", &pins(&two)[0]]).expect(0);
        assert_eq!(kept(&casemate), alone);
        casemate.run(&["image", "inspect", &pins(&one)[0]]).expect(0);
    }

    fn import_reads_what_skopeo_and_umoci_write(mode) {
        let casemate = Instance::new(mode);
        let work = casemate.scratch("work");
        let source = casemate.scratch("source");
        tree(&source);
        let plain = work.join("plain");
        let image = format!("{}:1", text(&plain));
        tool("umoci", &["init", "--layout", text(&plain)]);
        tool("umoci", &["new", "--image", &image]);
        tool("umoci", &["insert", "--image", &image, text(&source), "/"]);
        tool("umoci", &["config", "--image", &image, "--config.entrypoint", "/usr/bin/tool"]);
        let from = format!("oci:{image}");
        let forms = [
            ("oci", "", "layout"),
            ("oci", "zstd", "zstd"),
            ("oci-archive", "", "archive.tar"),
            ("docker-archive", "", "docker.tar"),
        ];
        for (transport, compress, name) in forms {
            let path = work.join(name);
            let tag = if transport == "docker-archive" { "some/name:2" } else { "2" };
            let to = format!("{transport}:{}:{tag}", text(&path));
            let mut words = vec!["--insecure-policy", "copy", &from, &to];
            if !compress.is_empty() {
                words.extend(["--dest-compress-format", compress, "--dest-compress"]);
            }
            tool("skopeo", &words);
            tool("chmod", &["-R", "a+rX", text(&path)]);
            let first = casemate.run(&["image", "import", text(&path)]).expect(0).stdout;
            let again = casemate.run(&["image", "import", text(&path)]).expect(0).stdout;
            assert_eq!(first, again, "{name}");
            let pin = pins(&first).remove(0);
            let shown = casemate.run(&["image", "inspect", &pin, "--json"]).expect(0).stdout;
            let shown: Value = serde_json::from_str(&shown).unwrap();
            assert_eq!(shown["defaults"]["entrypoint"], json!(["/usr/bin/tool"]), "{name}");
        }
        let names: Vec<String> = images(&casemate).iter().map(|image| image["names"].to_string()).collect();
        assert!(names.iter().any(|names| names.contains("docker.io/some/name:2")), "{names:?}");
        tool("chmod", &["-R", "a+rX", text(&plain)]);
        casemate.run(&["image", "import", text(&plain), "--name", "quay.io/a/b:1"]).expect(0);
    }

    fn threat_13_image_config_sets_only_overridable_defaults(mode) {
        let casemate = Instance::new(mode);
        let source = casemate.scratch("source");
        fs::write(source.join("x"), "x").unwrap();
        let layer = oci::layer_of(&source);
        let plain = json!({ "Entrypoint": ["/x"], "User": "app" });
        let mut hostile = plain.clone();
        for key in ["Hostname", "Privileged", "Binds", "Runtime", "OnBuild", "Shell", "Healthcheck", "Memory"] {
            hostile[key] = json!({ "/": "/proc/self/exe", "Test": ["CMD-SHELL", "reboot"] });
        }
        let mut seen = BTreeSet::new();
        for (name, config) in [("plain", plain), ("hostile", hostile)] {
            let pin = casemate.import_layers(name, std::slice::from_ref(&layer), &config);
            let shown = casemate.run(&["image", "inspect", &pins(&pin)[0], "--json"]).expect(0).stdout;
            let shown: Value = serde_json::from_str(&shown).unwrap();
            seen.insert(shown["defaults"].to_string());
        }
        assert_eq!(seen.len(), 1, "{seen:?}");
    }

    fn threat_14_each_corrupted_blob_is_refused(mode) {
        let casemate = Instance::new(mode);
        let (layout, pin) = layout(&casemate);
        let import = ["image", "import", text(&layout)];
        for entry in fs::read_dir(layout.join("blobs/sha256")).unwrap().flatten() {
            let good = fs::read(entry.path()).unwrap();
            for damaged in damage(&good) {
                fs::write(entry.path(), &damaged).unwrap();
                casemate.run(&import).expect(4);
                assert_eq!(kept(&casemate), BTreeSet::new());
            }
            fs::remove_file(entry.path()).unwrap();
            casemate.run(&import).expect(4);
            assert_eq!(kept(&casemate), BTreeSet::new());
            fs::write(entry.path(), &good).unwrap();
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o644)).unwrap();
        }
        casemate.run(&import).expect(0);
        // The same in the store: what is read again is proven again.
        let shown = casemate.run(&["image", "inspect", &pin, "--json"]).expect(0).stdout;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let layers: Vec<&str> =
            shown["layers"].as_array().unwrap().iter().map(|layer| layer["blob"].as_str().unwrap()).collect();
        for entry in fs::read_dir(casemate.state().join("blobs/sha256")).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if layers.iter().any(|layer| layer.ends_with(&name)) {
                continue;
            }
            let good = fs::read(entry.path()).unwrap();
            for damaged in damage(&good) {
                fs::write(entry.path(), &damaged).unwrap();
                casemate.run(&["image", "inspect", &pin]).expect(4);
            }
            fs::write(entry.path(), &good).unwrap();
        }
        casemate.run(&["image", "inspect", &pin]).expect(0);
    }

    fn threat_15_exceeded_limit_fails_and_leaves_the_store_unchanged(mode) {
        let casemate = Instance::new(mode);
        let source = casemate.scratch("source");
        fs::write(source.join("zeros"), vec![0; 40 << 20]).unwrap();
        for number in 0..50 {
            fs::write(source.join(format!("file{number}")), "x").unwrap();
        }
        let archive = casemate.directory().join("bomb.tar");
        let output = casemate.directory().join("out/bomb.tar");
        let out = casemate.scratch("out");
        if let (uid, Some(gid)) = mode.other_user() {
            std::os::unix::fs::chown(&out, Some(uid), Some(gid)).unwrap();
        }
        casemate.run(&["image", "pack", text(&source), "-o", text(&output)]).expect(0);
        fs::copy(&output, &archive).unwrap();
        let (layout, _) = layout(&casemate);
        casemate.run(&["image", "import", text(&layout)]).expect(0);
        let before = kept(&casemate);
        for limit in [
            ["--max-blob", "1KiB"],
            ["--max-layer", "1MiB"],
            ["--max-image", "1MiB"],
            ["--max-entries", "20"],
            ["--max-ratio", "10"],
        ] {
            let words = ["image", "import", text(&archive), limit[0], limit[1]];
            let output = casemate.run(&words).expect(4);
            assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
            assert_eq!(kept(&casemate), before, "{limit:?}");
        }
        casemate.run(&["image", "import", text(&archive), "--max-ratio", "2000"]).expect(0);
    }

    fn hostile_archives_are_refused(mode) {
        let casemate = Instance::new(mode);
        for (name, bytes) in [
            ("empty.tar", Vec::new()),
            ("zeros.tar", vec![0; 10_240]),
            ("noise.tar", (0..9000_u32).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect()),
            ("gzip.tar.gz", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0]),
        ] {
            let path = casemate.directory().join(name);
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            let output = casemate.run(&["image", "import", text(&path)]).expect(4);
            assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        }
        let missing = casemate.directory().join("missing.tar");
        casemate.run(&["image", "import", text(&missing)]).expect(1);
        casemate.run(&["image", "import", "/dev/null"]).expect(4);
        assert_eq!(kept(&casemate), BTreeSet::new());
    }

    fn layers_are_synced_before_their_inventory_is_stored(mode) {
        let name = "layers_are_synced_before_their_inventory_is_stored";
        if !needs(name, &[Feature::Program("/usr/bin/strace")]) {
            return;
        }
        let casemate = Instance::without_cgroup(mode);
        let (layout, _) = layout(&casemate);
        let trace = casemate.trace(&["image", "import", text(&layout)], "syncfs,renameat");
        let renames = |calls: &str| calls.matches("renameat(").count();
        // Four blobs; then, once for both layers, the disk; then what is known of each, and at last the image.
        let (before, after) = trace.split_once("syncfs(").unwrap_or_else(|| panic!("{trace}"));
        assert_eq!((renames(before), renames(after), after.contains("syncfs(")), (4, 3, false), "{trace}");
    }

    fn import_and_removal_killed_at_any_moment_leave_an_image_or_none(mode) {
        let casemate = Instance::new(mode);
        let (layout, pin) = layout(&casemate);
        let import = ["image", "import", text(&layout)];
        let mut moments = Moments::new(30, Duration::from_millis(30));
        while let Some(moment) = moments.take() {
            moments.kill(moment, &casemate, Up::start(casemate.command(&import)));
            if images(&casemate).is_empty() {
                continue;
            }
            // Every byte is proven again, and every layer is there.
            let shown = casemate.run(&["image", "inspect", &pin, "--json"]).expect(0).stdout;
            let shown: Value = serde_json::from_str(&shown).unwrap();
            assert!(shown["layers"].as_array().unwrap().iter().all(|layer| !layer["unpacked"].is_null()));
            casemate.run(&["image", "rm", &pin]).expect(0);
            assert_eq!(kept(&casemate), BTreeSet::new());
        }
        casemate.run(&import).expect(0);
        casemate.run(&["image", "rm", &pin]).expect(0);
        assert_eq!(kept(&casemate), BTreeSet::new());
    }
}

/// One byte in three places, one byte less, one more.
fn damage(good: &[u8]) -> Vec<Vec<u8>> {
    let flipped = |at: usize| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let shorter = good[..good.len() - 1].to_vec();
    let longer = [good, b" "].concat();
    vec![flipped(0), flipped(good.len() / 2), flipped(good.len() - 1), shorter, longer]
}

#[test]
fn image_pack_is_reproducible() {
    let casemate = Instance::new(Mode::Root);
    let packed = |name: &str, make: &dyn Fn(&Path)| {
        let source = casemate.scratch(name);
        make(&source);
        let out = casemate.directory().join(format!("{name}.tar"));
        let words = ["image", "pack", text(&source), "-o", text(&out), "--name", "same", "--env", "A=b"];
        let mut command = Command::new(place::program("casemate"));
        command.args(words).args(["--label", "k=v", "--user", "10001", "--arch", "amd64"]);
        let output = casemate_e2e::finish(command, poll::PATIENCE).expect(0);
        (output.stdout, fs::read(out).unwrap())
    };
    let first = packed("one", &|source| tree(source));
    let second = packed("two", &|source| {
        // Other order, other times, other owners, an extended attribute.
        symlink("usr/bin", source.join("bin")).unwrap();
        fs::create_dir_all(source.join("usr/bin")).unwrap();
        fs::remove_file(source.join("bin")).unwrap();
        tree(source);
        tool("touch", &["-d", "2001-02-03", text(&source.join("usr/bin/tool"))]);
        let path = source.join("usr/bin/tool");
        rustix::fs::setxattr(&path, "user.x", b"y", rustix::fs::XattrFlags::empty()).unwrap();
    });
    assert!(first == second, "{} {}", first.0, second.0);
    // This very digest, on every machine and until the format of packed images changes on purpose.
    let golden = "localhost/same@sha256:6eb85e26234d38ec73b44389514e223d40871f6f9e37c5a1e5762d53cddcc7e3\n";
    assert_eq!(first.0, golden);
}

#[test]
fn image_pack_names_the_file_that_it_refuses() {
    let casemate = Instance::new(Mode::Root);
    let source = casemate.scratch("source");
    let out = casemate.directory().join("out.tar");
    let pack = || {
        let mut command = Command::new(place::program("casemate"));
        command.args(["image", "pack", text(&source), "-o", text(&out)]);
        casemate_e2e::finish(command, poll::PATIENCE)
    };
    let socket = source.join("socket");
    drop(UnixListener::bind(&socket).unwrap());
    assert!(pack().expect(2).stderr.contains("socket"));
    fs::remove_file(socket).unwrap();
    fs::write(source.join(".wh.x"), "").unwrap();
    assert!(pack().expect(2).stderr.contains("whiteout"));
    fs::remove_file(source.join(".wh.x")).unwrap();
    fs::write(source.join("su"), "x").unwrap();
    fs::set_permissions(source.join("su"), fs::Permissions::from_mode(0o4755)).unwrap();
    assert!(pack().expect(0).stderr.contains("set-id"));
    assert!(pack().expect(2).stderr.contains("exists already"));
    let listing = Command::new("tar").arg("tf").arg(&out).output().unwrap();
    assert!(String::from_utf8_lossy(&listing.stdout).contains("oci-layout"));
}

#[test]
fn packed_image_is_read_by_skopeo_and_umoci() {
    let casemate = Instance::new(Mode::Root);
    let source = casemate.scratch("source");
    tree(&source);
    let out = casemate.directory().join("layout");
    let mut command = Command::new(place::program("casemate"));
    command.args(["image", "pack", text(&source), "-o", text(&out), "--name", "a:7", "--workdir", "/usr"]);
    let output = casemate_e2e::finish(command, poll::PATIENCE).expect(0);
    let image = format!("{}:7", text(&out));
    let shown = Command::new("skopeo").args(["inspect", &format!("oci:{image}")]).output().unwrap();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["Digest"], pins(&output.stdout)[0].as_str());
    let bundle = casemate.directory().join("bundle");
    tool("umoci", &["unpack", "--rootless", "--image", &image, text(&bundle)]);
    tool("diff", &["-r", "--no-dereference", text(&source), text(&bundle.join("rootfs"))]);
}
