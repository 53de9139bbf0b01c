//! Indexes, manifests and configs, valid and invalid: one row a rule, each a change to a document that is valid without it.

use super::config::{self, Config};
use super::error::Error;
use super::manifest::{MAX_LAYERS, MAX_MANIFESTS, parse_index, parse_layout_index, parse_manifest};
use super::media_types::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, OCI_TAR, OCI_TAR_GZIP};
use serde_json::{Value, json};

const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const ARTIFACT: &str = "application/vnd.cncf.helm.config.v1+json";

fn digest(digit: &str) -> String {
    format!("sha256:{}", digit.repeat(64))
}

fn good_manifest() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": { "mediaType": OCI_CONFIG, "size": 7023, "digest": digest("a") },
        "layers": [
            { "mediaType": OCI_TAR_GZIP, "size": 32654, "digest": digest("b") },
            { "mediaType": OCI_TAR, "size": 0, "digest": digest("c") },
        ],
        "annotations": { "com.example.key1": "value1" },
    })
}

fn good_index() -> Value {
    let entry = |digit, architecture| {
        json!({
            "mediaType": OCI_MANIFEST, "size": 7143, "digest": digest(digit),
            "platform": { "architecture": architecture, "os": "linux" },
            "annotations": { "org.opencontainers.image.ref.name": "1.0" },
        })
    };
    json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX,
        "manifests": [entry("d", "amd64"), entry("e", "arm64")],
    })
}

fn good_config() -> Value {
    json!({
        "created": "2026-01-01T00:00:00Z",
        "author": "alice",
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": "alice", "ExposedPorts": { "8080/tcp": {} }, "Env": ["PATH=/bin", "EMPTY=", "X=a=b"],
            "Entrypoint": ["/bin/app"], "Cmd": ["--x"], "Volumes": { "/var/data": {} },
            "WorkingDir": "/home/alice", "Labels": { "a": "b" }, "StopSignal": "SIGQUIT",
        },
        "rootfs": { "type": "layers", "diff_ids": [digest("1"), digest("2")] },
        "history": [{ "empty_layer": true }],
    })
}

/// The document with `value` where a JSON pointer points.
fn with(mut document: Value, pointer: &str, value: Value) -> Vec<u8> {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(object) => drop(object.insert(key.to_owned(), value)),
        Value::Array(array) => array[key.parse::<usize>().unwrap()] = value,
        _ => panic!("{pointer} points nowhere"),
    }
    document.to_string().into_bytes()
}

fn without(mut document: Value, pointer: &str) -> Vec<u8> {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    document.to_string().into_bytes()
}

fn manifest_error(bytes: &[u8]) -> Error {
    parse_manifest(bytes, OCI_MANIFEST).unwrap_err()
}

fn index_error(bytes: &[u8]) -> Error {
    parse_index(bytes, OCI_INDEX).unwrap_err()
}

fn config_of(bytes: &[u8]) -> Result<Config, Error> {
    config::parse(bytes, 2)
}

fn assert_shape(rows: &[(&str, Error)]) {
    for (row, error) in rows {
        assert!(matches!(error, Error::Shape(_)), "{row}: {error:?}");
    }
}

#[test]
fn threat_14_manifest_gives_its_descriptors() {
    let manifest = parse_manifest(good_manifest().to_string().as_bytes(), OCI_MANIFEST).unwrap();
    assert_eq!(manifest.config.digest.to_string(), digest("a"));
    assert_eq!(manifest.layers.iter().map(|layer| layer.size).collect::<Vec<_>>(), [32654, 0]);
}

