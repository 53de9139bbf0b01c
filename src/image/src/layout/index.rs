//! The images of an OCI image layout: those that its `index.json` names.

use super::input::Input;
use crate::documents::manifest::{self, Entry};
use crate::documents::{self, Descriptor, Host, MAX_DOCUMENT};
use crate::error::Error;
use crate::names;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// An image that an input names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedImage {
    /// Its manifest or index.
    pub(crate) pin: Descriptor,
    /// Its names.
    pub(crate) names: Vec<String>,
}

/// The images of a layout that run on a host, each once, in the order of its index.
pub(crate) fn images_for(host: Host, input: &Input) -> Result<Vec<NamedImage>, Error> {
    named(input, |entries| entries_for(host, entries))
}

/// All images of a layout, for any platform.
pub(crate) fn all_images(input: &Input) -> Result<Vec<NamedImage>, Error> {
    named(input, Ok)
}

fn named(
    input: &Input,
    choose: impl FnOnce(Vec<Entry>) -> Result<Vec<Entry>, documents::Error>,
) -> Result<Vec<NamedImage>, Error> {
    let object = |name: &str| format!("{name} in {}", input.path.display());
    let marker = input.read("oci-layout", 4096)?;
    let marker: Result<Marker, documents::Error> = documents::parse_json(&marker).and_then(documents::typed);
    let version = marker.map_err(Error::document(object("oci-layout")))?.image_layout_version;
    if version != "1.0.0" {
        let error = documents::Error::Text { what: "imageLayoutVersion", reason: "is not 1.0.0", found: version };
        return Err(Error::document(object("oci-layout"))(error));
    }
    let index = input.read("index.json", MAX_DOCUMENT)?;
    let entries = manifest::parse_layout_index(&index);
    let entries = entries.and_then(images).and_then(choose);
    let mut images: Vec<NamedImage> = Vec::new();
    let mut indices = BTreeMap::new();
    for entry in entries.map_err(Error::document(object("index.json")))? {
        let name = entry_name(&entry, input);
        let index = *indices.entry(entry.descriptor.digest).or_insert(images.len());
        match images.get_mut(index) {
            Some(image) => image.names.push(name),
            None => images.push(NamedImage { pin: entry.descriptor, names: vec![name] }),
        }
    }
    Ok(images)
}

/// Refuses entries that are neither manifests nor indexes.
fn images(entries: Vec<Entry>) -> Result<Vec<Entry>, documents::Error> {
    match entries.iter().find(|entry| documents::kind(&entry.descriptor.media_type).is_none()) {
        Some(entry) => Err(documents::Error::NotAnImage(entry.descriptor.media_type.clone())),
        None => Ok(entries),
    }
}

/// The entries that run on a host. An `index.json` may name manifests for several platforms side by side.
fn entries_for(host: Host, entries: Vec<Entry>) -> Result<Vec<Entry>, documents::Error> {
    let runs = |entry: &Entry| entry.platform.as_ref().is_none_or(|it| host.check(it).is_ok());
    let (here, elsewhere): (Vec<_>, Vec<_>) = entries.into_iter().partition(runs);
    if here.is_empty() {
        // Fails with the host's platform and those of the index.
        host.choose(&elsewhere)?;
    }
    Ok(here)
}

fn entry_name(entry: &Entry, input: &Input) -> String {
    let full = entry.full_name.as_deref().and_then(names::from_docker);
    let short = entry.ref_name.as_deref().map(|ref_name| names::from_ref_name(ref_name, &input.path));
    full.or(short).unwrap_or_else(|| names::from_path(&input.path))
}
