//! How registries are reached: proxies, credentials of a unit, indexes of several platforms, docker's own media types, bounds on speed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::registry::auth_file;
use casemate_e2e::web::{Authority, Web, answer, layout};
use casemate_e2e::{Container, Instance, Spec, both_modes, finish, oci, poll};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn image(casemate: &Instance) -> (PathBuf, String) {
    let rootfs = casemate.rootfs_with_probe("rootfs");
    let directory = casemate.scratch("layout");
    let digest = oci::layout(&directory, &[oci::layer_of(&rootfs)], &json!({ "Entrypoint": ["/probe"] }));
    (directory, digest)
}

fn file(casemate: &Instance, server: &str, digest: &str, authority: &Authority, more: &str) -> (String, Spec) {
    let ca = casemate.write("ca.pem", &authority.pem());
    let head = format!("[registries.\"{server}\"]\nca = \"{ca}\"\n{more}");
    let container = Container::new("a", &format!("{server}/team/app@{digest}"), 10_001).command(&["true"]);
    let spec = Spec::new([container]).head(&head);
    (casemate.write("pull.toml", &casemate.text_of(&spec)), spec)
}

/// A proxy that knows CONNECT and nothing else; remembers to where.
fn proxy() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&asked);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let list = Arc::clone(&list);
            std::thread::spawn(move || relay(client, &list));
        }
    });
    (port, asked)
}

fn relay(mut client: TcpStream, list: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let target = head.split(' ').nth(1).unwrap().to_owned();
    list.lock().unwrap().push(head.lines().next().unwrap().to_owned());
    let Ok(mut server) = TcpStream::connect(&target) else { return };
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
    let mut back = server.try_clone().unwrap();
    let mut from = client.try_clone().unwrap();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut reader, &mut server);
        let _ = server.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut back, &mut from);
    let _ = from.shutdown(std::net::Shutdown::Both);
}

fn put(directory: &Path, document: &Value) -> (String, usize) {
    let bytes = document.to_string();
    let hex = oci::sha256(bytes.as_bytes());
    fs::write(directory.join("blobs/sha256").join(&hex), &bytes).unwrap();
    (format!("sha256:{hex}"), bytes.len())
}

both_modes! {
    fn pull_uses_the_proxy_of_the_file(mode) {
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let (directory, digest) = image(&casemate);
        let server = Web::start(Some(&authority), move |asked, out| layout(&directory, asked, out));
        let (port, asked) = proxy();
        let more = format!("proxy = \"http://127.0.0.1:{port}\"\n");
        casemate.run(&["pull", &file(&casemate, &server.name(), &digest, &authority, &more).0]).expect(0);
        let asked = asked.lock().unwrap().clone();
        let connect = format!("CONNECT {} HTTP/1.1", server.name());
        assert!(!asked.is_empty() && asked.iter().all(|line| *line == connect), "{asked:?}");
    }

    fn pull_logs_in_with_a_systemd_credential(mode) {
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let (directory, digest) = image(&casemate);
        let server = Web::start(Some(&authority), move |asked, out| match asked.header("authorization") {
            Some("Basic dTpwdw==") => layout(&directory, asked, out),
            _ => answer(out, "401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", b"{}"),
        });
        let (file, _) = file(&casemate, &server.name(), &digest, &authority, "credential = \"registry-auth\"\n");
        let without = casemate.run(&["pull", &file]).expect(1);
        assert!(without.stderr.contains("LoadCredential=registry-auth"), "{without:?}");
        let directory = casemate.scratch("credentials");
        casemate.write("credentials/registry-auth", &auth_file(&server.name(), "u", "pw"));
        let mut command = casemate.command(&["pull", &file]);
        command.env("CREDENTIALS_DIRECTORY", &directory);
        finish(command, poll::PATIENCE).expect(0);
    }

    fn docker_manifest_list_resolves_to_this_platform(mode) {
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let (directory, digest) = image(&casemate);
        // The same image in docker's words.
        let bytes = fs::read(directory.join("blobs/sha256").join(&digest[7..])).unwrap();
        let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
        manifest["mediaType"] = DOCKER.into();
        manifest["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json".into();
        manifest["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar".into();
        let (own, size) = put(&directory, &manifest);
        let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        let entry = |digest: &str, size: usize, architecture: &str| json!({
            "mediaType": DOCKER, "digest": digest, "size": size,
            "platform": { "os": "linux", "architecture": architecture },
        });
        let other = format!("sha256:{}", "ab".repeat(32));
        let manifests = [entry(&other, 7, "s390x"), entry(&own, size, architecture)];
        let (list, _) = put(&directory, &json!({ "schemaVersion": 2, "mediaType": LIST, "manifests": manifests }));
        let server = Web::start(Some(&authority), move |asked, out| layout(&directory, asked, out));
        let (file, spec) = file(&casemate, &server.name(), &list, &authority, "");
        casemate.run(&["pull", &file]).expect(0);
        assert!(server.asked().iter().all(|asked| !asked.path.contains(&other)), "only what is for this machine");
        drop(server);
        casemate.up(&spec).finish().expect(0);
    }

    fn downloads_respect_max_download_rate(mode) {
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let (directory, digest) = image(&casemate);
        let hex = &digest[7..];
        let manifest: Value = serde_json::from_slice(&fs::read(directory.join("blobs/sha256").join(hex)).unwrap()).unwrap();
        let size = manifest["layers"][0]["size"].as_u64().unwrap();
        let server = Web::start(Some(&authority), move |asked, out| layout(&directory, asked, out));
        let more = format!("[store]\nmax_download_rate = {}\nmax_concurrent_downloads = 1\n", size / 2);
        let began = Instant::now();
        casemate.run(&["pull", &file(&casemate, &server.name(), &digest, &authority, &more).0]).expect(0);
        assert!(began.elapsed() >= Duration::from_millis(1800), "{:?}", began.elapsed());
    }
}