#[test]
fn threat_14_valid_variants_of_a_manifest_are_parsed() {
    let good = good_manifest;
    for bytes in [
        without(good(), "/mediaType"),
        without(good(), "/annotations"),
        with(good(), "/annotations", Value::Null),
        with(good(), "/subject", good()["config"].clone()),
        with(good(), "/artifactType", json!(OCI_CONFIG)),
        with(good(), "/unknown", json!({ "layers": 1 })),
        with(good(), "/layers/0/urls", json!(["https://example.com/"])),
        with(good(), "/layers/0/annotations", json!({ "a": "b" })),
        with(good(), "/layers/1/digest", json!(digest("b"))),
    ] {
        assert!(parse_manifest(&bytes, OCI_MANIFEST).is_ok(), "{}", String::from_utf8_lossy(&bytes));
    }
    for kind in ["tar", "tar+gzip", "tar+zstd"] {
        let layer = json!(format!("application/vnd.oci.image.layer.v1.{kind}"));
        assert!(parse_manifest(&with(good(), "/layers/0/mediaType", layer), OCI_MANIFEST).is_ok(), "{kind}");
    }
    for kind in ["tar", "tar.gzip", "tar.zstd"] {
        let layer = json!(format!("application/vnd.docker.image.rootfs.diff.{kind}"));
        assert!(parse_manifest(&with(good(), "/layers/0/mediaType", layer), OCI_MANIFEST).is_ok(), "{kind}");
    }
    let docker = with(good(), "/mediaType", json!(DOCKER_MANIFEST));
    assert!(parse_manifest(&docker, DOCKER_MANIFEST).is_ok());
}

#[test]
fn threat_14_media_types_of_document_and_descriptor_must_agree() {
    let kinds = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];
    for descriptor in kinds {
        for document in kinds {
            let manifest = with(good_manifest(), "/mediaType", json!(document));
            let index = with(good_index(), "/mediaType", json!(document));
            let same = descriptor == document;
            assert_eq!(parse_manifest(&manifest, descriptor).is_ok(), same, "{descriptor} {document}");
            assert_eq!(parse_index(&index, descriptor).is_ok(), same, "{descriptor} {document}");
        }
    }
    let silent = without(good_manifest(), "/mediaType");
    assert!(matches!(parse_manifest(&silent, DOCKER_MANIFEST), Err(Error::MediaType { .. })));
    let number = with(good_manifest(), "/mediaType", json!(2));
    assert_shape(&[("number", manifest_error(&number))]);
}

#[test]
fn threat_14_layers_and_manifests_together_are_refused() {
    for (key, value) in [("manifests", json!([])), ("manifests", Value::Null), ("fsLayers", json!([]))] {
        let bytes = with(good_manifest(), &format!("/{key}"), value);
        assert_eq!(manifest_error(&bytes), Error::Ambiguous(key));
    }
    for (key, value) in [("layers", json!([])), ("config", json!({})), ("fsLayers", Value::Null)] {
        let bytes = with(good_index(), &format!("/{key}"), value);
        assert_eq!(index_error(&bytes), Error::Ambiguous(key));
    }
    for key in ["Layers", "LAYERS", "Config", "mediatype", "Manifests", "fslayers"] {
        let bytes = with(good_manifest(), &format!("/{key}"), json!([]));
        assert_eq!(manifest_error(&bytes), Error::LookalikeKey(key.to_owned()));
    }
    for key in ["Digest", "SIZE", "mediatype"] {
        let bytes = with(good_manifest(), &format!("/layers/0/{key}"), json!(1));
        assert_eq!(manifest_error(&bytes), Error::LookalikeKey(key.to_owned()));
    }
}

#[test]
fn threat_14_duplicate_keys_are_refused_in_every_document() {
    let twice = |document: Value, key: &str| {
        let text = document.to_string();
        format!("{{\"{key}\":{},{}", document[key], &text[1..]).into_bytes()
    };
    for key in ["layers", "config", "mediaType", "schemaVersion", "annotations"] {
        assert_eq!(manifest_error(&twice(good_manifest(), key)), Error::DuplicateKey(key.to_owned()));
    }
    assert_eq!(index_error(&twice(good_index(), "manifests")), Error::DuplicateKey("manifests".to_owned()));
    for key in ["rootfs", "config", "author"] {
        assert_eq!(config_of(&twice(good_config(), key)), Err(Error::DuplicateKey(key.to_owned())));
    }
}

