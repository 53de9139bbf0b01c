//! OCI layouts written by hand: what an image tool would not make, made on purpose.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// sha256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A directory as an uncompressed layer, every entry root's, extended attributes included.
pub fn layer_of(directory: &Path) -> Vec<u8> {
    let output = Command::new("tar")
        .args(["--create", "--numeric-owner", "--owner=0", "--group=0", "--sort=name", "--mtime=@0"])
        .args(["--xattrs", "--xattrs-include=*", "--format=pax", "--directory"])
        .arg(directory)
        .arg(".")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Writes a layout with one image of these layers; `config` is merged into the image's `config` object. Gives its digest.
pub fn layout(directory: &Path, layers: &[Vec<u8>], config: &Value) -> String {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let digest = sha256(bytes);
        fs::write(blobs.join(&digest), bytes).unwrap();
        json!({ "digest": format!("sha256:{digest}"), "size": bytes.len() })
    };
    let described = |kind: &str, mut descriptor: Value| {
        descriptor["mediaType"] = format!("application/vnd.oci.image.{kind}").into();
        descriptor
    };
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let diffs: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", sha256(layer))).collect();
    let image = json!({
        "architecture": architecture, "os": "linux", "config": config,
        "rootfs": { "type": "layers", "diff_ids": diffs },
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("config.v1+json", put(image.to_string().as_bytes())),
        "layers": layers.iter().map(|layer| described("layer.v1.tar", put(layer))).collect::<Vec<_>>(),
    });
    let descriptor = described("manifest.v1+json", put(manifest.to_string().as_bytes()));
    let digest = descriptor["digest"].as_str().unwrap().to_owned();
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor] });
    fs::write(directory.join("index.json"), index.to_string()).unwrap();
    fs::write(directory.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
    readable(directory);
    digest
}

fn readable(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            readable(&entry.path());
        } else {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
}
