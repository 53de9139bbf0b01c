//! Pulling from a real registry: TLS with an authority of its own, passwords, tokens; what is there is not asked for again, and
//! `up` needs no network afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::debian::Rootfs;
use casemate_e2e::registry::{Access, PASSWORD, PROGRAMS, Registry, USER, auth_file};
use casemate_e2e::web::Authority;
use casemate_e2e::{Container, Feature, Instance, Mode, Spec, Up, both_modes, finish, needs, oci, place, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use rustix::process::Signal;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The layer with the probe.
fn probe_layer(casemate: &Instance) -> Vec<u8> {
    oci::layer_of(&casemate.rootfs_with_probe("rootfs"))
}

/// A layout of an image with this layer, and one on top that differs by `text`.
fn probe_layout(casemate: &Instance, below: &[u8], name: &str, text: &str) -> (PathBuf, String) {
    let above = casemate.scratch(&format!("above-{name}"));
    fs::write(above.join("text"), text).unwrap();
    let layout = casemate.scratch(&format!("layout-{name}"));
    let config = json!({ "Entrypoint": ["/probe"] });
    let digest = oci::layout(&layout, &[below.to_vec(), oci::layer_of(&above)], &config);
    (layout, digest)
}

fn is_there(test: &str) -> bool {
    needs(test, &PROGRAMS.map(Feature::Program))
}

/// A `[registries]` table.
fn table(casemate: &Instance, registry: &str, authority: &Authority, more: &str) -> String {
    let ca = casemate.write("ca.pem", &authority.pem());
    format!("[registries.\"{registry}\"]\nca = \"{ca}\"\n{more}")
}

fn login(casemate: &Instance, registry: &str, password: &str) -> String {
    format!("auth_file = \"{}\"\n", casemate.write("auth.json", &auth_file(registry, USER, password)))
}

fn pull_file(casemate: &Instance, head: &str, images: &[String]) -> (String, Spec) {
    let container = |(number, image): (usize, &String)| {
        Container::new(&format!("c{number}"), image, 10_001 + u32::try_from(number).unwrap()).command(&["true"])
    };
    let spec = Spec::new(images.iter().enumerate().map(container)).head(head);
    (casemate.write("pull.toml", &casemate.text_of(&spec)), spec)
}

/// The output has no password in any form.
fn nothing_secret(output: &str) {
    for secret in [PASSWORD, &auth_file("x", USER, PASSWORD)[20..40], "pa55"] {
        assert!(!output.contains(secret), "{output}");
    }
}

both_modes! {
    fn start_after_a_pull_needs_no_network(mode) {
        if !is_there("start_after_a_pull_needs_no_network") {
            return;
        }
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let registry = Registry::start(&casemate.scratch("registry"), &authority, Access::Basic);
        let below = probe_layer(&casemate);
        let (layout, digest) = probe_layout(&casemate, &below, "one", "one");
        registry.push(&layout, "team/app", "1");
        let name = registry.name();
        let image = format!("{name}/team/app:1@{digest}");
        let head = table(&casemate, &name, &authority, &login(&casemate, &name, PASSWORD));
        let (file, spec) = pull_file(&casemate, &head, std::slice::from_ref(&image));
        let output = casemate.run(&["pull", &file]).expect(0);
        assert!(output.stdout.contains(&format!("{image}: pulled, ")), "{output:?}");
        nothing_secret(&format!("{output:?}"));
        // Again: nothing is asked for, not even whether it has changed.
        let asked = registry.log().len();
        let again = casemate.run(&["pull", &file]).expect(0);
        assert_eq!(again.stdout, format!("{image}: already in the store\n"));
        // Another image shares its large layer: only what is new comes.
        let (layout, other) = probe_layout(&casemate, &below, "two", "two");
        registry.push(&layout, "team/app", "2");
        assert!(registry.log().len() >= asked);
        let other = format!("{name}/team/app:2@{other}");
        let (both, _) = pull_file(&casemate, &head, &[image.clone(), other.clone()]);
        let output = casemate.run(&["pull", &both]).expect(0);
        assert!(output.stdout.contains(&format!("{image}: already in the store")), "{output:?}");
        let new = output.stdout.lines().find(|line| line.starts_with(&other)).unwrap();
        assert!(new.contains("KiB of") && new.ends_with("MiB"), "{new}");
        // With the registry gone, it starts.
        drop(registry);
        casemate.up(&spec).finish().expect(0);
        casemate.run(&["pull", &both]).expect(0);
        let kept = fs::read_dir(casemate.state().join("blobs/partial"));
        assert!(kept.map_or(0, Iterator::count) == 0, "nothing of the way is left");
    }

    fn threat_16_token_comes_from_the_token_server_of_the_registry(mode) {
        if !is_there("threat_16_token_comes_from_the_token_server_of_the_registry") {
            return;
        }
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let registry = Registry::start(&casemate.scratch("registry"), &authority, Access::Token);
        let tokens = registry.tokens.as_ref().unwrap();
        let (layout, digest) = probe_layout(&casemate, &probe_layer(&casemate), "one", "one");
        registry.push(&layout, "team/app", "1");
        let name = registry.name();
        let image = format!("{name}/team/app@{digest}");
        let ports = format!("ports = [{}]\n", tokens.port());
        let pull = |more: &str| {
            let head = table(&casemate, &name, &authority, more);
            let output = casemate.run(&["pull", &pull_file(&casemate, &head, std::slice::from_ref(&image)).0]);
            nothing_secret(&format!("{output:?}"));
            output
        };
        // A port that is not in the file cannot be connected to (Landlock, from Linux 6.7 on).
        let refused = pull(&login(&casemate, &name, PASSWORD));
        if refused.code != 0 {
            refused.clone().expect(1);
            assert!(refused.stderr.contains(&tokens.name()) && refused.stderr.contains("`ports`"), "{refused:?}");
        }
        let wrong = pull(&format!("{ports}{}", login(&casemate, &name, "wrong"))).expect(1);
        assert!(wrong.stderr.contains("log in: HTTP status 401") && wrong.stderr.contains("auth_file"), "{wrong:?}");
        let before = tokens.asked().len();
        pull(&format!("{ports}{}", login(&casemate, &name, PASSWORD))).expect(0);
        let asked = tokens.asked().split_off(before);
        assert!(!asked.is_empty());
        for asked in asked {
            assert!(asked.path.contains("scope=repository%3Ateam%2Fapp%3Apull") && asked.path.contains("service=test"), "{asked:?}");
        }
    }

    fn lock_pins_tags_and_update_shows_newer_digests(mode) {
        if !is_there("lock_pins_tags_and_update_shows_newer_digests") {
            return;
        }
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let registry = Registry::start(&casemate.scratch("registry"), &authority, Access::Basic);
        let name = registry.name();
        let below = probe_layer(&casemate);
        let push = |number: &str, tag: &str, config: &serde_json::Value| {
            let layout = casemate.scratch(&format!("layout-{number}"));
            let digest = oci::layout(&layout, std::slice::from_ref(&below), config);
            registry.push(&layout, "team/app", tag);
            digest
        };
        let one = push("one", "1", &json!({ "Entrypoint": ["/probe"], "User": "7", "Env": ["A=1"] }));
        let head = table(&casemate, &name, &authority, &login(&casemate, &name, PASSWORD));
        let comments = "# The one file.\n\n";
        let text = |image: &str| {
            let spec = Spec::new([Container::new("a", image, 10_001).command(&["true"])]).head(&head);
            format!("{comments}{}", casemate.text_of(&spec).replace("[containers.a]", "[containers.a]   # here"))
        };
        let file = casemate.write("locked.toml", &text(&format!("{name}/team/app:1")));
        // A user who can write the file can run `casemate lock` on it.
        if let (uid, Some(gid)) = mode.other_user() {
            chown(&file, Some(uid), Some(gid)).unwrap();
        }
        let read = || fs::read_to_string(&file).unwrap();
        let pinned = |tag: &str, digest: &str| text(&format!("{name}/team/app:{tag}@{digest}"));
        let locked = casemate.run(&["lock", &file]).expect(0);
        assert_eq!(locked.stdout, format!("a: {name}/team/app:1@{one}\n"));
        assert_eq!(read(), pinned("1", &one));
        nothing_secret(&format!("{locked:?}"));
        assert!(casemate.run(&["lock", &file]).expect(0).stdout.contains("every image has a digest"));
        assert!(casemate.run(&["update", &file]).expect(0).stdout.contains("up to date"));
        // The tag moves on.
        let two = push("two", "1", &json!({ "Entrypoint": ["/probe", "x"], "Env": ["A=1", "B=2"], "ExposedPorts": { "80/tcp": {} } }));
        let shown = casemate.run(&["update", &file]).expect(0);
        for words in [
            format!("digest       {one} -> {two}"),
            "user         7 -> none".to_owned(),
            "entrypoint   /probe -> /probe x".to_owned(),
            "environment  + B=2".to_owned(),
            "ports        + 80/tcp".to_owned(),
            "layers       0 of 1 are new".to_owned(),
        ] {
            assert!(shown.stdout.contains(&words), "{words} in {shown:?}");
        }
        assert_eq!(read(), pinned("1", &one), "nothing is written unasked");
        casemate.run(&["update", &file, "a", "--write"]).expect(0);
        assert_eq!(read(), pinned("1", &two));
        // Another tag, by hand; and what goes wrong changes nothing.
        let three = push("three", "3", &json!({ "Entrypoint": ["/probe"] }));
        casemate.run(&["lock", &file, &format!("a={name}/team/app:3")]).expect(0);
        assert_eq!(read(), pinned("3", &three));
        for (words, code) in [
            (["lock", &file, &format!("a={name}/team/app:none")], 1),
            (["lock", &file, &format!("b={name}/team/app:1")], 2),
            (["lock", &file, "a=nginx"], 2),
            (["update", &file, "b"], 2),
        ] {
            casemate.run(&words).expect(code);
            assert_eq!(read(), pinned("3", &three));
        }
        casemate.run(&["pull", &file]).expect(0);
    }

    fn pull_names_what_the_registry_refuses(mode) {
        if !is_there("pull_names_what_the_registry_refuses") {
            return;
        }
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let registry = Registry::start(&casemate.scratch("registry"), &authority, Access::Basic);
        let (layout, digest) = probe_layout(&casemate, &probe_layer(&casemate), "one", "one");
        registry.push(&layout, "team/app", "1");
        let name = registry.name();
        let missing = format!("sha256:{}", "ab".repeat(32));
        let good = login(&casemate, &name, PASSWORD);
        for (head, digest, words) in [
            (table(&casemate, &name, &authority, &good), &missing, ["team/app: sha256:abab", "HTTP status 404", "check the image's name"]),
            (table(&casemate, &name, &authority, ""), &digest, ["log in: HTTP status 401", "gives none", "auth_file"]),
            (table(&casemate, &name, &Authority::new(), &good), &digest, ["connect: ", "certificate", &name]),
            (format!("[registries.\"{name}\"]\n{good}"), &digest, ["connect: ", "UnknownIssuer", "`ca`"]),
        ] {
            // Each of them has a file of its own by this name, which the next one writes anew.
            let (file, _) = pull_file(&casemate, &head, &[format!("{name}/team/app@{digest}")]);
            if head.contains("ca = ") && words[1] == "certificate" {
                casemate.write("ca.pem", &Authority::new().pem());
            } else {
                casemate.write("ca.pem", &authority.pem());
            }
            let output = casemate.run(&["pull", &file]).expect(1);
            assert!(words.iter().all(|word| output.stderr.contains(word)), "{words:?} in {output:?}");
            nothing_secret(&format!("{output:?}"));
        }
        let unreadable = format!("[registries.\"{name}\"]\nca = \"/nonexistent/ca.pem\"\n");
        let (file, _) = pull_file(&casemate, &unreadable, &[format!("{name}/team/app@{digest}")]);
        let output = casemate.run(&["pull", &file]).expect(1);
        assert!(output.stderr.contains("/nonexistent/ca.pem") && output.stderr.contains(&name), "{output:?}");
    }

    fn start_with_all_images_present_creates_no_network_socket(mode) {
        let name = "start_with_all_images_present_creates_no_network_socket";
        if !needs(name, &[Feature::Program("/usr/bin/strace")]) {
            return;
        }
        let casemate = Instance::without_cgroup(mode);
        let image = casemate.probe();
        let spec = Spec::new([Container::new("a", &image, 10_001).command(&["true"])]);
        let trace = casemate.trace_up(&spec, "%network,execve");
        assert!(trace.contains("AF_UNIX") && !trace.contains("casemate-fetch"), "{trace}");
        // The one AF_INET socket brings the loopback up in the container's own network namespace; it is never connected.
        let network = |line: &&str| line.contains("AF_INET") && !line.contains("socket(");
        assert_eq!(trace.lines().find(network), None, "{trace}");
    }
}

both_modes! {
    fn pushed_image_is_read_by_skopeo_and_pulled_again(mode) {
        if !is_there("pushed_image_is_read_by_skopeo_and_pulled_again") {
            return;
        }
        for access in [Access::Basic, Access::Token] {
            let casemate = Instance::new(mode);
            let authority = Authority::new();
            let registry = Registry::start(&casemate.scratch("registry"), &authority, access);
            let name = registry.name();
            let packed = casemate.probe();
            let ports = registry.tokens.as_ref().map_or(String::new(), |tokens| format!("ports = [{}]\n", tokens.port()));
            let head = table(&casemate, &name, &authority, &format!("{ports}{}", login(&casemate, &name, PASSWORD)));
            let digest = packed.split_once('@').unwrap().1;
            let image = format!("{name}/team/probe:1@{digest}");
            let (file, _) = pull_file(&casemate, &head, std::slice::from_ref(&image));
            let to = format!("{name}/team/probe:1");
            let push = ["image", "push", "probe", &to, "--file", &file];
            let refused = casemate.run(&["image", "push", "probe", &to]).expect(1);
            assert!(refused.stderr.contains(&name), "{refused:?}");
            let pushed = casemate.run(&push).expect(0);
            assert_eq!(pushed.stdout, format!("{image}\n"));
            nothing_secret(&format!("{pushed:?}"));
            // Again: what is there is not sent.
            casemate.run(&push).expect(0);
            assert_eq!(registry.digest("team/probe", "1"), digest);
            let other = Instance::new(mode);
            other.write("ca.pem", &authority.pem());
            other.run(&["pull", &file]).expect(0);
            let wrong = casemate.run(&["image", "push", "none", &to, "--file", &file]).expect(2);
            assert!(wrong.stderr.contains("no image of the store"), "{wrong:?}");
        }
    }
}

/// Files of another machine's: the image has one of them alone.
fn build(casemate: &Instance, machine: &str, text: &str) -> String {
    let root = casemate.rootfs_with_probe(machine);
    fs::write(root.join("text"), text).unwrap();
    format!("{machine}={}", root.display())
}

both_modes! {
    fn index_of_several_platforms_is_pushed_whole(mode) {
        if !is_there("index_of_several_platforms_is_pushed_whole") {
            return;
        }
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let registry = Registry::start(&casemate.scratch("registry"), &authority, Access::Basic);
        let name = registry.name();
        let head = table(&casemate, &name, &authority, &login(&casemate, &name, PASSWORD));
        let machines = ["amd64", "arm64", "riscv64"];
        let builds = machines.map(|machine| build(&casemate, machine, machine));
        let out = casemate.scratch("out");
        let layout = out.join("app");
        let archive = out.join("app.tar");
        let mut pins = Vec::new();
        for output in [&layout, &archive] {
            let mut words = vec!["image", "pack", "--name", "app:1", "--entrypoint", "/probe", "--output"];
            words.push(output.to_str().unwrap());
            words.extend(builds.iter().flat_map(|build| ["--platform", build]));
            // Making images needs no instance.
            let mut command = Command::new(place::program("casemate"));
            command.args(words);
            let packed = finish(command, poll::PATIENCE).expect(0).stdout;
            pins.push(packed.trim().split_once('@').unwrap().1.to_owned());
        }
        assert_eq!(pins[0], pins[1], "the same input, the same digest");
        let digest = &pins[0];
        let image = format!("{name}/team/app:1@{digest}");
        let (file, spec) = pull_file(&casemate, &head, std::slice::from_ref(&image));
        let to = format!("{name}/team/app:1");
        for from in [&archive, &layout] {
            let push = ["image", "push", "app:1", &to, "--from", from.to_str().unwrap(), "--file", &file];
            assert_eq!(casemate.run(&push).expect(0).stdout, format!("{image}\n"));
        }
        // Others see the same index, and in it an image for each.
        assert_eq!(&registry.digest("team/app", "1"), digest);
        let architectures = registry.architectures("team/app", "1");
        assert_eq!(architectures, machines);
        // What is pulled is this machine's.
        casemate.run(&["pull", &file]).expect(0);
        casemate.up(&spec).finish().expect(0);
        let texts: Vec<String> = fs::read_dir(casemate.state().join("layers/sha256"))
            .unwrap()
            .map(|layer| fs::read_to_string(layer.unwrap().path().join("fs/text")).unwrap())
            .collect();
        assert_eq!(texts, [if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }]);
        // A name that it has not, and a blob that is not its own any more.
        let none = casemate.run(&["image", "push", "other", &to, "--from", archive.to_str().unwrap(), "--file", &file]);
        assert!(none.code == 2 && none.stderr.contains("app.tar has this name"), "{none:?}");
        let largest = fs::read_dir(layout.join("blobs/sha256")).unwrap().flatten();
        let largest = largest.max_by_key(|blob| blob.metadata().unwrap().len()).unwrap().path();
        let mut bytes = fs::read(&largest).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&largest, bytes).unwrap();
        let elsewhere = format!("{name}/team/other:1");
        let damaged =
            casemate.run(&["image", "push", "app:1", &elsewhere, "--from", layout.to_str().unwrap(), "--file", &file]);
        assert!(damaged.code != 0 && damaged.stderr.contains(&name), "{damaged:?}");
        let packed = |words: &[&str]| casemate.run(&[&["image", "pack"][..], words].concat()).expect(2).stderr;
        for words in [
            &["--platform", &builds[0]][..],
            &["--output", "x.tar", "--platform", &builds[0], "--platform", &builds[0]],
            &["--output", "x.tar", "--platform", "amd64"],
            &["--output", "x.tar", "--platform", "AMD64=x"],
            &["--output", "x.tar", "--platform", &builds[0], "--arch", "arm64"],
        ] {
            assert!(packed(words).contains("platform") || packed(words).contains("--output"), "{words:?}");
        }
    }
}

