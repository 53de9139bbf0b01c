//! Index, manifest and config: any bytes are answered; what is taken has one reading and keeps every bound.
#![no_main]

use casemate_image::{Flaw, config, history, manifest};
use libfuzzer_sys::fuzz_target;

const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const MANIFESTS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// A refusal can be shown on a terminal.
fn shown<T>(result: Result<T, Flaw>) -> Option<T> {
    if let Err(flaw) = &result {
        assert!(!flaw.to_string().contains(char::is_control), "{flaw:?}");
    }
    result.ok()
}

fuzz_target!(|bytes: &[u8]| {
    let indexes: Vec<_> = INDEXES.iter().filter_map(|kind| shown(manifest::parse_index(bytes, kind))).collect();
    let manifests: Vec<_> = MANIFESTS.iter().filter_map(|kind| shown(manifest::parse_manifest(bytes, kind))).collect();
    shown(manifest::parse_layout_index(bytes));
    // One document is one thing, whatever led to it.
    assert!(indexes.len() + manifests.len() <= 1);
    for manifest in manifests {
        assert!((1..=500).contains(&manifest.layers.len()));
    }
    shown(history::parse(bytes));
    for layers in 0..4 {
        let Some(config) = shown(config::parse(bytes, layers)) else { continue };
        assert_eq!(config.diff_ids.len(), layers);
        assert!(config.defaults.env.iter().all(|entry| entry.find('=').is_some_and(|at| at > 0)));
        assert!(config.defaults.working_dir.is_none_or(|dir| dir.starts_with('/')));
        let words = config.defaults.entrypoint.iter().chain(&config.defaults.cmd).chain(&config.defaults.env);
        assert!(words.into_iter().all(|word| !word.contains('\0') && word.len() <= 32 * 1024));
    }
});