#[test]
fn threat_14_artifacts_are_refused() {
    let good = good_manifest;
    for kind in [ARTIFACT, "application/vnd.oci.empty.v1+json", OCI_MANIFEST] {
        let bytes = with(good(), "/config/mediaType", json!(kind));
        assert_eq!(manifest_error(&bytes), Error::NotAnImage(kind.to_owned()));
    }
    let bytes = with(good(), "/artifactType", json!(ARTIFACT));
    assert_eq!(manifest_error(&bytes), Error::NotAnImage(ARTIFACT.to_owned()));
    assert_eq!(manifest_error(&with(good(), "/layers", json!([]))), Error::NoLayers);
    for version in [0, 1, 3] {
        let bytes = with(good(), "/schemaVersion", json!(version));
        assert_eq!(manifest_error(&bytes), Error::SchemaVersion(version));
        let bytes = with(good_index(), "/schemaVersion", json!(version));
        assert_eq!(index_error(&bytes), Error::SchemaVersion(version));
    }
    let layer = good()["layers"][0].clone();
    let many = json!(vec![layer; MAX_LAYERS + 1]);
    assert_eq!(manifest_error(&with(good(), "/layers", many)), Error::TooMany { what: "layers", limit: 500 });
}

#[test]
fn threat_14_foreign_encrypted_and_unknown_layers_are_refused() {
    let error = |kind: &str| manifest_error(&with(good_manifest(), "/layers/0/mediaType", json!(kind)));
    for kind in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    ] {
        assert_eq!(error(kind), Error::ForeignLayer(kind.to_owned()));
    }
    let encrypted = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
    assert_eq!(error(encrypted), Error::EncryptedLayer(encrypted.to_owned()));
    for kind in [
        "application/vnd.oci.image.layer.v1.tar+xz",
        "application/vnd.oci.image.layer.v1.tar+",
        "application/vnd.oci.image.layer.v1.squashfs",
        "application/vnd.in-toto+json",
        OCI_CONFIG,
        "Application/vnd.oci.image.layer.v1.tar",
    ] {
        assert_eq!(error(kind), Error::NotSupported { part: "layer", found: kind.to_owned() });
    }
}

#[test]
fn threat_14_malformed_descriptors_are_refused() {
    let good = good_manifest;
    for bad in ["", "sha256", "sha256:", ":", "sha256:ABC", "sha256+b64:x", "md5:00"] {
        let bytes = with(good(), "/layers/0/digest", json!(bad));
        assert_eq!(manifest_error(&bytes), Error::Digest(bad.to_owned()));
    }
    for bad in ["", "invalid", "/", "a/", "/b", "a/b/c", "a b/c", "-a/b", "a/b; q=1", "a/\u{1b}"] {
        for pointer in ["/config/mediaType", "/layers/1/mediaType"] {
            let error = manifest_error(&with(good(), pointer, json!(bad)));
            assert!(matches!(error, Error::Text { what: "media type", .. }), "{bad:?}: {error:?}");
        }
        let error = index_error(&with(good_index(), "/manifests/1/mediaType", json!(bad)));
        assert!(matches!(error, Error::Text { what: "media type", .. }), "{bad:?}: {error:?}");
    }
    let sha512 = format!("sha512:{}", "0".repeat(128));
    let bytes = with(good(), "/config/digest", json!(sha512));
    assert_eq!(manifest_error(&bytes), Error::Digest(sha512));
    let upper = digest("A");
    assert_eq!(manifest_error(&with(good(), "/config/digest", json!(upper))), Error::Digest(upper));
    assert_shape(&[
        ("negative", manifest_error(&with(good(), "/layers/0/size", json!(-1)))),
        ("fraction", manifest_error(&with(good(), "/layers/0/size", json!(1.5)))),
        ("text", manifest_error(&with(good(), "/layers/0/size", json!("7")))),
        ("null", manifest_error(&with(good(), "/layers/0/size", Value::Null))),
        ("no size", manifest_error(&without(good(), "/layers/0/size"))),
        ("no digest", manifest_error(&without(good(), "/config/digest"))),
        ("no type", manifest_error(&without(good(), "/config/mediaType"))),
        ("no config", manifest_error(&without(good(), "/config"))),
        ("no layers", manifest_error(&without(good(), "/layers"))),
        ("null layers", manifest_error(&with(good(), "/layers", Value::Null))),
        ("object", manifest_error(&with(good(), "/layers", json!({})))),
        ("layer is text", manifest_error(&with(good(), "/layers/0", json!("x")))),
        ("no version", manifest_error(&without(good(), "/schemaVersion"))),
        ("version is text", manifest_error(&with(good(), "/schemaVersion", json!("2")))),
        ("subject", manifest_error(&with(good(), "/subject", json!(".nope")))),
        ("a list", manifest_error(b"[]")),
        ("empty", manifest_error(b"")),
    ]);
    let huge = with(good(), "/layers/0/size", json!(u64::MAX));
    assert_eq!(parse_manifest(&huge, OCI_MANIFEST).unwrap().layers[0].size, u64::MAX);
}

