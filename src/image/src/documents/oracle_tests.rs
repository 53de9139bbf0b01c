//! The crate oci-spec as an independent reader and writer: it parses every document that is written here and finds the same values,
//! and every document that it writes is parsed here to the same values.

use super::config::{self, Config};
use super::image::ImageConfig;
use super::manifest::{Descriptor, Entry, Platform, parse_index, parse_layout_index, parse_manifest};
use super::media_types::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, OCI_TAR, OCI_TAR_GZIP, OCI_TAR_ZSTD};
use super::{history, rfc3339, write};
use casemate_wire::Digest;
use oci_spec::image as oci;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use std::collections::HashMap;

fn digests() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

/// Sizes up to the largest that JSON numbers of all readers hold.
fn descriptors(media_type: &'static str) -> impl Strategy<Value = Descriptor> {
    (digests(), 0_u64..1 << 53).prop_map(move |(digest, size)| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
    })
}

fn layers() -> impl Strategy<Value = Vec<Descriptor>> {
    let layer = prop_oneof![descriptors(OCI_TAR), descriptors(OCI_TAR_GZIP), descriptors(OCI_TAR_ZSTD)];
    vec(layer, 1..20)
}

fn platforms() -> impl Strategy<Value = Platform> {
    let architectures =
        prop_oneof![Just("amd64"), Just("arm64"), Just("arm"), Just("riscv64"), Just("s390x"), Just("new")];
    let systems = prop_oneof![Just("linux"), Just("windows"), Just("unknown")];
    (architectures, systems, proptest::option::of("v[1-9]")).prop_map(|(architecture, os, variant)| Platform {
        architecture: architecture.to_owned(),
        os: os.to_owned(),
        variant,
    })
}

fn names() -> impl Strategy<Value = String> {
    "[a-z]{1,9}\\.example(:[1-9][0-9]{3})?/[a-z]{1,9}(:[a-z0-9]{1,9})?"
}

/// Any characters but NUL, which a config may not hold.
fn text() -> impl Strategy<Value = String> {
    "[^\0]{0,40}"
}

fn words() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..5)
}

/// Empty texts stand for absent ones, so they are never written.
fn defaults() -> impl Strategy<Value = ImageConfig> {
    let environment = vec(("[A-Z]{1,9}", text()).prop_map(|(name, value)| format!("{name}={value}")), 0..5);
    let optional = |strategy: &'static str| proptest::option::of(strategy);
    let keys = |strategy: &'static str| btree_set(strategy, 0..4).prop_map(|keys| keys.into_iter().collect());
    let labels = btree_map(text(), text(), 0..4);
    let users = optional("[a-z0-9:]{1,20}");
    let rest = (keys("[1-9][0-9]{0,4}/(tcp|udp)"), keys("/[a-z/]{0,20}"), labels);
    (words(), words(), environment, optional("/[^\0]{0,40}"), users, optional("SIG[A-Z]{3,6}"), rest).prop_map(
        |(entrypoint, cmd, env, working_dir, user, stop_signal, (exposed_ports, volumes, labels))| ImageConfig {
            entrypoint,
            cmd,
            env,
            working_dir,
            user,
            stop_signal,
            exposed_ports,
            volumes,
            labels,
        },
    )
}

/// A descriptor of oci-spec as ours.
fn ours(descriptor: &oci::Descriptor) -> Descriptor {
    Descriptor {
        media_type: descriptor.media_type().to_string(),
        digest: descriptor.digest().to_string().parse().unwrap(),
        size: descriptor.size(),
    }
}

/// A descriptor as oci-spec has it.
fn theirs(descriptor: &Descriptor) -> oci::Descriptor {
    let digest: oci::Digest = descriptor.digest.to_string().parse().unwrap();
    oci::Descriptor::new(descriptor.media_type.as_str().into(), descriptor.size, digest)
}

fn our_platform(platform: &oci::Platform) -> Platform {
    Platform {
        architecture: platform.architecture().to_string(),
        os: platform.os().to_string(),
        variant: platform.variant().clone(),
    }
}

fn their_platform(platform: &Platform) -> oci::Platform {
    let mut builder = oci::PlatformBuilder::default()
        .architecture(platform.architecture.as_str())
        .os(platform.os.as_str())
        .os_version("10.0.14393.1066".to_owned())
        .os_features(vec!["win32k".to_owned()]);
    if let Some(variant) = &platform.variant {
        builder = builder.variant(variant.clone());
    }
    builder.build().unwrap()
}

fn annotation<'a>(descriptor: &'a oci::Descriptor, key: &str) -> Option<&'a str> {
    descriptor.annotations().as_ref()?.get(key).map(String::as_str)
}

