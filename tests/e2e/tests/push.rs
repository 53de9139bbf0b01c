//! Pushing to registries that are not as the others, and of what is not as it says: the tests of a push that goes well are those of
//! a real registry.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::web::{Asked, Authority, Web, answer};
use casemate_e2e::{Container, Instance, Spec, both_modes, oci};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A layout of one small image, the image's digest, and its layer's file.
fn image(casemate: &Instance) -> (PathBuf, String, PathBuf) {
    let content = casemate.scratch("content");
    fs::write(content.join("text"), "text").unwrap();
    let directory = casemate.scratch("layout");
    let digest = oci::layout(&directory, &[oci::layer_of(&content)], &json!({}));
    let blob = |digest: &str| directory.join("blobs/sha256").join(&digest[7..]);
    let manifest: Value = serde_json::from_slice(&fs::read(blob(&digest)).unwrap()).unwrap();
    let layer = blob(manifest["layers"][0]["digest"].as_str().unwrap());
    (directory, digest, layer)
}

/// A registry that takes everything, but for what `first` answers.
fn registry(
    authority: &Authority,
    first: impl Fn(&Asked, &mut dyn Write) -> Option<bool> + Send + Sync + 'static,
) -> Web {
    Web::start(Some(authority), move |asked, out| {
        first(asked, out).unwrap_or_else(|| match asked.method.as_str() {
            "HEAD" => out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").is_ok(),
            "POST" => answer(out, "202 Accepted", "Location: /upload\r\n", b""),
            _ => answer(out, "201 Created", "", b""),
        })
    })
}

/// The arguments of a push of a layout.
fn push(casemate: &Instance, server: &Web, authority: &Authority, from: &Path, digest: &str) -> Vec<String> {
    let ca = casemate.write("ca.pem", &authority.pem());
    let to = format!("{}/team/app:1", server.name());
    let head = format!("[registries.\"{}\"]\nca = \"{ca}\"\n", server.name());
    let spec = Spec::new([Container::new("a", &format!("{to}@{digest}"), 10_001)]).head(&head);
    let file = casemate.write("push.toml", &casemate.text_of(&spec));
    let from = from.display().to_string();
    ["image", "push", digest, &to, "--from", &from, "--file", &file].map(str::to_owned).into()
}

fn count(server: &Web, method: &str) -> usize {
    server.asked().iter().filter(|asked| asked.method == method).count()
}

both_modes! {
    fn push_refuses_blobs_of_another_length(mode) {
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let (directory, digest, layer) = image(&casemate);
        let whole = fs::read(&layer).unwrap();
        let server = registry(&authority, |_, _| None);
        let arguments = push(&casemate, &server, &authority, &directory, &digest);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        for bytes in [whole[..whole.len() - 1].to_vec(), [&whole[..], b"x"].concat(), Vec::new()] {
            fs::write(&layer, &bytes).unwrap();
            let output = casemate.run(&arguments).expect(4);
            let words = format!("expected {} bytes, found {}", whole.len(), bytes.len());
            assert!(output.stderr.contains(&words), "{output:?}");
        }
        assert_eq!((count(&server, "POST"), count(&server, "PUT")), (0, 0));
        fs::write(&layer, &whole).unwrap();
        casemate.run(&arguments).expect(0);
        assert_eq!((count(&server, "POST"), count(&server, "PUT")), (2, 3));
        // The same of the store's own.
        casemate.run(&["image", "import", &directory.display().to_string(), "--name", "app:1"]).expect(0);
        let stored = casemate.state().join("blobs/sha256").join(layer.file_name().unwrap());
        fs::File::options().write(true).open(&stored).unwrap().set_len(whole.len() as u64 / 2).unwrap();
        let to = arguments[3];
        let file = arguments[7];
        let output = casemate.run(&["image", "push", "app:1", to, "--file", file]).expect(4);
        assert!(output.stderr.contains("its bytes have changed"), "{output:?}");
        assert_eq!((count(&server, "POST"), count(&server, "PUT")), (2, 3));
    }

    fn push_accepts_blobs_redirected_to_an_object_storage(mode) {
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let (directory, digest, _) = image(&casemate);
        let server = registry(&authority, |asked, out| {
            let has = asked.method == "HEAD" && asked.path.contains("/blobs/");
            let head = "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://storage.example/x\r\nContent-Length: 0\r\n\r\n";
            has.then(|| out.write_all(head.as_bytes()).is_ok())
        });
        let arguments = push(&casemate, &server, &authority, &directory, &digest);
        casemate.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).expect(0);
        assert_eq!((count(&server, "POST"), count(&server, "PUT")), (0, 1), "{:?}", server.asked());
    }

    fn threat_16_and_17_uploads_go_to_allowed_addresses_only(mode) {
        let casemate = Instance::new(mode);
        let authority = Authority::new();
        let (directory, digest, _) = image(&casemate);
        for (location, words) in [
            ("http://127.0.0.1:1/upload", "without TLS"),
            ("https://169.254.169.254/upload", "private network"),
            ("file:///etc/passwd", "neither http nor https"),
        ] {
            let server = registry(&authority, move |asked, out| {
                let begins = asked.method == "POST";
                begins.then(|| answer(out, "202 Accepted", &format!("Location: {location}\r\n"), b""))
            });
            let arguments = push(&casemate, &server, &authority, &directory, &digest);
            let output = casemate.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).expect(1);
            assert!(output.stderr.contains(words), "{output:?}");
            assert_eq!(count(&server, "PUT"), 0);
        }
    }
}
