//! Registries that lie, stall, send us elsewhere or never end: each ends in an error that names it, within its time, and the store
//! stays as it was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::registry::auth_file;
use casemate_e2e::web::{Asked, Authority, Web, answer, layout};
use casemate_e2e::{Container, Instance, Mode, Output, Spec, Up, both_modes, host, oci, poll};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const SECRET: &str = "hunter2-of-a-test";

/// A layout of one image with the probe in it.
fn image(casemate: &Instance) -> (PathBuf, String) {
    let rootfs = casemate.rootfs_with_probe("rootfs");
    let directory = casemate.scratch("layout");
    let digest = oci::layout(&directory, &[oci::layer_of(&rootfs)], &json!({ "Entrypoint": ["/probe"] }));
    (directory, digest)
}

/// The digest of a layout's only layer.
fn layer(layout: &Path, manifest: &str) -> String {
    let hex = manifest.strip_prefix("sha256:").unwrap();
    let manifest: Value = serde_json::from_slice(&fs::read(layout.join("blobs/sha256").join(hex)).unwrap()).unwrap();
    manifest["layers"][0]["digest"].as_str().unwrap().to_owned()
}

/// A file that wants one image from this server, which has a login there.
fn file(casemate: &Instance, server: &str, digest: &str, authority: &Authority, more: &str) -> String {
    let ca = casemate.write("ca.pem", &authority.pem());
    let auth = casemate.write("auth.json", &auth_file(server, "u", SECRET));
    let head = format!("[registries.\"{server}\"]\nca = \"{ca}\"\nauth_file = \"{auth}\"\n{more}");
    let image = format!("{server}/team/app@{digest}");
    let spec = Spec::new([Container::new("a", &image, 10_001).command(&["true"])]).head(&head);
    casemate.write("pull.toml", &casemate.text_of(&spec))
}

/// Pulls from a hostile registry: no secret is printed and nothing is imported.
fn refused(casemate: &Instance, file: &str, code: i32, words: &[&str]) -> Output {
    let output = casemate.run(&["pull", file]).expect(code);
    assert!(words.iter().all(|word| output.stderr.contains(word)), "{words:?} in {output:?}");
    assert!(!format!("{output:?}").contains(SECRET), "{output:?}");
    assert_eq!(casemate.run(&["image", "ls", "--json"]).expect(0).stdout.trim(), "[]");
    output
}

/// An answer that never ends, or not before the test does.
fn endless(out: &mut dyn Write, head: &str, piece: &[u8]) -> bool {
    let open = out.write_all(head.as_bytes()).is_ok();
    let end = Instant::now() + Duration::from_secs(120);
    while open && Instant::now() < end && out.write_all(piece).is_ok() {}
    false
}

/// An image whose server answers one kind of request wrong, knowing the right answer, and all others right.
fn with(
    mode: Mode,
    to: &'static str,
    wrong: impl Fn(&Asked, Vec<u8>, &mut dyn Write) -> bool + Send + Sync + 'static,
    code: i32,
    words: &[&str],
) {
    let casemate = Instance::new(mode);
    let authority = Authority::new();
    let (directory, digest) = image(&casemate);
    let target = layer(&directory, &digest);
    let server = Web::start(Some(&authority), move |asked, out| {
        let hit = match to {
            "layer" => asked.path.ends_with(&target),
            part => asked.path.contains(part),
        };
        let mut right = Vec::new();
        layout(&directory, asked, &mut right);
        if hit { wrong(asked, right, out) } else { out.write_all(&right).is_ok() }
    });
    let file = file(&casemate, &server.name(), &digest, &authority, "");
    let began = Instant::now();
    let output = refused(&casemate, &file, code, words);
    assert!(output.stderr.contains(&server.name()), "{output:?}");
    assert!(began.elapsed() < Duration::from_secs(55), "{:?}", began.elapsed());
    // casemate-fetch has not grown, and nothing is left that would be taken for a blob.
    let blobs = casemate.state().join("blobs/sha256");
    let left = fs::read_dir(blobs)
        .map_or(0, |entries| entries.flatten().filter(|entry| entry.metadata().unwrap().len() > 1 << 20).count());
    assert_eq!(left, 0);
}

