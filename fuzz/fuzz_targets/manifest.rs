//! Index, manifest and config: any bytes are accepted or refused without a panic; a document that is parsed keeps every bound.
#![no_main]

use casemate_image::documents::{Error, config, history, manifest};
use libfuzzer_sys::fuzz_target;

const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const MANIFESTS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// The message of an error has no control characters.
fn parsed<T>(result: Result<T, Error>) -> Option<T> {
    if let Err(error) = &result {
        assert!(!error.to_string().contains(char::is_control), "{error:?}");
    }
    result.ok()
}

fuzz_target!(|bytes: &[u8]| {
    let indexes: Vec<_> = INDEXES.iter().filter_map(|kind| parsed(manifest::parse_index(bytes, kind))).collect();
    let manifests: Vec<_> = MANIFESTS.iter().filter_map(|kind| parsed(manifest::parse_manifest(bytes, kind))).collect();
    parsed(manifest::parse_layout_index(bytes));
    // A document is an index or a manifest, whatever its descriptor says.
    assert!(indexes.len() + manifests.len() <= 1);
    for manifest in manifests {
        assert!((1..=500).contains(&manifest.layers.len()));
    }
    parsed(history::parse(bytes));
    for layers in 0..4 {
        let Some(config) = parsed(config::parse(bytes, layers)) else { continue };
        assert_eq!(config.diff_ids.len(), layers);
        assert!(config.defaults.env.iter().all(|entry| entry.find('=').is_some_and(|at| at > 0)));
        assert!(config.defaults.working_dir.is_none_or(|dir| dir.starts_with('/')));
        let words = config.defaults.entrypoint.iter().chain(&config.defaults.cmd).chain(&config.defaults.env);
        assert!(words.into_iter().all(|word| !word.contains('\0') && word.len() <= 32 * 1024));
    }
});
