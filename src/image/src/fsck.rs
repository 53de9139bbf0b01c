//! The whole store looked at: every blob hashed again, every image's chain proven, every layer's files compared with what is
//! known of them. What is damaged or half can be taken away, so that the next import brings it again; what is good stays.

use super::error::Error;
use super::import::Progress;
use super::media;
use super::model::{Image, Limits};
use super::name;
use super::prove::prove;
use super::prove_layers::{Doubt, prove_layer};
use super::record::Record;
use super::store::{Store, Writer};
use super::unpack::{layers, own_and_lent, remove_layer, sweep_layers, unpack_all};
use casemate_client::Client;
use casemate_wire::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::PathBuf;

/// The name of an image whose record was made anew from its blobs.
const RECOVERED: &str = "localhost/recovered";

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Not what it was: nothing that needs it can be relied on.
    Damaged,
    /// Needed, and not there.
    Missing,
    /// There, and nobody needs it.
    Leftover,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub kind: Kind,
    /// Which.
    pub object: String,
    /// What is the matter with it.
    pub reason: String,
    /// It is as it should be now, or gone.
    pub repaired: bool,
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Images.
    pub images: usize,
    /// Blobs.
    pub blobs: usize,
    /// Layers, those of other stores among them.
    pub layers: usize,
    /// Stores of others, which are looked at and not repaired: where each lies, its images and its blobs.
    pub lent: Vec<(PathBuf, usize, usize)>,
    /// Findings, in the order of the search.
    pub findings: Vec<Finding>,
}

/// Looks at everything; `repair`: and takes away what is wrong, unpacks what is missing.
pub fn fsck(
    client: &mut Client,
    writer: &Writer<'_>,
    repair: bool,
    progress: &mut dyn Progress,
) -> Result<Report, Error> {
    let mut search = Search { writer, store: writer.store(), repair, report: Report::default() };
    let records = search.records()?;
    let blobs = search.blobs(&records, progress)?;
    let mut whole = search.images(&records, &blobs)?;
    let (lent, images) = search.lent(progress)?;
    let removed = search.layers(client, &needed(&records).union(&lent).copied().collect(), &lent)?;
    whole.extend(images.into_iter().filter(|image| image.layers.iter().any(|layer| removed.contains(&layer.chain_id))));
    if repair {
        search.unpack(client, &whole, progress)?;
    }
    search.leftovers(client, &records, &lent, &blobs)?;
    Ok(search.report)
}

struct Search<'a> {
    writer: &'a Writer<'a>,
    store: &'a Store,
    repair: bool,
    report: Report,
}