both_modes! {
    fn threat_17_endless_body_is_cut_at_the_pinned_size(mode) {
        with(mode, "layer", |_, _, out| endless(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", &[7; 65_536]), 4, &["more than the", "expected"]);
        with(mode, "manifests", |_, _, out| endless(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", &[b' '; 65_536]), 4, &["a document of more"]);
    }

    fn threat_17_wrong_content_length_is_refused(mode) {
        with(mode, "layer", |_, _, out| answer(out, "200 OK", "", b"short"), 4, &["it sends 5 bytes", "are expected"]);
        with(mode, "manifests", |_, _, out| endless(out, "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n", &[b' '; 65_536]), 4, &["a document of 1073741824 bytes"]);
    }

    fn threat_14_and_17_bytes_with_another_digest_are_refused(mode) {
        with(mode, "layer", |_, mut right, out| {
            *right.last_mut().unwrap() ^= 1;
            out.write_all(&right).is_ok()
        }, 4, &["expected sha256:", "found sha256:"]);
        with(mode, "manifests", |_, _, out| answer(out, "200 OK", &format!("Content-Type: {MANIFEST}\r\n"), b"{}"), 4, &["expected sha256:", "found sha256:"]);
    }

    fn threat_14_and_17_document_of_another_kind_is_refused(mode) {
        // The pinned bytes, called something else.
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let (directory, digest) = image(&casemate);
        for (kind, words) in [
            (INDEX, "the document says"),
            ("application/vnd.docker.distribution.manifest.list.v2+json", "the document says"),
        ] {
            let directory = directory.clone();
            let server = Web::start(Some(&authority), move |asked, out| {
                if !asked.path.contains("/manifests/") {
                    return layout(&directory, asked, out);
                }
                let hex = asked.path.rsplit_once("sha256:").unwrap().1;
                let bytes = fs::read(directory.join("blobs/sha256").join(hex)).unwrap();
                answer(out, "200 OK", &format!("Content-Type: {kind}\r\n"), &bytes)
            });
            refused(&casemate, &file(&casemate, &server.name(), &digest, &authority, ""), 4, &[words]);
        }
    }

    fn threat_17_index_that_points_to_an_index_is_refused(mode) {
        // A digest cannot be known to its own document, so the entry names another index.
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        let entry = |digest: &str, size: usize| json!({
            "mediaType": INDEX, "digest": digest, "size": size,
            "platform": { "os": "linux", "architecture": architecture },
        });
        let index = |entry: Value| json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string();
        let inner = index(entry(&format!("sha256:{}", "00".repeat(32)), 2));
        let outer = index(entry(&format!("sha256:{}", oci::sha256(inner.as_bytes())), inner.len()));
        let digest = format!("sha256:{}", oci::sha256(outer.as_bytes()));
        let server = Web::start(Some(&authority), move |_, out| {
            answer(out, "200 OK", &format!("Content-Type: {INDEX}\r\n"), outer.as_bytes())
        });
        refused(&casemate, &file(&casemate, &server.name(), &digest, &authority, ""), 4, &["an index inside an index"]);
        assert_eq!(server.asked().len(), 1);
    }

    fn threat_14_index_with_a_wrong_size_is_refused(mode) {
        // The entry's digest is right.
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let (directory, digest) = image(&casemate);
        let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        let size = fs::metadata(directory.join("blobs/sha256").join(&digest[7..])).unwrap().len();
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [{
            "mediaType": MANIFEST, "digest": digest, "size": size + 1,
            "platform": { "os": "linux", "architecture": architecture },
        }] }).to_string();
        let pin = format!("sha256:{}", oci::sha256(index.as_bytes()));
        let top = pin.clone();
        let server = Web::start(Some(&authority), move |asked, out| {
            if asked.path.ends_with(&top) {
                answer(out, "200 OK", &format!("Content-Type: {INDEX}\r\n"), index.as_bytes())
            } else {
                layout(&directory, asked, out)
            }
        });
        let words = format!("expected {} bytes, found {size}", size + 1);
        refused(&casemate, &file(&casemate, &server.name(), &pin, &authority, ""), 4, &[&words]);
    }

    fn threat_17_one_byte_per_connection_ends(mode) {
        with(mode, "layer", |_, right, out| {
            let head = right.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let _ = out.write_all(&right[..=head]);
            false
        }, 1, &["receive"]);
    }

    fn waiting_pull_ends_on_a_signal(mode) {
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let (directory, digest) = image(&casemate);
        let stalls = Arc::new(AtomicUsize::new(1));
        let rows = directory.clone();
        let stall = Arc::clone(&stalls);
        let server = Web::start(Some(&authority), move |asked, out| {
            if stall.swap(0, Ordering::SeqCst) == 1 {
                // Longer than the test waits for the end.
                std::thread::sleep(Duration::from_secs(20));
            }
            layout(&rows, asked, out)
        });
        let slow = file(&casemate, &server.name(), &digest, &authority, "[store]\nmax_download_rate = \"1KiB\"\n");
        let ends = |until: &dyn Fn(&mut Up)| {
            let mut pull = Up::start(casemate.command(&["pull", &slow]));
            until(&mut pull);
            pull.signal(Signal::INT);
            let output = pull.wait(Duration::from_secs(10)).expect(1);
            assert!(output.stderr.contains("the next pull continues from here"), "{output:?}");
        };
        ends(&|_| poll::until("the first request", || (!server.asked().is_empty()).then_some(())));
        let target = layer(&directory, &digest);
        let began = || server.asked().iter().any(|asked| asked.path.ends_with(&target)).then_some(());
        ends(&|_| poll::until("the request for the layer", began));
        let images = fs::File::open(casemate.state().join("images")).unwrap();
        rustix::fs::flock(&images, rustix::fs::FlockOperation::LockExclusive).unwrap();
        ends(&|pull| drop(pull.until_line("waiting")));
    }

    fn threat_17_endless_header_is_refused(mode) {
        with(mode, "manifests", |_, _, out| {
            let line = format!("X-Filler: {}\r\n", "a".repeat(1000));
            let sent = out.write_all(b"HTTP/1.1 200 OK\r\n").is_ok() && (0..10_000).all(|_| out.write_all(line.as_bytes()).is_ok());
            let _ = sent;
            false
        }, 1, &["request:"]);
    }

    fn threat_17_redirects_are_bounded_and_lead_to_no_file_or_private_address(mode) {
        let to = |location: &'static str| move |_: &Asked, _: Vec<u8>, out: &mut dyn Write| {
            answer(out, "307 Temporary Redirect", &format!("Location: {location}\r\n"), b"")
        };
        with(mode, "layer", to("/v2/team/app/blobs/again"), 1, &["HTTP status 404"]);
        with(mode, "blobs", |asked: &Asked, _: Vec<u8>, out: &mut dyn Write| {
            let location = format!("Location: {}x\r\n", asked.path);
            answer(out, "302 Found", &location, b"")
        }, 1, &["follow a redirect", "more than 5 redirects"]);
        with(mode, "layer", to("file:///etc/passwd"), 1, &["follow a redirect", "neither http nor https"]);
        with(mode, "layer", to("http://127.0.0.1:1/x"), 1, &["follow a redirect", "without TLS"]);
        with(mode, "layer", to("https://user:word@127.0.0.1/x"), 1, &["a URL with a user in it"]);
        with(mode, "layer", to("https://169.254.169.254/latest/meta-data"), 1, &["169.254.169.254", "private network"]);
    }

    fn threat_16_login_is_sent_to_no_other_server(mode) {
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let (directory, digest) = image(&casemate);
        let storage_directory = directory.clone();
        let storage = Web::start(Some(&authority), move |asked, out| layout(&storage_directory, asked, out));
        let elsewhere = storage.name();
        let server = Web::start(Some(&authority), move |asked, out| {
            if asked.header("authorization").is_none() {
                answer(out, "401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", b"{}")
            } else if asked.path.contains("/blobs/") {
                let location = format!("Location: https://{elsewhere}{}\r\n", asked.path);
                answer(out, "307 Temporary Redirect", &location, b"")
            } else {
                layout(&directory, asked, out)
            }
        });
        let ports = format!("ports = [{}]\n", storage.port());
        casemate.run(&["pull", &file(&casemate, &server.name(), &digest, &authority, &ports)]).expect(0);
        assert!(server.asked().iter().any(|asked| asked.header("authorization").is_some()));
        let there = storage.asked();
        assert!(there.len() >= 2 && there.iter().all(|asked| asked.header("authorization").is_none()), "{there:?}");
    }

    fn threat_16_login_of_a_path_is_sent_for_no_other_path(mode) {
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let (directory, digest) = image(&casemate);
        // base64 of `team:pw`, `app:pw`, `host:pw`.
        let logins = [("team", "dGVhbTpwdw=="), ("team/app", "YXBwOnB3"), ("", "aG9zdDpwdw==")];
        // Each of these has its own, and casemate-fetch its bound of memory.
        let many: Vec<String> = (0..60).map(|number| format!("many/r{number}")).collect();
        let server = Web::start(Some(&authority), move |asked, out| match asked.header("authorization") {
            Some(_) => layout(&directory, asked, out),
            None => answer(out, "401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", b"{}"),
        });
        let name = server.name();
        let own = many.iter().map(|path| (format!("{name}/{path}"), json!({ "username": path, "password": "pw" })));
        let auths: serde_json::Map<String, Value> = logins
            .map(|(path, auth)| (format!("{name}/{path}").trim_end_matches('/').to_owned(), json!({ "auth": auth })))
            .into_iter()
            .chain(own)
            .collect();
        let auth = casemate.write("auth.json", &json!({ "auths": auths }).to_string());
        let ca = casemate.write("ca.pem", &authority.pem());
        let head = format!("[registries.\"{name}\"]\nca = \"{ca}\"\nauth_file = \"{auth}\"\n");
        let repositories = ["team/x", "team/app", "team/app/y", "other"].into_iter().chain(many.iter().map(String::as_str));
        let containers = repositories.enumerate().map(|(number, repository)| {
            let user = 10_001 + u32::try_from(number).unwrap();
            Container::new(&format!("c{number}"), &format!("{name}/{repository}@{digest}"), user).command(&["true"])
        });
        let file = casemate.write("pull.toml", &casemate.text_of(&Spec::new(containers).head(&head)));
        casemate.run(&["pull", &file]).expect(0);
        for (repository, login) in [("team/x", 0), ("team/app", 1), ("team/app/y", 1), ("other", 2)] {
            let asked = server.asked();
            let prefixes = ["manifests", "blobs"].map(|kind| format!("/v2/{repository}/{kind}/"));
            let sent: Vec<&str> = asked
                .iter()
                .filter(|asked| prefixes.iter().any(|prefix| asked.path.starts_with(prefix)))
                .filter_map(|asked| asked.header("authorization"))
                .collect();
            let expected = format!("Basic {}", logins[login].1);
            assert!(!sent.is_empty() && sent.iter().all(|sent| *sent == expected), "{repository}: {sent:?}");
        }
    }

    fn threat_16_registry_without_tls_cannot_name_a_token_server_elsewhere(mode) {
        let casemate = Instance::new(mode);
        let (_, digest) = image(&casemate);
        let thief = Web::start(None, |_, out| answer(out, "200 OK", "", b"{\"token\":\"x\"}"));
        let realm = format!("http://localhost:{}/token", thief.port());
        let server = Web::start(None, move |_, out| {
            answer(out, "401 Unauthorized", &format!("WWW-Authenticate: Bearer realm=\"{realm}\"\r\n"), b"{}")
        });
        let more = format!("insecure = true\nports = [{}]\n", thief.port());
        refused(&casemate, &file(&casemate, &server.name(), &digest, &Authority::new(), &more), 1, &["log in", "on the same host"]);
        assert_eq!(thief.asked().len(), 0);
    }

    fn pull_retries_busy_servers_and_resumes_broken_connections(mode) {
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let (directory, digest) = image(&casemate);
        let target = layer(&directory, &digest);
        let turn = AtomicUsize::new(0);
        let server = Web::start(Some(&authority), move |asked, out| {
            if !asked.path.ends_with(&target) {
                return layout(&directory, asked, out);
            }
            match turn.fetch_add(1, Ordering::SeqCst) {
                0 => answer(out, "429 Too Many Requests", "Retry-After: 1\r\n", b""),
                1 => answer(out, "503 Service Unavailable", "", b""),
                2 | 3 => {
                    // The head of the right answer, a part of its body, and then nothing more.
                    let mut whole = Vec::new();
                    layout(&directory, asked, &mut whole);
                    let _ = out.write_all(&whole[..1_500_000]);
                    let _ = out.flush();
                    false
                }
                _ => layout(&directory, asked, out),
            }
        });
        casemate.run(&["pull", &file(&casemate, &server.name(), &digest, &authority, "")]).expect(0);
        let ranges: Vec<String> = server.asked().iter().filter_map(|asked| asked.header("range").map(str::to_owned)).collect();
        assert_eq!(ranges.len(), 2, "{ranges:?}");
        assert!(ranges[0] < ranges[1], "{ranges:?}");
    }

    fn mirrors_are_tried_in_order_and_their_bytes_verified(mode) {
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let (directory, digest) = image(&casemate);
        let liar_directory = directory.clone();
        let target = layer(&directory, &digest);
        let liar = Web::start(Some(&authority), move |asked, out| {
            let asked = Asked { path: asked.path.replace("/cache/", "/"), ..asked.clone() };
            if !asked.path.ends_with(&target) {
                return layout(&liar_directory, &asked, out);
            }
            let mut whole = Vec::new();
            layout(&liar_directory, &asked, &mut whole);
            *whole.last_mut().unwrap() ^= 1;
            out.write_all(&whole).is_ok()
        });
        let server = Web::start(Some(&authority), move |asked, out| layout(&directory, asked, out));
        let ca = casemate.write("ca.pem", &authority.pem());
        // No server listens at the first address.
        let head = format!(
            "mirrors = [\"https://127.0.0.1:1\", \"https://{0}/cache\"]\n[registries.\"{0}\"]\nca = \"{ca}\"\n",
            liar.name()
        );
        casemate.run(&["pull", &file(&casemate, &server.name(), &digest, &authority, &head)]).expect(0);
        assert!(liar.asked().iter().all(|asked| asked.path.starts_with("/v2/cache/team/app/")));
        let asked: Vec<String> = server.asked().iter().map(|asked| asked.path.clone()).collect();
        assert!(asked.len() == 1 && asked[0].contains("/blobs/"), "only what the mirror had wrong: {asked:?}");
        // What was meant for the registry is not for its mirror.
        assert!(liar.asked().iter().all(|asked| asked.header("authorization").is_none()));
    }

    fn pull_resumes_after_sigkill(mode) {
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let (directory, digest) = image(&casemate);
        let target = layer(&directory, &digest);
        let size = fs::metadata(directory.join("blobs/sha256").join(&target[7..])).unwrap().len();
        let served = Arc::new(Mutex::new(0u64));
        let counted = Arc::clone(&served);
        let server = Web::start(Some(&authority), move |asked, out| {
            if !asked.path.ends_with(&target) {
                return layout(&directory, asked, out);
            }
            let mut whole = Vec::new();
            layout(&directory, asked, &mut whole);
            // Slowly, so that there is a middle to be killed in.
            for piece in whole.chunks(256 * 1024) {
                if out.write_all(piece).and_then(|()| out.flush()).is_err() {
                    return false;
                }
                *counted.lock().unwrap() += piece.len() as u64;
                std::thread::sleep(Duration::from_millis(100));
            }
            true
        });
        let file = file(&casemate, &server.name(), &digest, &authority, "");
        let mut killed = 0;
        for round in 0..8 {
            let mut pull = Up::start(casemate.command(&["pull", &file]));
            std::thread::sleep(Duration::from_millis(120 + 60 * round));
            if pull.has_ended() {
                break;
            }
            killed += 1;
            pull.signal(if round % 3 == 2 { Signal::INT } else { Signal::KILL });
            let output = pull.finish();
            if output.code == 1 {
                assert!(output.stderr.contains("the next pull continues from here"), "{output:?}");
            }
            assert_eq!(casemate.run(&["image", "ls", "--json"]).expect(0).code, 0);
        }
        assert!(killed > 4, "only {killed} of 8 were killed in their work");
        casemate.run(&["pull", &file]).expect(0);
        let all = *served.lock().unwrap();
        assert!(all < 4 * size, "{all} bytes were sent for a blob of {size}: nothing was resumed");
        let ranges = server.asked().iter().filter(|asked| asked.header("range").is_some()).count();
        assert!(ranges > 0);
    }

    fn fetch_program_can_only_download_and_upload(mode) {
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let (directory, digest) = image(&casemate);
        let target = layer(&directory, &digest);
        let (open, wait) = std::sync::mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let server = Web::start(Some(&authority), move |asked, out| {
            if asked.path.ends_with(&target) {
                let _ = wait.lock().unwrap().recv_timeout(Duration::from_secs(20));
            }
            layout(&directory, asked, out)
        });
        let pull = Up::start(casemate.command(&["pull", &file(&casemate, &server.name(), &digest, &authority, "")]));
        poll::until("the request for the layer", || server.asked().iter().any(|asked| asked.path.contains("/blobs/") && server.asked().len() >= 3).then_some(()));
        let fetch: Vec<_> = host::descendants(&[pull.pid()]).into_iter().filter(|process| process.name.starts_with("casemate-fetch")).collect();
        assert_eq!(fetch.len(), 3, "{fetch:?}");
        for process in &fetch {
            assert_eq!(process.arguments.len(), 1, "{process:?}");
            assert_eq!((process.field("NoNewPrivs"), process.field("Seccomp")), ("1", "2"));
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                assert_eq!(process.field(set), "0000000000000000", "{set}");
            }
            let expected = if mode == Mode::Root { 1_879_048_194 } else { mode.other_user().0 };
            assert!(process.uids.iter().all(|uid| *uid == expected), "{process:?}");
            let peak: u64 = process.field("VmHWM").trim_end_matches(" kB").trim().parse().unwrap();
            assert!(peak <= 32 * 1024, "{peak} KiB");
            let size: u64 = process.field("VmPeak").trim_end_matches(" kB").trim().parse().unwrap();
            assert!(size <= 32 * 1024, "{size} KiB");
            if casemate_e2e::needs("fetch_program_can_only_download_and_upload", &[casemate_e2e::Feature::Root]) {
                let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap();
                assert!(environment.is_empty());
                let files = fs::read_dir(format!("/proc/{}/fd", process.pid)).unwrap().flatten();
                for target in files.filter_map(|file| fs::read_link(file.path()).ok()) {
                    let target = target.display().to_string();
                    assert!(target == "/dev/null" || target.starts_with("socket:") || target.starts_with("pipe:"), "{target}");
                }
            }
        }
        open.send(()).unwrap();
        pull.finish().expect(0);
    }
}