/// Debian's nginx as an image that the README's file can run: its configuration needs nothing but /tmp.
fn nginx_layout(casemate: &Instance) -> PathBuf {
    let rootfs = casemate.scratch("rootfs-nginx");
    let configuration = "worker_processes 1; pid /tmp/nginx.pid; error_log stderr notice;\n\
        events { worker_connections 16; }\n\
        http {\n access_log off; client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy;\n\
        fastcgi_temp_path /tmp/fastcgi; uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;\n\
        server { listen 8080; root /srv; }\n}\n";
    Rootfs::new(&rootfs).program("/usr/sbin/nginx").text("/etc/nginx/nginx.conf", configuration).done();
    let layout = casemate.scratch("layout-nginx");
    let config = json!({ "Env": ["PATH=/usr/sbin:/usr/bin"], "User": "101" });
    oci::layout(&layout, &[oci::layer_of(&rootfs)], &config);
    layout
}

both_modes! {
    fn readme_example_of_nginx_works(mode) {
        let test = "readme_example_of_nginx_works";
        if !is_there(test) || !needs(test, &[Feature::Program("/usr/sbin/nginx")]) {
            return;
        }
        let readme = fs::read_to_string(place::repository().join("README.md")).unwrap();
        let section = readme.split("## nginx from a registry\n").nth(1).unwrap();
        let block = |name: &str| section.split(&format!("```{name}\n")).nth(1).unwrap().split("```").next().unwrap();
        let image = block("toml").split("image      = \"").nth(1).unwrap().split('"').next().unwrap();
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let registry = Registry::start(&casemate.scratch("registry"), &authority, Access::Open);
        registry.push(&nginx_layout(&casemate), "nginx", "1");
        let head = table(&casemate, &registry.name(), &authority, "");
        let mut text = block("toml").replace(image, &format!("{}/nginx:1", registry.name()));
        text = text.replace("[containers.nginx]", &format!("{head}[containers.nginx]"));
        // Where the user of the tests cannot have limits, the file has to say so.
        let waiver = casemate.text_of(&Spec::new([Container::new("nginx", "x", 1)]));
        if let Some((_, waiver)) = waiver.split_once("[[waivers]]") {
            text.push_str(&format!("[[waivers]]{waiver}"));
        }
        let file = casemate.write("nginx.toml", &text);
        if let (uid, Some(gid)) = mode.other_user() {
            chown(&file, Some(uid), Some(gid)).unwrap();
        }
        let mut lines: Vec<&str> = block("").lines().filter_map(|line| line.strip_prefix("$ casemate ")).collect();
        assert_eq!(lines, ["lock nginx.toml", "pull nginx.toml", "up nginx.toml"]);
        let words = |line: &str| line.split(' ').next().unwrap().to_owned();
        let last = words(lines.pop().unwrap());
        for line in lines {
            casemate.run(&[&words(line), &file]).expect(0);
        }
        drop(registry);
        let mut up = Up::start(casemate.in_cgroup(&[&last, &file]));
        up.until_line("start worker process");
        up.signal(Signal::INT);
        up.finish();
    }
}