#[test]
fn threat_14_variants_of_an_index_are_parsed_or_refused() {
    let good = good_index;
    for bytes in [
        good().to_string().into_bytes(),
        without(good(), "/mediaType"),
        with(good(), "/manifests", json!([])),
        without(good(), "/manifests/0/platform"),
        with(good(), "/manifests/0/platform", Value::Null),
        with(good(), "/manifests/0/annotations", Value::Null),
        with(good(), "/manifests/0/mediaType", json!("application/x-other")),
        with(good(), "/manifests/0/platform/variant", json!("v8")),
    ] {
        assert!(parse_index(&bytes, OCI_INDEX).is_ok(), "{}", String::from_utf8_lossy(&bytes));
    }
    let many = json!(vec![good()["manifests"][0].clone(); MAX_MANIFESTS + 1]);
    let error = index_error(&with(good(), "/manifests", many));
    assert_eq!(error, Error::TooMany { what: "manifests", limit: MAX_MANIFESTS });
    assert_shape(&[
        ("no manifests", index_error(&without(good(), "/manifests"))),
        ("null", index_error(&with(good(), "/manifests", Value::Null))),
        ("platform", index_error(&with(good(), "/manifests/0/platform", json!("linux")))),
        ("os", index_error(&with(good(), "/manifests/0/platform/os", json!(1)))),
        ("no os", index_error(&without(good(), "/manifests/0/platform/os"))),
        ("no architecture", index_error(&without(good(), "/manifests/0/platform/architecture"))),
        ("subject", index_error(&with(good(), "/subject", json!("nope")))),
        ("no size", index_error(&without(good(), "/manifests/1/size"))),
    ]);
    assert!(parse_layout_index(&without(good(), "/mediaType")).is_ok());
    let docker = with(good(), "/mediaType", json!(DOCKER_LIST));
    assert!(matches!(parse_layout_index(&docker), Err(Error::MediaType { .. })));
}

#[test]
fn threat_13_only_the_named_fields_of_a_config_are_kept() {
    let plain = config_of(good_config().to_string().as_bytes()).unwrap();
    assert_eq!(plain.defaults.user.as_deref(), Some("alice"));
    assert_eq!(plain.defaults.exposed_ports, ["8080/tcp"]);
    assert_eq!(plain.defaults.env, ["PATH=/bin", "EMPTY=", "X=a=b"]);
    assert_eq!(plain.defaults.labels["a"], "b");
    let hostile = json!("/proc/self/fd/3; $(reboot)");
    let mut document = good_config();
    for key in ["Hostname", "Domainname", "Privileged", "Binds", "Runtime", "MacAddress", "OnBuild", "Shell"] {
        document["config"][key] = hostile.clone();
    }
    document["config"]["Healthcheck"] = json!({ "Test": ["CMD", hostile] });
    document["config"]["Memory"] = json!(1);
    for key in ["host_config", "container_config", "id", "parent", "throwaway", "hooks", "linux", "mounts"] {
        document[key] = hostile.clone();
    }
    document["created"] = hostile.clone();
    document["history"] = hostile;
    assert_eq!(config_of(document.to_string().as_bytes()), Ok(plain));
}

#[test]
fn threat_13_valid_variants_of_a_config_are_parsed() {
    let good = good_config;
    for bytes in [
        without(good(), "/config"),
        with(good(), "/config", Value::Null),
        with(good(), "/config", json!({})),
        without(good(), "/history"),
        with(good(), "/config/Env", Value::Null),
        with(good(), "/config/Cmd", Value::Null),
        with(good(), "/config/Labels", Value::Null),
        with(good(), "/config/Volumes", Value::Null),
        with(good(), "/config/ExposedPorts", Value::Null),
        with(good(), "/config/WorkingDir", json!("")),
        with(good(), "/config/User", json!("")),
        with(good(), "/config/ExposedPorts", json!({ "80": null })),
    ] {
        assert!(config_of(&bytes).is_ok(), "{}", String::from_utf8_lossy(&bytes));
    }
    let empty = config_of(&with(good(), "/config/WorkingDir", json!(""))).unwrap();
    assert_eq!(empty.defaults.working_dir, None);
}

