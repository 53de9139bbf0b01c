//! The proof of one image: pin → (index →) manifest → config → layers. Every step's bytes are proven before they are parsed.

use super::config;
use super::error::Error;
use super::flaw::Flaw;
use super::manifest::{self, Descriptor};
use super::media::{self, Kind};
use super::model::{Image, Layer};
use super::platform::Host;
use casemate_wire::Digest;
use sha2::{Digest as _, Sha256};

/// What holds after a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proof {
    /// The image, still without names.
    pub(super) image: Image,
    /// The documents that were read, the pin's first, the config last.
    pub(super) documents: Vec<Descriptor>,
}

impl Proof {
    /// Every blob of the image with its bytes, each once.
    pub(super) fn blobs(&self) -> Vec<(Digest, u64)> {
        let documents = self.documents.iter().map(|document| (document.digest, document.size));
        let layers = self.image.layers.iter().map(|layer| (layer.blob, layer.size));
        let mut blobs: Vec<_> = documents.chain(layers).collect();
        blobs.sort_unstable();
        blobs.dedup();
        blobs
    }
}

/// Follows the chain from `pin`. `read` gives a descriptor's bytes, proven.
pub(super) fn prove(
    pin: &Descriptor,
    host: Host,
    read: &mut dyn FnMut(&Descriptor) -> Result<Vec<u8>, Error>,
) -> Result<Proof, Error> {
    let mut documents = vec![pin.clone()];
    let mut bytes = read(pin)?;
    let mut target = pin.clone();
    let flawed = |descriptor: &Descriptor| Error::document(descriptor.digest);
    if kind(pin)? == Kind::Index {
        let entries = manifest::parse_index(&bytes, &pin.media_type).map_err(flawed(pin))?;
        target = host.choose(&entries).map_err(flawed(pin))?.descriptor.clone();
        bytes = read(&target)?;
        documents.push(target.clone());
    }
    let manifest = manifest::parse_manifest(&bytes, &target.media_type).map_err(flawed(&target))?;
    let bytes = read(&manifest.config)?;
    let config = config::parse(&bytes, manifest.layers.len()).map_err(flawed(&manifest.config))?;
    host.check(&config.platform).map_err(flawed(&manifest.config))?;
    let layers = layers(&manifest.layers, &config.diff_ids);
    documents.push(manifest.config);
    let image = Image { manifest: target.digest, config: config.defaults, layers, names: Vec::new() };
    Ok(Proof { image, documents })
}

fn kind(descriptor: &Descriptor) -> Result<Kind, Error> {
    let found = &descriptor.media_type;
    media::kind(found).ok_or_else(|| Error::document(descriptor.digest)(Flaw::NotAnImage(found.clone())))
}

fn layers(descriptors: &[Descriptor], diff_ids: &[Digest]) -> Vec<Layer> {
    let mut below = None;
    let pairs = descriptors.iter().zip(diff_ids);
    let layers = pairs.map(|(descriptor, diff_id)| {
        let chain_id = chain_id(below, *diff_id);
        below = Some(chain_id);
        Layer { blob: descriptor.digest, size: descriptor.size, diff_id: *diff_id, chain_id }
    });
    layers.collect()
}

/// OCI image-spec, config.md, "Layer ChainID".
pub(super) fn chain_id(below: Option<Digest>, diff_id: Digest) -> Digest {
    below.map_or(diff_id, |below| Digest::from_bytes(Sha256::digest(format!("{below} {diff_id}").as_bytes()).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_id_is_the_digest_of_the_chain_below_and_the_diff_id() {
        let digest = |byte| Digest::from_bytes([byte; 32]);
        assert_eq!(chain_id(None, digest(1)), digest(1));
        // printf 'sha256:0101… sha256:0202…' | sha256sum
        let two = chain_id(Some(digest(1)), digest(2));
        assert_eq!(two.hex(), "ad00036de6f26a309d173ace61d4a45573a1658ab0ff36e3858c3dbee3c5ded8");
        assert_ne!(chain_id(Some(two), digest(3)), chain_id(Some(digest(2)), digest(3)));
    }
}