/// systemd's part of casemate-fetch.socket, `Accept=yes`: a process for each connection, which finds it under descriptor 3.
#[test]
fn pull_uses_casemate_fetch_socket() {
    let test = "pull_uses_casemate_fetch_socket";
    if !is_there(test) || !needs(test, &[Feature::Root]) {
        return;
    }
    let casemate = Instance::new(Mode::Root);
    let authority = Authority::new();
    let registry = Registry::start(&casemate.scratch("registry"), &authority, Access::Open);
    let (layout, digest) = probe_layout(&casemate, &probe_layer(&casemate), "one", "one");
    registry.push(&layout, "team/app", "1");
    let name = registry.name();
    let head = table(&casemate, &name, &authority, "");
    let (file, _) = pull_file(&casemate, &head, &[format!("{name}/team/app@{digest}")]);
    let socket = casemate.scratch("run-fetch").join("fetch.sock");
    let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::bind(&listener, &SocketAddrUnix::new(&socket).unwrap()).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&socket, Some(1_879_048_192), Some(1_879_048_192)).unwrap();
    rustix::net::listen(&listener, 16).unwrap();
    let started = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&started);
    std::thread::spawn(move || {
        while let Ok(connection) = rustix::net::accept(&listener) {
            count.fetch_add(1, Ordering::SeqCst);
            let mut child = Command::new("/bin/sh")
                .args(["-c", "exec 3<&0 </dev/null; exec \"$0\""])
                .arg(place::program("casemate-fetch"))
                .env_clear()
                .env("LISTEN_FDS", "1")
                .stdin(connection)
                .stdout(Stdio::null())
                .uid(65_001)
                .gid(65_001)
                .spawn()
                .unwrap();
            std::thread::spawn(move || child.wait());
        }
    });
    casemate.run(&["pull", &file]).expect(0);
    assert_eq!(started.load(Ordering::SeqCst), 3);
    // A socket that others could have placed is none of systemd's.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = casemate.run(&["pull", &file]).expect(1);
    assert!(refused.stderr.contains("casemate-fetch.socket"), "{refused:?}");
}

#[test]
fn pull_without_a_file_names_the_file_it_uses() {
    let casemate = Instance::new(Mode::User);
    let mut command = casemate.command(&["pull"]);
    command.current_dir(casemate.directory());
    let none = finish(command, poll::PATIENCE);
    if Path::new("/etc/casemate/casemate.toml").exists() {
        return;
    }
    assert!(none.code == 2 && none.stderr.contains("/etc/casemate/casemate.toml"), "{none:?}");
    casemate.write("casemate.toml", "schema = 1\n");
    let mut command = casemate.command(&["pull"]);
    command.current_dir(casemate.directory());
    let found = finish(command, poll::PATIENCE).expect(3);
    assert!(found.stderr.contains("the file is casemate.toml"), "{found:?}");
}