/// The defaults of a config that oci-spec has read.
fn our_defaults(config: &oci::Config) -> ImageConfig {
    let sorted = |keys: &Option<Vec<String>>| {
        let mut keys = keys.clone().unwrap_or_default();
        keys.sort();
        keys
    };
    ImageConfig {
        entrypoint: config.entrypoint().clone().unwrap_or_default(),
        cmd: config.cmd().clone().unwrap_or_default(),
        env: config.env().clone().unwrap_or_default(),
        working_dir: config.working_dir().clone(),
        user: config.user().clone(),
        stop_signal: config.stop_signal().clone(),
        exposed_ports: sorted(config.exposed_ports()),
        volumes: sorted(config.volumes()),
        labels: config.labels().clone().unwrap_or_default().into_iter().collect(),
    }
}

fn their_defaults(defaults: &ImageConfig) -> oci::Config {
    let mut builder = oci::ConfigBuilder::default()
        .entrypoint(defaults.entrypoint.clone())
        .cmd(defaults.cmd.clone())
        .env(defaults.env.clone())
        .exposed_ports(defaults.exposed_ports.clone())
        .volumes(defaults.volumes.clone())
        .labels(defaults.labels.clone().into_iter().collect::<HashMap<_, _>>());
    if let Some(working_dir) = &defaults.working_dir {
        builder = builder.working_dir(working_dir.clone());
    }
    if let Some(user) = &defaults.user {
        builder = builder.user(user.clone());
    }
    if let Some(stop_signal) = &defaults.stop_signal {
        builder = builder.stop_signal(stop_signal.clone());
    }
    builder.build().unwrap()
}