impl Search<'_> {
    fn note(&mut self, kind: Kind, object: impl Display, reason: impl Display) {
        let (object, reason) = (object.to_string(), reason.to_string());
        self.report.findings.push(Finding { kind, object, reason, repaired: false });
    }

    /// The finding that was noted last has been dealt with.
    fn repaired(&mut self) {
        if let Some(finding) = self.report.findings.last_mut() {
            finding.repaired = true;
        }
    }

    /// Every record that can be read. One that cannot is made anew from its blobs where they are good, else removed.
    fn records(&mut self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        for pin in self.store.pins()? {
            self.report.images += 1;
            match self.store.own_record(&pin) {
                Ok(record) => records.extend(record),
                Err(error) => {
                    let reason = damage(error)?;
                    self.note(Kind::Damaged, format_args!("record of image {pin}"), reason);
                    if self.repair {
                        match self.recover(&pin)? {
                            Some(record) => {
                                self.writer.replace(&record)?;
                                records.push(record);
                            }
                            None => self.writer.remove(&pin)?,
                        }
                        self.repaired();
                    }
                }
            }
        }
        Ok(records)
    }

    /// A pin names its document, and the document everything else but the names.
    fn recover(&self, pin: &Digest) -> Result<Option<Record>, Error> {
        let Some((_, size)) = self.store.blobs()?.into_iter().find(|(digest, _)| digest == pin) else {
            return Ok(None);
        };
        for media_type in [media::OCI_MANIFEST, media::OCI_INDEX, media::DOCKER_MANIFEST, media::DOCKER_LIST] {
            let descriptor = super::manifest::Descriptor { media_type: media_type.to_owned(), digest: *pin, size };
            let read = &mut |document: &_| self.writer.read_document(document);
            if let Ok(proof) = prove(&descriptor, self.store.host(), read) {
                return Ok(Some(super::import::record(&descriptor, vec![RECOVERED.to_owned()], &proof)));
            }
        }
        Ok(None)
    }

    /// Hashes every blob. Gives those that are good.
    fn blobs(&mut self, records: &[Record], progress: &mut dyn Progress) -> Result<BTreeMap<Digest, u64>, Error> {
        let mut good = BTreeMap::new();
        for (digest, size) in self.store.blobs()? {
            self.report.blobs += 1;
            progress.blob(&digest.to_string(), size);
            let Some(reason) = self.store.doubt_blob(&digest, &mut |done| progress.at(done))? else {
                good.insert(digest, size);
                continue;
            };
            let of = records.iter().find(|record| record.blobs.iter().any(|(blob, _)| *blob == digest));
            let of = of.and_then(|record| record.names.first()).map(|name| format!(" of {name}")).unwrap_or_default();
            self.note(Kind::Damaged, format_args!("blob {digest}{of}"), reason);
            if self.repair {
                self.store.remove_blob(&digest)?;
                self.repaired();
            }
        }
        Ok(good)
    }

    /// Proves every image's chain. Gives those of which every blob is good.
    fn images(&mut self, records: &[Record], blobs: &BTreeMap<Digest, u64>) -> Result<Vec<Image>, Error> {
        let mut whole = Vec::new();
        for record in records {
            let name = record.names.first().map_or_else(|| record.pin.to_string(), Clone::clone);
            let missing: Vec<_> = record.blobs.iter().filter(|(digest, _)| !blobs.contains_key(digest)).collect();
            for (digest, _) in &missing {
                let pulled = record.names.iter().any(|name| name::is_of_a_registry(name));
                let again = if pulled { "`casemate pull` brings it again" } else { "import the image again" };
                let reason = format!("its blob is not there, or damaged; {again}");
                self.note(Kind::Missing, format_args!("image {name}: {digest}"), reason);
            }
            if !missing.is_empty() {
                continue;
            }
            match self.store.resolve(&record.pin) {
                Ok(image) => whole.push(image),
                Err(error) => {
                    let reason = damage(error)?;
                    self.note(Kind::Damaged, format_args!("image {name}"), reason);
                }
            }
        }
        Ok(whole)
    }

    /// Hashes the blobs of other stores, and proves their images. What is wrong there stays: nobody writes there but who made them.
    /// Gives the layers of these images, and the images of which every blob is good.
    fn lent(&mut self, progress: &mut dyn Progress) -> Result<(BTreeSet<Digest>, Vec<Image>), Error> {
        let (mut needed, mut whole) = (BTreeSet::new(), Vec::new());
        let store = self.store;
        for other in store.preloaded() {
            let place = format!(" of {}, which is only read", other.path().display());
            let (blobs, mut images, mut good) = (other.blobs()?, 0, BTreeSet::new());
            for (digest, size) in &blobs {
                progress.blob(&digest.to_string(), *size);
                if let Some(reason) = other.doubt_blob(digest, &mut |done| progress.at(done))? {
                    self.note(Kind::Damaged, format_args!("blob {digest}{place}"), reason);
                } else {
                    good.insert(*digest);
                }
            }
            for (pin, record) in other.each_record()? {
                let record = match record {
                    Ok(record) => record,
                    Err(error) => {
                        let reason = damage(error)?;
                        self.note(Kind::Damaged, format_args!("record of image {pin}{place}"), reason);
                        continue;
                    }
                };
                images += 1;
                match other.resolve(&record.pin) {
                    Ok(image) if image.layers.iter().all(|layer| good.contains(&layer.blob)) => whole.push(image),
                    Ok(_) => {}
                    Err(error) => {
                        let reason = damage(error)?;
                        self.note(Kind::Damaged, format_args!("image {}{place}", record.pin), reason);
                    }
                }
                needed.extend(record.layers);
            }
            self.report.lent.push((other.path().to_owned(), images, blobs.len()));
        }
        Ok((needed, whole))
    }

    /// Compares the files of every layer that is needed with what is known of them. One that could be lent and is not yet, is when the
    /// helper starts the next time; of one that is lent and not what it was, a repair removes the link and not the layer. Gives those
    /// that it has removed.
    fn layers(
        &mut self,
        client: &mut Client,
        needed: &BTreeSet<Digest>,
        lent: &BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, Error> {
        let (present, mut removed) = (layers(client)?, BTreeSet::new());
        for layer in needed.iter().copied() {
            if !present.contains(&layer) && lent.contains(&layer) {
                continue;
            }
            if !present.contains(&layer) {
                self.note(Kind::Missing, format_args!("layer {layer}"), "it is not unpacked");
                continue;
            }
            self.report.layers += 1;
            let doubt = match prove_layer(client, self.store, &layer) {
                Ok(doubt) => doubt,
                Err(error) => Some(Doubt::Changed(vec![damage(error)?])),
            };
            let reason = match doubt {
                None => continue,
                Some(Doubt::Unknown) => "nothing is known of its files".to_owned(),
                Some(Doubt::Changed(found)) => found.join("; "),
            };
            self.note(Kind::Damaged, format_args!("layer {layer}"), reason);
            if self.repair {
                if remove_layer(client, self.store, &layer)? {
                    self.repaired();
                    removed.insert(layer);
                } else if let Some(finding) = self.report.findings.last_mut() {
                    finding.reason.push_str("; a container runs on it: stop it, and repair again");
                }
            }
        }
        Ok(removed)
    }

    /// Unpacks what is missing of the images whose blobs are good.
    fn unpack(&mut self, client: &mut Client, images: &[Image], progress: &mut dyn Progress) -> Result<(), Error> {
        for image in images {
            unpack_all(client, self.writer, image, &Limits::default(), progress)?;
        }
        let present = layers(client)?;
        for finding in &mut self.report.findings {
            let layer = finding.object.strip_prefix("layer ").and_then(|text| text.parse().ok());
            finding.repaired |= finding.kind == Kind::Missing && layer.is_some_and(|layer| present.contains(&layer));
        }
        Ok(())
    }

    fn leftovers(
        &mut self,
        client: &mut Client,
        records: &[Record],
        lent: &BTreeSet<Digest>,
        blobs: &BTreeMap<Digest, u64>,
    ) -> Result<(), Error> {
        let named: BTreeSet<_> = records.iter().flat_map(|record| &record.blobs).map(|(digest, _)| *digest).collect();
        for digest in blobs.keys().filter(|digest| !named.contains(digest)) {
            self.note(Kind::Leftover, format_args!("blob {digest}"), "no image needs it");
        }
        for layer in own_and_lent(client)?.0.difference(&needed(records)).filter(|layer| !lent.contains(layer)) {
            self.note(Kind::Leftover, format_args!("layer {layer}"), "no image needs it");
        }
        for name in self.store.strays()? {
            self.note(Kind::Leftover, format_args!("file {name}"), "what was being written is not finished");
        }
        if self.repair {
            self.writer.sweep()?;
            sweep_layers(client, self.store)?;
            let left = layers(client)?;
            let stays = self.store.strays()?;
            for finding in self.report.findings.iter_mut().filter(|finding| finding.kind == Kind::Leftover) {
                // The next pull goes on from what one has of a blob; `gc` removes it.
                if finding.object.strip_prefix("file ").is_some_and(|name| stays.iter().any(|stray| stray == name)) {
                    continue;
                }
                let layer = finding.object.strip_prefix("layer ").and_then(|text| text.parse().ok());
                finding.repaired = layer.is_none_or(|layer| !left.contains(&layer));
            }
        }
        Ok(())
    }
}

fn needed(records: &[Record]) -> BTreeSet<Digest> {
    records.iter().flat_map(|record| record.layers.iter().copied()).collect()
}

/// What an error says of the store's bytes; any other error ends the search.
fn damage(error: Error) -> Result<String, Error> {
    match error {
        Error::Document { flaw, .. } => Ok(flaw.to_string()),
        Error::Damaged { reason, .. } => Ok(reason),
        Error::Helper { layer: Some(_), error } if !error.ends_connection() => Ok(error.to_string()),
        Error::Io { source, .. } if source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
            Ok(source.to_string())
        }
        error => Err(error),
    }
}