/// A byte now and then, for twice as long as may be.
fn drip(out: &mut dyn Write, head: &str) -> bool {
    let mut going = out.write_all(head.as_bytes()).is_ok();
    let end = Instant::now() + Duration::from_secs(60);
    while going && Instant::now() < end {
        going = out.write_all(b"x").and_then(|()| out.flush()).is_ok();
        std::thread::sleep(Duration::from_millis(300));
    }
    false
}

/// The token server is the registry's own.
fn wants_a_token(asked: &Asked) -> String {
    format!("WWW-Authenticate: Bearer realm=\"https://{}/token\"\r\n", asked.header("host").unwrap())
}

/// In one mode, as the others of this kind: it takes the time that it takes.
#[test]
fn threat_17_slow_token_is_cut_off() {
    let wrong = |asked: &Asked, _: Vec<u8>, out: &mut dyn Write| {
        if asked.path.starts_with("/token") {
            drip(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        } else {
            answer(out, "401 Unauthorized", &wants_a_token(asked), b"{}")
        }
    };
    with(Mode::User, "", wrong, 1, &["log in", "too slow"]);
}

#[test]
fn threat_17_slow_refusal_is_cut_off() {
    let wrong = |asked: &Asked, _: Vec<u8>, out: &mut dyn Write| {
        if asked.path.starts_with("/token") {
            answer(out, "403 Forbidden", "", b"{}")
        } else {
            drip(out, &format!("HTTP/1.1 401 Unauthorized\r\n{}Connection: close\r\n\r\n", wants_a_token(asked)))
        }
    };
    with(Mode::User, "", wrong, 1, &["the token server refuses the login"]);
}

#[test]
fn threat_17_slow_body_is_cut_off() {
    with(
        Mode::User,
        "layer",
        |_, _, out| drip(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
        1,
        &["receive", "too slow"],
    );
}

/// What expands without end is bounded where it is unpacked: a layer whose digest is right and whose content is a bomb.
#[test]
fn threat_15_and_17_endlessly_expanding_layer_is_refused() {
    use std::process::{Command, Stdio};
    let casemate = Instance::new(Mode::User);
    let authority = Authority::new();
    let mut child = Command::new("gzip").arg("-c1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let zeros = vec![0; 1 << 20];
        for _ in 0..512 {
            input.write_all(&zeros).unwrap();
        }
    });
    let bomb = child.wait_with_output().unwrap().stdout;
    writer.join().unwrap();
    let directory = casemate.scratch("layout");
    let digest = oci::layout(&directory, &[bomb], &json!({}));
    let server = Web::start(Some(&authority), move |asked, out| layout(&directory, asked, out));
    let file = file(&casemate, &server.name(), &digest, &authority, "");
    let output = casemate.run(&["pull", &file]).expect(4);
    assert!(output.stderr.contains("layer sha256:"), "{output:?}");
    assert_eq!(casemate.run(&["image", "ls", "--json"]).expect(0).stdout.trim(), "[]");
}