proptest! {
    #[test]
    fn oci_spec_reads_every_manifest(config in descriptors(OCI_CONFIG), layers in layers()) {
        let bytes = write::manifest(&config, &layers).unwrap();
        let read = oci::ImageManifest::from_reader(bytes.as_slice()).unwrap();
        prop_assert_eq!(read.schema_version(), 2);
        prop_assert_eq!(read.media_type().as_ref().map(ToString::to_string), Some(OCI_MANIFEST.to_owned()));
        prop_assert_eq!(ours(read.config()), config);
        prop_assert_eq!(read.layers().iter().map(ours).collect::<Vec<_>>(), layers);
    }

    #[test]
    fn oci_spec_reads_every_index_of_platforms(
        manifests in vec((platforms(), descriptors(OCI_MANIFEST)), 0..5),
    ) {
        let bytes = write::index_of_platforms(&manifests).unwrap();
        let read = oci::ImageIndex::from_reader(bytes.as_slice()).unwrap();
        prop_assert_eq!(read.schema_version(), 2);
        prop_assert_eq!(read.media_type().as_ref().map(ToString::to_string), Some(OCI_INDEX.to_owned()));
        let found: Vec<_> = read
            .manifests()
            .iter()
            .map(|entry| (our_platform(entry.platform().as_ref().unwrap()), ours(entry)))
            .collect();
        prop_assert_eq!(found, manifests);
    }

    #[test]
    fn oci_spec_reads_every_index_of_a_layout(images in vec((descriptors(OCI_INDEX), names()), 1..5)) {
        let bytes = write::layout_index_of(&images).unwrap();
        let read = oci::ImageIndex::from_reader(bytes.as_slice()).unwrap();
        for (found, (image, name)) in read.manifests().iter().zip(&images) {
            prop_assert_eq!(&ours(found), image);
            prop_assert_eq!(annotation(found, "io.containerd.image.name"), Some(name.as_str()));
            prop_assert_eq!(annotation(found, oci::ANNOTATION_REF_NAME), Some(name.as_str()));
        }
        prop_assert_eq!(read.manifests().len(), images.len());
        for (image, name) in &images {
            let read = oci::ImageIndex::from_reader(write::layout_index(image, name).unwrap().as_slice()).unwrap();
            prop_assert_eq!(read.manifests().iter().map(ours).collect::<Vec<_>>(), vec![image.clone()]);
            prop_assert_eq!(annotation(&read.manifests()[0], "io.containerd.image.name"), Some(name.as_str()));
            let tag = annotation(&read.manifests()[0], oci::ANNOTATION_REF_NAME).unwrap();
            prop_assert!(tag == "latest" || name.ends_with(&format!(":{tag}")), "{} in {}", tag, name);
        }
    }

    #[test]
    fn oci_spec_reads_every_config(
        platform in platforms(), time in 0_u64..4_102_444_800, defaults in defaults(), diff_id in digests(),
    ) {
        let bytes = write::config(&platform, time, &defaults, diff_id).unwrap();
        let read = oci::ImageConfiguration::from_reader(bytes.as_slice()).unwrap();
        prop_assert_eq!(read.created(), &Some(rfc3339(time)));
        prop_assert_eq!(read.architecture().to_string(), platform.architecture);
        prop_assert_eq!(read.os().to_string(), platform.os);
        prop_assert_eq!(read.variant(), &platform.variant);
        prop_assert_eq!(read.rootfs().typ(), "layers");
        prop_assert_eq!(read.rootfs().diff_ids(), &[diff_id.to_string()]);
        // `pack` writes no ports, volumes and stop signal: nothing in a recipe sets them.
        let written = ImageConfig { exposed_ports: Vec::new(), volumes: Vec::new(), stop_signal: None, ..defaults };
        prop_assert_eq!(our_defaults(read.config().as_ref().unwrap()), written);
    }

    #[test]
    fn every_manifest_of_oci_spec_is_read(
        config in descriptors(OCI_CONFIG),
        layers in layers(),
        annotations in btree_map(text(), text(), 0..4),
        subject in proptest::option::of(descriptors(OCI_MANIFEST)),
        names_its_type: bool,
    ) {
        let mut builder = oci::ImageManifestBuilder::default()
            .schema_version(2_u32)
            .config(theirs(&config))
            .layers(layers.iter().map(theirs).collect::<Vec<_>>())
            .annotations(annotations.into_iter().collect::<HashMap<_, _>>());
        if names_its_type {
            builder = builder.media_type(oci::MediaType::ImageManifest);
        }
        if let Some(subject) = &subject {
            builder = builder.subject(theirs(subject));
        }
        let text = builder.build().unwrap().to_string().unwrap();
        let read = parse_manifest(text.as_bytes(), OCI_MANIFEST).unwrap();
        prop_assert_eq!((read.config, read.layers), (config, layers));
    }

    #[test]
    fn every_index_of_oci_spec_is_read(
        entries in vec((descriptors(OCI_MANIFEST), proptest::option::of(platforms()), proptest::option::of(names())), 0..5),
        names_its_type: bool,
    ) {
        let manifests = entries.iter().map(|(descriptor, platform, name)| {
            let mut entry = theirs(descriptor);
            entry.set_platform(platform.as_ref().map(their_platform));
            entry.set_annotations(name.as_ref().map(|name| {
                HashMap::from([(oci::ANNOTATION_REF_NAME.to_owned(), name.clone()), ("other".to_owned(), "x".to_owned())])
            }));
            entry
        });
        let mut builder = oci::ImageIndexBuilder::default().schema_version(2_u32).manifests(manifests.collect::<Vec<_>>());
        if names_its_type {
            builder = builder.media_type(oci::MediaType::ImageIndex);
        }
        let text = builder.build().unwrap().to_string().unwrap();
        let expected: Vec<Entry> = entries
            .into_iter()
            .map(|(descriptor, platform, ref_name)| Entry { descriptor, platform, full_name: None, ref_name })
            .collect();
        prop_assert_eq!(parse_index(text.as_bytes(), OCI_INDEX).unwrap(), expected.clone());
        prop_assert_eq!(parse_layout_index(text.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn every_config_of_oci_spec_is_read(
        platform in platforms(),
        defaults in proptest::option::of(defaults()),
        diff_ids in vec(digests(), 1..20),
        steps in vec(text(), 0..4),
    ) {
        let rootfs = oci::RootFsBuilder::default().diff_ids(diff_ids.iter().map(Digest::to_string).collect::<Vec<_>>());
        let history = steps.iter().map(|text| {
            let step = oci::HistoryBuilder::default().created("2026-01-01T00:00:00Z").author("x");
            step.created_by(text.clone()).comment(text.clone()).empty_layer(true).build().unwrap()
        });
        let mut builder = oci::ImageConfigurationBuilder::default()
            .created("2026-01-01T00:00:00Z".to_owned())
            .author("a team".to_owned())
            .architecture(platform.architecture.as_str())
            .os(platform.os.as_str())
            .rootfs(rootfs.build().unwrap())
            .history(history.collect::<Vec<_>>());
        if let Some(variant) = &platform.variant {
            builder = builder.variant(variant.clone());
        }
        if let Some(defaults) = &defaults {
            builder = builder.config(their_defaults(defaults));
        }
        let text = builder.build().unwrap().to_string().unwrap();
        let read = config::parse(text.as_bytes(), diff_ids.len()).unwrap();
        prop_assert_eq!(read, Config { defaults: defaults.unwrap_or_default(), platform, diff_ids });
        let found = history::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(found.iter().map(|step| step.created_by.clone().unwrap()).collect::<Vec<_>>(), steps);
    }
}

#[test]
fn oci_spec_reads_the_marker_of_a_layout() {
    let read = oci::OciLayout::from_reader(write::LAYOUT).unwrap();
    assert_eq!(read.image_layout_version(), "1.0.0");
}
