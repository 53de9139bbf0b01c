//! The store: reports, damage and repair; nothing in use is ever removed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::web::{self, Web};
use casemate_e2e::{Container, Instance, Spec, both_modes, oci, place, poll};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An image of two layers, the probe in the first.
fn two_layers(casemate: &Instance, name: &str) -> String {
    let rootfs = casemate.rootfs_with_probe(&format!("rootfs-{name}"));
    let more = casemate.scratch(&format!("more-{name}"));
    fs::write(more.join("more"), name).unwrap();
    casemate.import_layers(name, &[oci::layer_of(&rootfs), oci::layer_of(&more)], &json!({ "Entrypoint": ["/probe"] }))
}

fn digest_of(image: &str) -> &str {
    image.split_once("@sha256:").unwrap().1
}

fn blob(casemate: &Instance, digest: &str) -> PathBuf {
    casemate.state().join("blobs/sha256").join(digest)
}

/// Has this text be the file that was applied last, as `up` leaves it.
fn applied(casemate: &Instance, text: &str) {
    casemate.run(&["image", "ls"]).expect(0);
    let revisions = casemate.state().join("revisions");
    fs::write(revisions.join("a.toml"), text).unwrap();
    fs::set_permissions(revisions.join("a.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    let _ = fs::remove_file(revisions.join("current"));
    symlink("a.toml", revisions.join("current")).unwrap();
}

/// What the store holds, by name.
fn kept(casemate: &Instance) -> BTreeSet<PathBuf> {
    let directories = ["blobs/sha256", "images", "images/trees", "layers/sha256", "layers/tmp"];
    let list = |name| fs::read_dir(casemate.state().join(name)).into_iter().flatten().flatten();
    directories.into_iter().flat_map(list).map(|entry| entry.path()).collect()
}

/// The file of this name at the root of some layer.
fn find_in_layers(casemate: &Instance, name: &str) -> PathBuf {
    let layers = fs::read_dir(casemate.state().join("layers/sha256")).unwrap().flatten();
    let mut files = layers.map(|layer| layer.path().join("fs").join(name));
    files.find(|file| file.exists()).unwrap_or_else(|| panic!("no layer has {name}"))
}

/// Bytes that an ordinary user may still write where the store is.
fn free(casemate: &Instance) -> u64 {
    let stat = rustix::fs::statvfs(casemate.directory()).unwrap();
    stat.f_bavail * stat.f_frsize
}

both_modes! {
    fn import_keeps_free_space(mode) {
        const GIB: u64 = 1 << 30;
        let casemate = Instance::new(mode);
        casemate.pack_binary("small", &place::program("casemate-init"));
        let before = kept(&casemate);
        // A file with one large hole: its blob has room, its layer counts as large.
        let rootfs = casemate.scratch("rootfs");
        fs::File::create(rootfs.join("large")).unwrap().set_len(4 * GIB).unwrap();
        let layer = Command::new("tar").args(["-cS", "--format=pax", "-C", rootfs.to_str().unwrap(), "."]).output();
        let layout = casemate.scratch("layout");
        oci::layout(&layout, &[layer.unwrap().stdout], &json!({}));
        let import = ["image", "import", layout.to_str().unwrap()];
        // An expired waiver does not make the reserve go away.
        let rest = "[[waivers]]\nrule = \"limits\"\ncontainer = \"a\"\nreason = \"old\"\nexpires = 2020-01-01\n";
        for (reserve, what) in [(u64::MAX >> 1, "bytes, and"), (free(&casemate) - 2 * GIB, "too large")] {
            applied(&casemate, &format!("schema = 1\n[store]\nfree_space = {reserve}\n{rest}"));
            let error = casemate.run(&import).expect(1).stderr;
            assert!(error.contains("free_space") && error.contains(what), "{error}");
            assert_eq!(kept(&casemate), before);
        }
        applied(&casemate, "schema = 1\n[store]\nfree_space = \"1MiB\"\n");
        casemate.run(&import).expect(0);
    }

    fn image_history_shows_steps_with_their_layers(mode) {
        let casemate = Instance::new(mode);
        two_layers(&casemate, "a");
        let history = casemate.run(&["image", "history", "a"]).expect(0).stdout;
        assert_eq!(history.lines().count(), 3, "{history}");
        let rows = casemate.run(&["image", "history", "a", "--json"]).expect(0).stdout;
        let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
        assert!(rows[1]["bytes"].as_u64() > rows[0]["bytes"].as_u64(), "{rows}");
    }

    fn threat_19_changed_layer_is_not_started_with_verify_start(mode) {
        let casemate = Instance::new(mode);
        let image = two_layers(&casemate, "a");
        let container = || Container::new("a", &image, 10_001).command(&["true"]);
        let proving = || Spec::new([container()]).head("[store]\nverify = \"start\"");
        casemate.up_to_the_end(&proving()).expect(0);
        let probe = find_in_layers(&casemate, "probe");
        let more = find_in_layers(&casemate, "more");
        let good = fs::read(&more).unwrap();
        // The right to write comes and goes with the clock set back: what is proven is what is there.
        let quietly = |path: &Path, change: &dyn Fn()| {
            let time = fs::metadata(path).unwrap().modified().unwrap();
            let above = fs::metadata(path.parent().unwrap()).unwrap().modified().unwrap();
            change();
            fs::File::open(path).unwrap().set_modified(time).unwrap();
            fs::File::open(path.parent().unwrap()).unwrap().set_modified(above).unwrap();
        };
        let mode_of = |bits| fs::set_permissions(&probe, fs::Permissions::from_mode(bits)).unwrap();
        let byte = || fs::write(&more, "b").unwrap();
        let extra = more.with_file_name("extra");
        let add = || fs::write(&extra, "").unwrap();
        let changes: [(&Path, &dyn Fn(), &str); 3] = [
            (&more, &byte, "/more: content"),
            (&probe, &|| mode_of(0o4755), "/probe: mode was 0755, is 4755"),
            (&more, &add, "/extra was added"),
        ];
        let backs: [&dyn Fn(); 3] = [
            &|| fs::write(&more, &good).unwrap(),
            &|| mode_of(0o755),
            &|| fs::remove_file(&extra).unwrap(),
        ];
        for ((path, change, reported), back) in changes.into_iter().zip(backs) {
            quietly(path, change);
            // Without `verify = "start"` the change is not noticed.
            casemate.up_to_the_end(&Spec::new([container()])).expect(0);
            let output = casemate.up_to_the_end(&proving());
            assert_eq!(output.code, 4, "{output:?}");
            assert!(output.stderr.contains(reported) && output.stderr.contains("fsck"), "{output:?}");
            quietly(path, back);
            casemate.up_to_the_end(&proving()).expect(0);
        }
        // Without what is known of them, layers are not believed: they are unpacked again.
        fs::remove_dir_all(casemate.state().join("images/trees")).unwrap();
        byte();
        casemate.up_to_the_end(&proving()).expect(0);
        assert_eq!(fs::read(find_in_layers(&casemate, "more")).unwrap(), good);
    }

    fn threat_19_every_start_verifies_the_layers(mode) {
        let casemate = Instance::new(mode);
        let image = two_layers(&casemate, "a");
        let container = Container::new("a", &image, 10_001).command(&["misbehave", "sleep"]);
        let mut up = casemate.up(&Spec::new([container]).head("[store]\nverify = \"start\""));
        up.until_line("sleeping");
        casemate.run(&["restart", "a"]).expect(0);
        fs::write(find_in_layers(&casemate, "more"), "b").unwrap();
        let error = casemate.run(&["restart", "a"]).expect(4).stderr;
        assert!(error.contains("/more: "), "{error}");
        assert_eq!(up.wait(poll::PATIENCE).code, 4);
    }

    fn fsck_names_damaged_objects_and_repair_removes_only_those(mode) {
        let casemate = Instance::new(mode);
        let image = two_layers(&casemate, "a");
        casemate.pack_binary("other", &place::program("casemate-init"));
        let spec = Spec::new([Container::new("a", &image, 10_001).command(&["true"])]);
        let sound = || {
            let output = casemate.run(&["store", "fsck"]).expect(0).stdout;
            assert!(output.contains("images: 2") && output.contains(": sound"), "{output}");
            casemate.up_to_the_end(&spec).expect(0);
        };
        sound();
        let whole = kept(&casemate);
        let damaged = |words: &[&str]| {
            let found = casemate.run(&["store", "fsck"]).expect(4).stdout;
            for word in words {
                assert!(found.contains(word), "no {word:?} in {found}");
            }
        };
        // A layer's content and one mode bit: the blob is good, so that it comes back.
        for change in [0, 1] {
            let probe = find_in_layers(&casemate, "probe");
            let time = fs::metadata(&probe).unwrap().modified().unwrap();
            if change == 0 {
                let mut bytes = fs::read(&probe).unwrap();
                bytes[4000] ^= 1;
                fs::write(&probe, bytes).unwrap();
                fs::File::options().write(true).open(&probe).unwrap().set_modified(time).unwrap();
            } else {
                let mode = fs::metadata(&probe).unwrap().permissions().mode();
                fs::set_permissions(&probe, fs::Permissions::from_mode(mode ^ 0o001)).unwrap();
            }
            damaged(&["damaged: layer sha256:", if change == 0 { "/probe: content" } else { "/probe: mode was 0755, is 0754" }]);
            let report = casemate.run(&["store", "fsck", "--repair"]).expect(0).stdout;
            assert!(report.contains("(repaired)"), "{report}");
            sound();
        }
        // A layer that is gone, and one of which nothing is known.
        fs::remove_dir_all(find_in_layers(&casemate, "more").ancestors().nth(2).unwrap()).unwrap();
        damaged(&["missing: layer"]);
        casemate.run(&["store", "fsck", "--repair"]).expect(0);
        let tree = fs::read_dir(casemate.state().join("images/trees")).unwrap().next().unwrap().unwrap().path();
        fs::remove_file(tree).unwrap();
        damaged(&["no inventory of this layer"]);
        casemate.run(&["store", "fsck", "--repair"]).expect(0);
        sound();
        // A record: made anew from the blobs, but for its name.
        let record = casemate.state().join(format!("images/{}.json", digest_of(&image)));
        fs::write(&record, "{").unwrap();
        damaged(&["damaged: record of image"]);
        casemate.run(&["store", "fsck", "--repair"]).expect(0);
        assert!(casemate.run(&["image", "ls"]).expect(0).stdout.contains("recovered"));
        sound();
        // Leftovers are no damage, and are removed.
        fs::write(blob(&casemate, &oci::sha256(b"left")), "left").unwrap();
        fs::write(casemate.state().join("blobs/sha256/.partial"), "half").unwrap();
        assert_eq!(casemate.run(&["store", "fsck"]).expect(0).stdout.matches("leftover: ").count(), 2);
        casemate.run(&["store", "fsck", "--repair"]).expect(0);
        assert_eq!(kept(&casemate), whole);
    }

    fn fsck_finds_each_damaged_blob_and_import_restores_it(mode) {
        let casemate = Instance::new(mode);
        let layout = casemate.scratch("layout");
        let digest = oci::layout(&layout, &[oci::layer_of(&casemate.rootfs_with_probe("rootfs"))], &json!({}));
        let import = || casemate.run(&["image", "import", layout.to_str().unwrap(), "--name", "a"]).expect(0);
        import();
        let whole = kept(&casemate);
        for victim in fs::read_dir(casemate.state().join("blobs/sha256")).unwrap() {
            let victim = victim.unwrap();
            let name = victim.file_name().into_string().unwrap();
            let mut bytes = fs::read(victim.path()).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(victim.path(), bytes).unwrap();
            let found = casemate.run(&["store", "fsck"]).expect(4);
            assert!(found.stdout.contains(&name) && found.stderr.contains("--repair"), "{found:?}");
            let left = casemate.run(&["store", "fsck", "--repair"]).expect(4);
            assert!(left.stderr.contains("image import") && left.stdout.contains("(repaired)"), "{left:?}");
            let mut expected = whole.clone();
            expected.remove(&victim.path());
            assert_eq!(kept(&casemate), expected);
            import();
            casemate.run(&["store", "fsck"]).expect(0);
        }
        assert_eq!(kept(&casemate), whole, "{digest}");
    }

    fn pull_restores_removed_blobs(mode) {
        let casemate = Instance::new(mode);
        let layout = casemate.scratch("layout");
        let config = json!({ "Entrypoint": ["/probe"] });
        let digest = oci::layout(&layout, &[oci::layer_of(&casemate.rootfs_with_probe("rootfs"))], &config);
        let web = Web::start(None, move |asked, out| web::layout(&layout, asked, out));
        let image = format!("{}/team/app:1@{digest}", web.name());
        let head = format!("[registries.\"{}\"]\ninsecure = true\n", web.name());
        let spec = Spec::new([Container::new("a", &image, 10_001).command(&["true"])]).head(&head);
        let file = casemate.write("pull.toml", &casemate.text_of(&spec));
        let missing = casemate.up_to_the_end(&spec).expect(4).stderr;
        assert!(missing.contains("casemate pull") && !missing.contains("image import"), "{missing}");
        casemate.run(&["pull", &file]).expect(0);
        let whole = kept(&casemate);
        for victim in fs::read_dir(casemate.state().join("blobs/sha256")).unwrap() {
            let path = victim.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes).unwrap();
            let left = casemate.run(&["store", "fsck", "--repair"]).expect(4);
            assert!(left.stdout.contains("`casemate pull` downloads it again"), "{left:?}");
            assert!(left.stderr.contains("casemate pull"), "{left:?}");
            casemate.run(&["pull", &file]).expect(0);
            casemate.run(&["store", "fsck"]).expect(0);
            assert_eq!(kept(&casemate), whole);
        }
        // As the error of a start says: a pull alone does not hash what is there.
        fs::remove_dir_all(casemate.state().join("layers/sha256")).unwrap();
        let layer = fs::read_dir(casemate.state().join("blobs/sha256")).unwrap().flatten();
        let layer = layer.max_by_key(|blob| blob.metadata().unwrap().len()).unwrap().path();
        let mut bytes = fs::read(&layer).unwrap();
        bytes[4000] ^= 1;
        fs::write(&layer, bytes).unwrap();
        let damaged = casemate.up_to_the_end(&spec).expect(4).stderr;
        assert!(damaged.contains("fsck --repair`, then `casemate pull`"), "{damaged}");
        casemate.run(&["store", "fsck", "--repair"]).expect(4);
        casemate.run(&["pull", &file]).expect(0);
        casemate.up_to_the_end(&spec).expect(0);
    }

    fn df_counts_shared_objects_once_and_measures_volumes(mode) {
        let casemate = Instance::new(mode);
        let base = oci::layer_of(&casemate.rootfs_with_probe("rootfs"));
        let layers = |name: &str| {
            let more = casemate.scratch(&format!("more-{name}"));
            fs::write(more.join("more"), name).unwrap();
            [base.clone(), oci::layer_of(&more)]
        };
        let image = casemate.import_layers("a", &layers("a"), &json!({ "Entrypoint": ["/probe"] }));
        casemate.import_layers("b", &layers("b"), &json!({ "Entrypoint": ["/probe"] }));
        let container = Container::new("a", &image, 10_001).command(&["misbehave", "mark", "/data"])
            .set("volumes", "[{ type = \"volume\", source = \"v\", target = \"/data\" }]");
        casemate.up_to_the_end(&Spec::new([container]).head("[volumes.v]"));
        let shown = casemate.run(&["store", "df", "--json"]).expect(0).stdout;
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["layers"].as_array().unwrap().len(), 3, "{shown}");
        // Two layers of their own, and one for both; a manifest and a config each.
        assert_eq!(shown["blobs"].as_array().unwrap().len(), 7, "{shown}");
        let both = |items: &serde_json::Value| {
            items.as_array().unwrap().iter().filter(|item| item["images"].as_array().unwrap().len() == 2).count()
        };
        assert_eq!((both(&shown["blobs"]), both(&shown["layers"])), (1, 1), "{shown}");
        let applied: Vec<_> = shown["images"].as_array().unwrap().iter().map(|image| image["applied"].as_bool().unwrap()).collect();
        assert_eq!(applied.iter().filter(|applied| **applied).count(), 1, "{shown}");
        assert!(shown["volumes"][0]["name"] == "v" && shown["volumes"][0]["entries"].as_u64() > Some(0) && shown["logs"][0]["container"] == "a", "{shown}");
        for words in [&["store", "df"][..], &["store", "df", "-v"]] {
            let table = casemate.run(words).expect(0).stdout;
            assert!(table.lines().all(|line| line.chars().count() <= 80) && table.contains("volumes"), "{table}");
        }
    }

    fn image_ls_no_trunc_prints_full_digests(mode) {
        let casemate = Instance::new(mode);
        let image = two_layers(&casemate, "a");
        let (name, digest) = image.split_once('@').unwrap();
        let short = casemate.run(&["image", "ls"]).expect(0).stdout;
        assert!(!short.contains(digest) && short.lines().all(|line| line.chars().count() <= 80), "{short}");
        let whole = casemate.run(&["image", "ls", "--no-trunc"]).expect(0).stdout;
        assert!(whole.contains(&format!("{name} {digest} ")), "{whole}");
        assert!(casemate.run(&["image", "inspect", "a"]).expect(0).stdout.contains(&image));
    }

    fn missing_image_is_reported_once_with_a_remedy(mode) {
        let casemate = Instance::new(mode);
        let image = format!("localhost/a:1@sha256:{}", "0".repeat(64));
        let output = casemate.up_to_the_end(&Spec::new([Container::new("web", &image, 10_001)])).expect(4);
        assert_eq!(output.stderr.matches(&"0".repeat(64)).count(), 1, "{}", output.stderr);
        for word in ["container `web`", &image, "casemate image import"] {
            assert!(output.stderr.contains(word), "{}", output.stderr);
        }
    }

    fn missing_or_damaged_blob_is_named_with_exit_code_4(mode) {
        let casemate = Instance::new(mode);
        let image = two_layers(&casemate, "a");
        let shown = casemate.run(&["image", "inspect", "a", "--json"]).expect(0).stdout;
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        let layer = shown["layers"][1]["blob"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let spec = Spec::new([Container::new("a", &image, 10_001).command(&["true"])]);
        let refused = |digest: &str| {
            let output = casemate.up_to_the_end(&spec).expect(4);
            for word in [digest, "casemate image import"] {
                assert!(output.stderr.contains(word), "{}", output.stderr);
            }
        };
        // A document is read at every start, a layer's blob when the layer is not unpacked.
        for (digest, unpacked) in [(digest_of(&image), true), (layer, false)] {
            if !unpacked {
                fs::remove_dir_all(casemate.state().join("layers/sha256")).unwrap();
            }
            let path = blob(&casemate, digest);
            let bytes = fs::read(&path).unwrap();
            let mut other = bytes.clone();
            other[bytes.len() / 2] ^= 1;
            fs::write(&path, &other).unwrap();
            refused(digest);
            fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
            refused(digest);
            fs::remove_file(&path).unwrap();
            refused(digest);
            fs::write(&path, &bytes).unwrap();
            if mode == casemate_e2e::Mode::Root {
                let owner = fs::metadata(casemate.state().join("blobs")).unwrap();
                use std::os::unix::fs::MetadataExt;
                std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
            }
        }
        casemate.up_to_the_end(&spec).expect(0);
    }

    fn check_lists_missing_host_features(mode) {
        let casemate = Instance::new(mode);
        let image = format!("localhost/a:1@sha256:{}", "0".repeat(64));
        let there = casemate.scratch("there");
        symlink(&there, casemate.directory().join("link")).unwrap();
        let check = |source: &str| {
            let bind = format!("[{{ type = \"bind\", source = \"{source}\", target = \"/data\" }}]");
            let file = casemate.write("a.toml", &Spec::new([Container::new("a", &image, 10_001).set("volumes", &bind)]).text());
            (casemate.run(&["check", &file]).expect(0).stderr, casemate.run(&["check", "--json", &file]).expect(0).stdout)
        };
        let directory = casemate.directory().to_str().unwrap();
        for (name, words) in [("nowhere", "does not exist"), ("link", "symbolic link")] {
            let path = format!("{directory}/{name}");
            let (reported, json) = check(&path);
            assert!(reported.contains(&path) && reported.contains(words), "{reported}");
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert!(json["not_here"][0].as_str().unwrap().contains(&path), "{json}");
        }
        let (reported, _) = check(there.to_str().unwrap());
        assert!(!reported.contains("on this machine"), "{reported}");
    }
}
