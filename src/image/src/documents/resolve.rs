//! Resolves a pin to an image: pin → (index →) manifest → config → layers. Every document is verified before it is parsed.

use super::config;
use super::error::{Error, InvalidDocument};
use super::image::{Image, Layer};
use super::manifest::{self, Descriptor};
use super::media_types::{self, Kind};
use super::platform::Host;
use casemate_wire::Digest;
use sha2::{Digest as _, Sha256};

/// A resolved pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolvedImage {
    /// The image, without names.
    pub(crate) image: Image,
    /// The documents that were read: the pin's first, the config last.
    pub(crate) documents: Vec<Descriptor>,
}

impl ResolvedImage {
    /// Every blob of the image with its size, each once, sorted by digest.
    pub(crate) fn blobs(&self) -> Vec<(Digest, u64)> {
        let documents = self.documents.iter().map(|document| (document.digest, document.size));
        let layers = self.image.layers.iter().map(|layer| (layer.blob, layer.size));
        let mut blobs: Vec<_> = documents.chain(layers).collect();
        blobs.sort_unstable();
        blobs.dedup();
        blobs
    }
}

/// Follows the chain from `pin`. `read` returns the bytes of a descriptor's blob, whose digest and size it has verified.
pub(crate) fn resolve<E: From<InvalidDocument>>(
    pin: &Descriptor,
    host: Host,
    read: &mut dyn FnMut(&Descriptor) -> Result<Vec<u8>, E>,
) -> Result<ResolvedImage, E> {
    let mut documents = vec![pin.clone()];
    let mut bytes = read(pin)?;
    let mut target = pin.clone();
    if kind(pin)? == Kind::Index {
        let entries = manifest::parse_index(&bytes, &pin.media_type).map_err(invalid(pin))?;
        target = host.choose(&entries).map_err(invalid(pin))?.descriptor.clone();
        bytes = read(&target)?;
        documents.push(target.clone());
    }
    let manifest = manifest::parse_manifest(&bytes, &target.media_type).map_err(invalid(&target))?;
    let bytes = read(&manifest.config)?;
    let config = config::parse(&bytes, manifest.layers.len()).map_err(invalid(&manifest.config))?;
    host.check(&config.platform).map_err(invalid(&manifest.config))?;
    let layers = layers(&manifest.layers, &config.diff_ids);
    documents.push(manifest.config);
    let image = Image { manifest: target.digest, config: config.defaults, layers, names: Vec::new() };
    let resolved = ResolvedImage { image, documents };
    let blobs = resolved.blobs();
    // The list is sorted and has each pair once, so a digest that stands twice has two sizes.
    let twice = blobs.iter().zip(blobs.iter().skip(1)).find(|((one, _), (next, _))| one == next);
    match twice {
        Some(((digest, _), _)) => Err(invalid(&target)(Error::Sizes(digest.to_string())).into()),
        None => Ok(resolved),
    }
}

fn invalid(descriptor: &Descriptor) -> impl Fn(Error) -> InvalidDocument {
    let digest = descriptor.digest;
    move |error| error.in_document(digest)
}

fn kind(descriptor: &Descriptor) -> Result<Kind, InvalidDocument> {
    let found = &descriptor.media_type;
    media_types::kind(found).ok_or_else(|| invalid(descriptor)(Error::NotAnImage(found.clone())))
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
fn chain_id(below: Option<Digest>, diff_id: Digest) -> Digest {
    below.map_or(diff_id, |below| Digest::from_bytes(Sha256::digest(format!("{below} {diff_id}").as_bytes()).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_id_is_the_digest_of_the_chain_below_and_the_diff_id() {
        let digest = |byte| Digest::from_bytes([byte; 32]);
        assert_eq!(chain_id(None, digest(1)), digest(1));
        // printf 'sha256:0101… sha256:0202…' | sha256sum
        let two = chain_id(Some(digest(1)), digest(2));
        assert_eq!(two.hex(), "ad00036de6f26a309d173ace61d4a45573a1658ab0ff36e3858c3dbee3c5ded8");
        assert_ne!(chain_id(Some(two), digest(3)), chain_id(Some(digest(2)), digest(3)));
    }

    #[test]
    fn threat_14_resolve_refuses_two_sizes_of_one_blob() {
        let digest = |bytes: &[u8]| Digest::from_bytes(Sha256::digest(bytes).into());
        let same = digest(b"layer");
        let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        let config = format!(
            "{{\"architecture\":\"{architecture}\",\"os\":\"linux\",\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"{same}\",\"{same}\"]}}}}"
        );
        let resolved = |sizes: [u64; 2]| {
            let layer =
                |size| format!("{{\"mediaType\":\"{}\",\"size\":{size},\"digest\":\"{same}\"}}", media_types::OCI_TAR);
            let manifest = format!(
                "{{\"schemaVersion\":2,\"mediaType\":\"{}\",\"config\":{{\"mediaType\":\"{}\",\"size\":{},\"digest\":\"{}\"}},\"layers\":[{},{}]}}",
                media_types::OCI_MANIFEST,
                media_types::OCI_CONFIG,
                config.len(),
                digest(config.as_bytes()),
                layer(sizes[0]),
                layer(sizes[1])
            );
            let pin = Descriptor {
                media_type: media_types::OCI_MANIFEST.to_owned(),
                digest: digest(manifest.as_bytes()),
                size: manifest.len() as u64,
            };
            let texts = [manifest, config.clone()];
            resolve(&pin, Host::this(), &mut |document| {
                Ok::<_, InvalidDocument>(
                    texts.iter().find(|text| digest(text.as_bytes()) == document.digest).unwrap().clone().into_bytes(),
                )
            })
        };
        assert_eq!(resolved([5, 5]).unwrap().blobs().len(), 3);
        let error = resolved([5, 6]).unwrap_err().to_string();
        assert!(error.contains(&format!("two sizes for {same}")), "{error}");
    }
}
