//! An OCI image layout (image-spec, image-layout.md): `index.json` names the images, `blobs/` holds everything.

use super::super::error::Error;
use super::super::flaw::Flaw;
use super::super::json::{self, MAX_DOCUMENT};
use super::super::manifest::{self, Entry};
use super::super::media;
use super::super::name;
use super::super::store::Store;
use super::Found;
use super::input::Input;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// The images for this host that a layout names, each once, in the order of its index.
pub(super) fn find(store: &Store, input: &Input) -> Result<Vec<Found>, Error> {
    named(input, |entries| for_this_host(store, entries))
}

/// All images that a layout names, for whatever machine.
pub(in super::super) fn all(input: &Input) -> Result<Vec<Found>, Error> {
    named(input, Ok)
}

fn named(input: &Input, choose: impl FnOnce(Vec<Entry>) -> Result<Vec<Entry>, Flaw>) -> Result<Vec<Found>, Error> {
    let object = |name: &str| format!("{name} in {}", input.path.display());
    let marker = input.read("oci-layout", 4096)?;
    let marker: Result<Marker, Flaw> = json::parse(&marker).and_then(json::typed);
    let version = marker.map_err(Error::document(object("oci-layout")))?.image_layout_version;
    if version != "1.0.0" {
        let flaw = Flaw::Text { what: "imageLayoutVersion", reason: "is not 1.0.0", found: version };
        return Err(Error::document(object("oci-layout"))(flaw));
    }
    let index = input.read("index.json", MAX_DOCUMENT)?;
    let entries = manifest::parse_layout_index(&index);
    let entries = entries.and_then(images).and_then(choose);
    let mut images: Vec<Found> = Vec::new();
    let mut places = BTreeMap::new();
    for entry in entries.map_err(Error::document(object("index.json")))? {
        let name = entry_name(&entry, input);
        let place = *places.entry(entry.descriptor.digest).or_insert(images.len());
        match images.get_mut(place) {
            Some(image) => image.names.push(name),
            None => images.push(Found { pin: entry.descriptor, names: vec![name] }),
        }
    }
    Ok(images)
}

fn images(entries: Vec<Entry>) -> Result<Vec<Entry>, Flaw> {
    match entries.iter().find(|entry| media::kind(&entry.descriptor.media_type).is_none()) {
        Some(entry) => Err(Flaw::NotAnImage(entry.descriptor.media_type.clone())),
        None => Ok(entries),
    }
}

/// An index may name one image for several machines side by side: those for others are not of this import.
fn for_this_host(store: &Store, entries: Vec<Entry>) -> Result<Vec<Entry>, Flaw> {
    let runs = |entry: &Entry| entry.platform.as_ref().is_none_or(|it| store.host().check(it).is_ok());
    let (here, elsewhere): (Vec<_>, Vec<_>) = entries.into_iter().partition(runs);
    if here.is_empty() {
        // Says what was looked for and what there is.
        store.host().choose(&elsewhere)?;
    }
    Ok(here)
}

fn entry_name(entry: &Entry, input: &Input) -> String {
    let full = entry.full_name.as_deref().and_then(name::from_docker);
    let short = entry.ref_name.as_deref().map(|ref_name| name::from_ref_name(ref_name, &input.path));
    full.or(short).unwrap_or_else(|| name::from_path(&input.path))
}
