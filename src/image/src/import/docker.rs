//! A `docker save` archive of the old form: `manifest.json` names a config and layer tars, and there is no manifest to pin.
//! One is made from them, the same for the same bytes on every machine; its digest becomes the pin.

use super::super::blobs::Promise;
use super::super::error::Error;
use super::super::flaw::Flaw;
use super::super::json::{self, MAX_DOCUMENT};
use super::super::manifest::{Descriptor, MAX_LAYERS};
use super::super::media;
use super::super::name;
use super::super::store::Writer;
use super::super::write;
use super::input::{Input, Part};
use super::{Found, Limits, Progress};
use casemate_wire::Digest;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;

const MAX_IMAGES: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Brings in every image that `manifest.json` names, documents and layers.
pub(super) fn find(
    writer: &Writer<'_>,
    input: &Input,
    limits: &Limits,
    progress: &mut dyn Progress,
) -> Result<Vec<Found>, Error> {
    let object = format!("manifest.json in {}", input.path.display());
    let bytes = input.read("manifest.json", MAX_DOCUMENT)?;
    let images = parse(&bytes).map_err(Error::document(object))?;
    let mut bring_in = BringIn { writer, input, limits, progress, layers: BTreeMap::new() };
    images.iter().map(|image| bring_in.image(image)).collect()
}

fn parse(bytes: &[u8]) -> Result<Vec<Saved>, Flaw> {
    let document = json::parse(bytes)?;
    for image in document.as_array().into_iter().flatten() {
        json::refuse_lookalikes(image, &["Config", "RepoTags", "Layers"])?;
    }
    let images: Vec<Saved> =
        json::typed::<Vec<Value>>(document)?.into_iter().map(json::typed).collect::<Result<_, _>>()?;
    if images.is_empty() || images.len() > MAX_IMAGES {
        return Err(Flaw::TooMany { what: "images, or none", limit: MAX_IMAGES });
    }
    if images.iter().any(|image| image.layers.len() > MAX_LAYERS) {
        return Err(Flaw::TooMany { what: "layers", limit: MAX_LAYERS });
    }
    Ok(images)
}

struct BringIn<'a> {
    writer: &'a Writer<'a>,
    input: &'a Input,
    limits: &'a Limits,
    progress: &'a mut dyn Progress,
    /// Layers by path: images of one archive share them.
    layers: BTreeMap<String, Descriptor>,
}

impl BringIn<'_> {
    fn image(&mut self, image: &Saved) -> Result<Found, Error> {
        let config = self.config(&image.config)?;
        let layers = image.layers.iter().map(|path| self.layer(path)).collect::<Result<Vec<_>, _>>()?;
        let bytes = write::manifest(&config, &layers)?;
        let size = bytes.len() as u64;
        let digest = self.writer.write_blob("the manifest", &mut bytes.as_slice(), Promise::Size(size), &mut |_| {})?;
        let pin = Descriptor { media_type: media::OCI_MANIFEST.to_owned(), digest, size };
        let tags = image.repo_tags.iter().flatten();
        let mut names: Vec<_> = tags.filter_map(|tag| name::from_docker(tag)).collect();
        if names.is_empty() {
            names.push(name::from_path(&self.input.path));
        }
        Ok(Found { pin, names })
    }

    fn config(&mut self, path: &str) -> Result<Descriptor, Error> {
        let bytes = self.input.read(path, MAX_DOCUMENT)?;
        let size = bytes.len() as u64;
        // The old form names the config by its digest: a promise that can be held against it.
        let stem = path.rsplit('/').next().unwrap_or(path);
        let promised = Digest::from_hex(stem.strip_suffix(".json").unwrap_or(stem));
        let promise = promised.map_or(Promise::Size(size), |digest| Promise::Exact { digest, size });
        let digest = self.writer.write_blob(path, &mut bytes.as_slice(), promise, &mut |_| {})?;
        Ok(Descriptor { media_type: media::OCI_CONFIG.to_owned(), digest, size })
    }

    fn layer(&mut self, path: &str) -> Result<Descriptor, Error> {
        if let Some(layer) = self.layers.get(path) {
            return Ok(layer.clone());
        }
        let part = self.input.part(path)?;
        super::check_blob_size(path, part.size, self.limits)?;
        self.progress.blob(path, part.size);
        let media_type = layer_type(part).map_err(Error::io("read", path))?.to_owned();
        let promise = Promise::Size(part.size);
        let digest = self.writer.write_blob(path, &mut part.reader(), promise, &mut |done| self.progress.at(done))?;
        let layer = Descriptor { media_type, digest, size: part.size };
        self.layers.insert(path.to_owned(), layer.clone());
        Ok(layer)
    }
}

/// Old archives hold plain tars, but what loads them takes compressed ones too: told apart as every reader does.
fn layer_type(part: &Part) -> std::io::Result<&'static str> {
    let mut magic = Vec::new();
    part.reader().take(4).read_to_end(&mut magic)?;
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => media::OCI_TAR_GZIP,
        [0x28, 0xb5, 0x2f, 0xfd] => media::OCI_TAR_ZSTD,
        _ => media::OCI_TAR,
    })
}