#[test]
fn threat_13_invalid_variants_of_a_config_are_refused() {
    let good = good_config;
    let error = |pointer: &str, value| config_of(&with(good(), pointer, value)).unwrap_err();
    let text = |pointer: &str, value| matches!(error(pointer, value), Error::Text { .. });
    assert!(text("/config/Env", json!(["NOVALUE"])));
    assert!(text("/config/Env", json!(["=x"])));
    assert!(text("/config/Env", json!(["A=b\0c"])));
    assert!(text("/config/Entrypoint", json!(["/a\0b"])));
    assert!(text("/config/User", json!("a\0b")));
    assert!(text("/config/WorkingDir", json!("relative")));
    assert!(text("/config/WorkingDir", json!("C:\\x")));
    assert_eq!(error("/config/user", json!("0")), Error::LookalikeKey("user".to_owned()));
    assert_eq!(error("/RootFS", json!({})), Error::LookalikeKey("RootFS".to_owned()));
    assert_eq!(error("/rootfs/type", json!("layer")), Error::RootfsType("layer".to_owned()));
    assert_eq!(error("/rootfs/diff_ids/0", json!("sha512:0")), Error::Digest("sha512:0".to_owned()));
    for count in [0, 1, 3] {
        let diff_ids = json!(vec![digest("1"); count]);
        let expected = Error::LayerCount { layers: 2, diff_ids: count };
        assert_eq!(error("/rootfs/diff_ids", diff_ids), expected);
    }
    assert_shape(&[
        ("entrypoint", error("/config/Entrypoint", json!("/bin/sh"))),
        ("env", error("/config/Env", json!({ "A": "b" }))),
        ("env number", error("/config/Env", json!([7]))),
        ("labels", error("/config/Labels", json!({ "a": 1 }))),
        ("user", error("/config/User", json!(0))),
        ("ports", error("/config/ExposedPorts", json!(["80"]))),
        ("config", error("/config", json!("x"))),
        ("os", error("/os", json!(7))),
        ("no os", config_of(&without(good(), "/os")).unwrap_err()),
        ("no architecture", config_of(&without(good(), "/architecture")).unwrap_err()),
        ("no rootfs", config_of(&without(good(), "/rootfs")).unwrap_err()),
        ("no type", config_of(&without(good(), "/rootfs/type")).unwrap_err()),
        ("no diff_ids", config_of(&without(good(), "/rootfs/diff_ids")).unwrap_err()),
    ]);
}

#[test]
fn threat_15_config_size_is_bounded() {
    let error = |pointer: &str, value| config_of(&with(good_config(), pointer, value)).unwrap_err();
    let many = |error| matches!(error, Error::TooMany { .. });
    let long = |error| matches!(error, Error::TooLongText { .. });
    let keys = |count: usize| Value::Object((0..count).map(|key| (key.to_string(), json!({}))).collect());
    assert!(many(error("/config/Env", json!(vec!["A=b"; 1025]))));
    assert!(many(error("/config/Cmd", json!(vec!["a"; 1025]))));
    assert!(many(error("/config/Volumes", keys(257))));
    assert!(many(error("/config/ExposedPorts", keys(1025))));
    assert!(long(error("/config/User", json!("a".repeat(257)))));
    assert!(long(error("/config/StopSignal", json!("a".repeat(257)))));
    assert!(long(error("/config/WorkingDir", json!(format!("/{}", "a".repeat(4096))))));
    assert!(long(error("/config/Env", json!([format!("A={}", "a".repeat(32 * 1024))]))));
    assert!(long(error("/config/Labels", json!({ "a": "b".repeat(512 * 1024 + 1) }))));
    assert_eq!(error("/author", json!("a".repeat(4 << 20))), Error::TooLong(4 << 20));
}
