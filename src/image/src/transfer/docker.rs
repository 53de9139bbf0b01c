//! A `docker save` archive of the old form: its `manifest.json` names a config and layer tars, and there is no manifest to pin. A manifest
//! is made from them, the same for the same bytes on every host, and its digest becomes the pin.

use crate::documents::manifest::MAX_LAYERS;
use crate::documents::{
    self, Descriptor, MAX_DOCUMENT, OCI_CONFIG, OCI_MANIFEST, OCI_TAR, OCI_TAR_GZIP, OCI_TAR_ZSTD, write,
};
use crate::error::Error;
use crate::layout::{Input, NamedImage, Part};
use crate::names;
use crate::store::{Expected, Limits, Progress, Writer};
use casemate_wire::Digest;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;

const MAX_IMAGES: usize = 1000;

/// An entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Copies the blobs of every image that `manifest.json` names, and writes a manifest for each.
pub(super) fn images(
    writer: &Writer<'_>,
    input: &Input,
    limits: &Limits,
    progress: &mut dyn Progress,
) -> Result<Vec<NamedImage>, Error> {
    let object = format!("manifest.json in {}", input.path.display());
    let bytes = input.read("manifest.json", MAX_DOCUMENT)?;
    let images = parse(&bytes).map_err(Error::document(object))?;
    let mut importer = Importer { writer, input, limits, progress, layers: BTreeMap::new() };
    images.iter().map(|image| importer.image(image)).collect()
}

fn parse(bytes: &[u8]) -> Result<Vec<SavedImage>, documents::Error> {
    let document = documents::parse_json(bytes)?;
    for image in document.as_array().into_iter().flatten() {
        documents::refuse_lookalikes(image, &["Config", "RepoTags", "Layers"])?;
    }
    let images: Vec<SavedImage> =
        documents::typed::<Vec<Value>>(document)?.into_iter().map(documents::typed).collect::<Result<_, _>>()?;
    if images.is_empty() || images.len() > MAX_IMAGES {
        return Err(documents::Error::TooMany { what: "images, or none", limit: MAX_IMAGES });
    }
    if images.iter().any(|image| image.layers.len() > MAX_LAYERS) {
        return Err(documents::Error::TooMany { what: "layers", limit: MAX_LAYERS });
    }
    Ok(images)
}

struct Importer<'a> {
    writer: &'a Writer<'a>,
    input: &'a Input,
    limits: &'a Limits,
    progress: &'a mut dyn Progress,
    /// Layers that are copied, by path: images of one archive share them.
    layers: BTreeMap<String, Descriptor>,
}

impl Importer<'_> {
    fn image(&mut self, image: &SavedImage) -> Result<NamedImage, Error> {
        let config = self.config(&image.config)?;
        let layers = image.layers.iter().map(|path| self.layer(path)).collect::<Result<Vec<_>, _>>()?;
        let bytes = write::manifest(&config, &layers).map_err(Error::document("the new manifest"))?;
        let size = bytes.len() as u64;
        let digest =
            self.writer.write_blob("the manifest", &mut bytes.as_slice(), Expected::Size(size), &mut |_| {})?;
        let pin = Descriptor { media_type: OCI_MANIFEST.to_owned(), digest, size };
        let tags = image.repo_tags.iter().flatten();
        let mut names: Vec<_> = tags.filter_map(|tag| names::from_docker(tag)).collect();
        if names.is_empty() {
            names.push(names::from_path(&self.input.path));
        }
        Ok(NamedImage { pin, names })
    }

    fn config(&mut self, path: &str) -> Result<Descriptor, Error> {
        let bytes = self.input.read(path, MAX_DOCUMENT)?;
        let size = bytes.len() as u64;
        // The old form names the config's file by its digest, which is verified.
        let stem = path.rsplit('/').next().unwrap_or(path);
        let named = Digest::from_hex(stem.strip_suffix(".json").unwrap_or(stem));
        let expected = named.map_or(Expected::Size(size), |digest| Expected::Exact { digest, size });
        let digest = self.writer.write_blob(path, &mut bytes.as_slice(), expected, &mut |_| {})?;
        Ok(Descriptor { media_type: OCI_CONFIG.to_owned(), digest, size })
    }

    fn layer(&mut self, path: &str) -> Result<Descriptor, Error> {
        if let Some(layer) = self.layers.get(path) {
            return Ok(layer.clone());
        }
        let part = self.input.part(path)?;
        self.limits.check_blob(path, part.size)?;
        self.progress.blob(path, part.size);
        let media_type = layer_type(part).map_err(Error::io("read", path))?.to_owned();
        let expected = Expected::Size(part.size);
        let digest = self.writer.write_blob(path, &mut part.reader(), expected, &mut |done| self.progress.at(done))?;
        let layer = Descriptor { media_type, digest, size: part.size };
        self.layers.insert(path.to_owned(), layer.clone());
        Ok(layer)
    }
}

/// The media type of a layer, by its first bytes: docker writes plain tars, and loads compressed ones too.
fn layer_type(part: &Part) -> std::io::Result<&'static str> {
    let mut magic = Vec::new();
    part.reader().take(4).read_to_end(&mut magic)?;
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => OCI_TAR_GZIP,
        [0x28, 0xb5, 0x2f, 0xfd] => OCI_TAR_ZSTD,
        _ => OCI_TAR,
    })
}
