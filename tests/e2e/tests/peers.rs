//! Real images through a real registry, and beside the tools that others use: what they write comes in, what is written here they
//! read, and all of them name it by the same digest.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::debian::Rootfs;
use casemate_e2e::registry::{Access, PROGRAMS, Registry};
use casemate_e2e::web::Authority;
use casemate_e2e::{Container, Feature, Instance, Mode, Spec, both_modes, needs, oci};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

const PODMAN: &str = "/usr/bin/podman";

fn head(casemate: &Instance, registry: &Registry, authority: &Authority) -> String {
    let ca = casemate.write("ca.pem", &authority.pem());
    format!("[registries.\"{}\"]\nca = \"{ca}\"\n", registry.name())
}

fn file(casemate: &Instance, head: &str, containers: impl IntoIterator<Item = Container>) -> (String, Spec) {
    let spec = Spec::new(containers).head(head);
    (casemate.write("pull.toml", &casemate.text_of(&spec)), spec)
}

both_modes! {
    fn debian_servers_with_shared_layers_are_pulled_and_run(mode) {
        let test = "debian_servers_with_shared_layers_are_pulled_and_run";
        let servers: [(&str, &str, &[&str], &str); 4] = [
            ("redis", "/usr/bin/redis-server", &["--version"], "Redis server v="),
            ("nginx", "/usr/sbin/nginx", &["-v"], "nginx version: nginx/"),
            ("postgres", "/usr/lib/postgresql/15/bin/postgres", &["--version"], "postgres (PostgreSQL) 15"),
            ("python", "/usr/bin/python3.11", &["-S", "-c", "import sys; print('python', sys.version_info[:2])"], "python (3, 11)"),
        ];
        let programs = servers.iter().map(|(_, program, ..)| *program).chain(PROGRAMS).chain(["/bin/busybox"]);
        if !needs(test, &programs.map(Feature::Program).collect::<Vec<_>>()) {
            return;
        }
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let registry = Registry::start(&casemate.scratch("registry"), &authority, Access::Open);
        let shared = casemate.scratch("shared");
        Rootfs::new(&shared).program("/bin/busybox").link("/bin/sh", "busybox").done();
        let shared = oci::layer_of(&shared);
        let containers: Vec<Container> = servers.iter().zip(10_001..).map(|((name, program, words, _), uid)| {
            let root = casemate.scratch(name);
            let rootfs = Rootfs::new(&root).program(program);
            match *name {
                "python" => rootfs.tree("/usr/lib/python3.11/encodings").done(),
                _ => rootfs.done(),
            }
            let above = casemate.scratch(&format!("{name}-etc"));
            Rootfs::new(&above).text(&format!("/etc/{name}.conf"), "").done();
            let layout = casemate.scratch(&format!("{name}-layout"));
            let digest = oci::layout(&layout, &[shared.clone(), oci::layer_of(&root), oci::layer_of(&above)], &json!({}));
            registry.push(&layout, name, "1");
            assert_eq!(registry.digest(name, "1"), digest);
            let image = format!("{}/{name}:1@{digest}", registry.name());
            let words = [&[*program], *words].concat();
            Container::new(name, &image, uid).entrypoint(&words).resource("memory", "\"96MiB\"")
        }).collect();
        let (file, spec) = file(&casemate, &head(&casemate, &registry, &authority), containers);
        casemate.run(&["pull", &file]).expect(0);
        // Three layers each, and the one that they share is there once.
        let layers = std::fs::read_dir(casemate.state().join("layers/sha256")).unwrap().count();
        assert_eq!(layers, 3 * servers.len() - (servers.len() - 1));
        drop(registry);
        let output = casemate.up_to_the_end(&spec).expect(0);
        for (.., expected) in servers {
            assert!((output.stdout.clone() + &output.stderr).contains(expected), "{expected:?}: {output:?}");
        }
    }
}

fn probe(image: &str) -> Container {
    Container::new("a", image, 10_001).command(&["true"])
}

/// podman with a store of its own.
fn podman(store: &Path, words: &[&str]) -> String {
    let mut command = Command::new(PODMAN);
    command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", store).current_dir("/");
    command.arg("--root").arg(store.join("root")).arg("--runroot").arg(store.join("run"));
    let output = command.args(["--storage-driver", "vfs"]).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn images_are_exchanged_with_podman() {
    let test = "images_are_exchanged_with_podman";
    let programs = PROGRAMS.into_iter().chain([PODMAN]).map(Feature::Program).chain([Feature::Root]);
    if !needs(test, &programs.collect::<Vec<_>>()) {
        return;
    }
    let casemate = Instance::new(Mode::Root);
    let authority = Authority::new();
    let registry = Registry::start(&casemate.scratch("registry"), &authority, Access::Open);
    let name = registry.name();
    let store = casemate.scratch("podman");
    let certificates = casemate.scratch("certificates");
    std::fs::write(certificates.join("ca.crt"), authority.pem()).unwrap();
    let certificates = format!("--cert-dir={}", certificates.display());
    let packed = casemate.probe();
    let digest = packed.split_once('@').unwrap().1;
    let head = head(&casemate, &registry, &authority);
    let (push_file, _) = file(&casemate, &head, [probe(&packed)]);
    let to = format!("{name}/ours:1");
    casemate.run(&["image", "push", "probe", &to, "--file", &push_file]).expect(0);

    // What is pushed from here has its digest there, and in podman's store.
    let id = podman(&store, &["pull", "--quiet", &certificates, &to]);
    assert_eq!(podman(&store, &["image", "inspect", "--format", "{{.Digest}}", &id]), digest);

    // What podman writes: to a registry, and as archives of both kinds.
    let theirs = format!("{name}/theirs:1");
    let digest_file = store.join("digest");
    podman(&store, &["push", "--quiet", &certificates, "--digestfile", digest_file.to_str().unwrap(), &id, &theirs]);
    let digest = std::fs::read_to_string(digest_file).unwrap();
    assert_eq!(registry.digest("theirs", "1"), digest);
    let image = format!("{theirs}@{digest}");
    let (pull_file, spec) = file(&casemate, &head, [probe(&image)]);
    casemate.run(&["pull", &pull_file]).expect(0);
    casemate.up_to_the_end(&spec).expect(0);
    for kind in ["oci-archive", "docker-archive"] {
        let archive: PathBuf = casemate.directory().join(format!("{kind}.tar"));
        podman(&store, &["save", "--quiet", "--format", kind, "--output", archive.to_str().unwrap(), &id]);
        let other = Instance::new(Mode::Root);
        let reported =
            other.run(&["image", "import", archive.to_str().unwrap(), "--name", "from-podman"]).expect(0).stdout;
        let pin = reported.lines().next().unwrap().to_owned();
        if kind == "oci-archive" {
            let index = Command::new("tar").args(["-xOf", archive.to_str().unwrap(), "index.json"]).output().unwrap();
            let index: serde_json::Value = serde_json::from_slice(&index.stdout).unwrap();
            assert!(pin.ends_with(index["manifests"][0]["digest"].as_str().unwrap()), "{pin}: {index}");
        }
        other.up_to_the_end(&Spec::new([probe(&pin)])).expect(0);
    }
}
