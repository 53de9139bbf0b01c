//! Checks the whole store: hashes every blob, resolves every image, compares every layer's files with its inventory. A repair removes
//! what is damaged or incomplete, so that the next import or pull brings it in again.

mod report;

pub use report::{Finding, Object, ReadOnlyReport, Report, Severity};

use super::layers;
use super::limits::Limits;
use super::progress::Progress;
use super::record::Record;
use super::store::{Store, Writer};
use super::verify::{LayerDamage, verify_layer};
use crate::documents::{DOCKER_LIST, DOCKER_MANIFEST, Descriptor, Image, OCI_INDEX, OCI_MANIFEST, resolve};
use crate::error::Error;
use crate::names;
use casemate_client::Client;
use casemate_wire::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The name of an image whose record was written again from its blobs.
const RECOVERED: &str = "localhost/recovered";

/// Checks the store. `repair`: also removes what is damaged, and unpacks missing layers.
pub fn fsck(
    client: &mut Client,
    writer: &Writer<'_>,
    repair: bool,
    progress: &mut dyn Progress,
) -> Result<Report, Error> {
    let mut check = Check { writer, store: writer.store(), repair, report: Report::default() };
    let records = check.records()?;
    let blobs = check.blobs(&records, progress)?;
    let mut complete = check.images(&records, &blobs)?;
    let (read_only, images) = check.read_only(progress)?;
    let needed = layers_of(&records).union(&read_only).copied().collect();
    let removed = check.layers(client, &needed, &read_only)?;
    let lost_layer = |image: &Image| image.layers.iter().any(|layer| removed.contains(&layer.chain_id));
    complete.extend(images.into_iter().filter(lost_layer));
    if repair {
        check.unpack(client, &complete, progress)?;
    }
    check.leftovers(client, &records, &read_only, &blobs)?;
    Ok(check.report)
}

struct Check<'a> {
    writer: &'a Writer<'a>,
    store: &'a Store,
    repair: bool,
    report: Report,
}

impl Check<'_> {
    fn add(&mut self, severity: Severity, object: Object, reason: impl fmt::Display) {
        self.report.findings.push(Finding { severity, object, reason: reason.to_string(), repaired: false });
    }

    /// Marks the last finding as repaired.
    fn repaired(&mut self) {
        if let Some(finding) = self.report.findings.last_mut() {
            finding.repaired = true;
        }
    }

    /// Reads every record. A repair writes a damaged one again from its blobs where they are good, and else removes it.
    fn records(&mut self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        for pin in self.store.pins()? {
            self.report.images += 1;
            match self.store.own_record(&pin) {
                Ok(record) => records.extend(record),
                Err(error) => {
                    let reason = damage(error)?;
                    self.add(Severity::Damaged, Object::Record { pin, store: None }, reason);
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

    /// Makes a record again: the pin names the document, and the documents have everything but the image's names.
    fn recover(&self, pin: &Digest) -> Result<Option<Record>, Error> {
        let Some((_, size)) = self.store.blobs()?.into_iter().find(|(digest, _)| digest == pin) else {
            return Ok(None);
        };
        for media_type in [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST] {
            let descriptor = Descriptor { media_type: media_type.to_owned(), digest: *pin, size };
            let read = &mut |document: &_| self.writer.read_document(document);
            if let Ok(resolved) = resolve(&descriptor, self.store.host(), read) {
                return Ok(Some(Record::new(&descriptor, vec![RECOVERED.to_owned()], &resolved)));
            }
        }
        Ok(None)
    }

    /// Hashes every blob. Returns those without damage.
    fn blobs(&mut self, records: &[Record], progress: &mut dyn Progress) -> Result<BTreeMap<Digest, u64>, Error> {
        let mut good = BTreeMap::new();
        for (blob, size) in self.store.blobs()? {
            self.report.blobs += 1;
            progress.blob(&blob.to_string(), size);
            let Some(reason) = self.store.verify_blob(&blob, &mut |done| progress.at(done))? else {
                good.insert(blob, size);
                continue;
            };
            let of = records.iter().find(|record| record.blobs.iter().any(|(other, _)| *other == blob));
            let image = of.and_then(|record| record.names.first()).cloned();
            self.add(Severity::Damaged, Object::Blob { blob, image }, reason);
            if self.repair {
                self.store.remove_blob(&blob)?;
                self.repaired();
            }
        }
        Ok(good)
    }

    /// Resolves every image. Returns those of which every blob is good.
    fn images(&mut self, records: &[Record], blobs: &BTreeMap<Digest, u64>) -> Result<Vec<Image>, Error> {
        let mut complete = Vec::new();
        for record in records {
            let image = record.names.first().map_or_else(|| record.pin.to_string(), Clone::clone);
            let missing: Vec<_> = record.blobs.iter().filter(|(digest, _)| !blobs.contains_key(digest)).collect();
            for (blob, _) in &missing {
                let pulled = record.names.iter().any(|name| names::has_registry(name));
                let again = if pulled { "`casemate pull` downloads it again" } else { "import the image again" };
                let object = Object::BlobOfImage { image: image.clone(), blob: *blob };
                self.add(Severity::Missing, object, format_args!("its blob is missing or damaged; {again}"));
            }
            if !missing.is_empty() {
                continue;
            }
            match self.store.resolve(&record.pin) {
                Ok(image) => complete.push(image),
                Err(error) => {
                    let reason = damage(error)?;
                    self.add(Severity::Damaged, Object::Image { image, store: None }, reason);
                }
            }
        }
        Ok(complete)
    }

    /// Hashes the blobs of read-only stores and resolves their images. Damage there is reported only. Returns the layers of these
    /// images, and the images of which every blob is good.
    fn read_only(&mut self, progress: &mut dyn Progress) -> Result<(BTreeSet<Digest>, Vec<Image>), Error> {
        let mut needed = BTreeSet::new();
        let mut complete = Vec::new();
        let store = self.store;
        for other in store.read_only() {
            let path = || other.path().to_owned();
            let blobs = other.blobs().list()?;
            let mut images = 0;
            let mut good = BTreeSet::new();
            for (blob, size) in &blobs {
                progress.blob(&blob.to_string(), *size);
                if let Some(reason) = other.blobs().verify(blob, &mut |done| progress.at(done))? {
                    self.add(Severity::Damaged, Object::ReadOnlyBlob { blob: *blob, store: path() }, reason);
                } else {
                    good.insert(*blob);
                }
            }
            for (pin, record) in other.each_record()? {
                let record = match record {
                    Ok(record) => record,
                    Err(error) => {
                        let reason = damage(error)?;
                        self.add(Severity::Damaged, Object::Record { pin, store: Some(path()) }, reason);
                        continue;
                    }
                };
                images += 1;
                match other.resolve(&record.pin, store.host()) {
                    Ok(image) if image.layers.iter().all(|layer| good.contains(&layer.blob)) => complete.push(image),
                    Ok(_) => {}
                    Err(error) => {
                        let reason = damage(error)?;
                        let object = Object::Image { image: record.pin.to_string(), store: Some(path()) };
                        self.add(Severity::Damaged, object, reason);
                    }
                }
                needed.extend(record.layers);
            }
            self.report.read_only.push(ReadOnlyReport { path: path(), images, blobs: blobs.len() });
        }
        Ok((needed, complete))
    }

    /// Compares the files of every needed layer with its inventory. A layer of a read-only store that is not linked yet is linked when
    /// the helper starts; a repair removes the link of a damaged one, not the layer. Returns the layers that were removed.
    fn layers(
        &mut self,
        client: &mut Client,
        needed: &BTreeSet<Digest>,
        read_only: &BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, Error> {
        let present = layers::list(client)?;
        let mut removed = BTreeSet::new();
        for layer in needed.iter().copied() {
            if !present.contains(&layer) && read_only.contains(&layer) {
                continue;
            }
            if !present.contains(&layer) {
                self.add(Severity::Missing, Object::Layer(layer), "it is not unpacked");
                continue;
            }
            self.report.layers += 1;
            let damage = match verify_layer(client, self.store, &layer) {
                Ok(damage) => damage,
                Err(error) => Some(LayerDamage::Changed(vec![damage(error)?])),
            };
            let Some(damage) = damage else { continue };
            self.add(Severity::Damaged, Object::Layer(layer), damage);
            if self.repair {
                if layers::remove(client, self.store, &layer)? {
                    self.repaired();
                    removed.insert(layer);
                } else if let Some(finding) = self.report.findings.last_mut() {
                    finding.reason.push_str("; a container runs on it: stop it, and repair again");
                }
            }
        }
        Ok(removed)
    }

    /// Unpacks the missing layers of images whose blobs are good.
    fn unpack(&mut self, client: &mut Client, images: &[Image], progress: &mut dyn Progress) -> Result<(), Error> {
        for image in images {
            layers::unpack_all(client, self.writer, image, &Limits::default(), progress)?;
        }
        let present = layers::list(client)?;
        for finding in &mut self.report.findings {
            if let (Severity::Missing, Object::Layer(layer)) = (finding.severity, &finding.object) {
                finding.repaired |= present.contains(layer);
            }
        }
        Ok(())
    }

    fn leftovers(
        &mut self,
        client: &mut Client,
        records: &[Record],
        read_only: &BTreeSet<Digest>,
        blobs: &BTreeMap<Digest, u64>,
    ) -> Result<(), Error> {
        let named: BTreeSet<_> = records.iter().flat_map(|record| &record.blobs).map(|(digest, _)| *digest).collect();
        for blob in blobs.keys().filter(|digest| !named.contains(digest)) {
            self.add(Severity::Leftover, Object::Blob { blob: *blob, image: None }, "no image needs it");
        }
        let own = layers::list(client)?.own;
        for layer in own.difference(&layers_of(records)).filter(|layer| !read_only.contains(layer)) {
            self.add(Severity::Leftover, Object::Layer(*layer), "no image needs it");
        }
        for name in self.store.leftovers()? {
            self.add(Severity::Leftover, Object::File(name), "its writer has not finished");
        }
        if self.repair {
            self.writer.sweep()?;
            layers::sweep(client, self.store)?;
            let layers = layers::list(client)?;
            let files = self.store.leftovers()?;
            for finding in self.report.findings.iter_mut().filter(|finding| finding.severity == Severity::Leftover) {
                finding.repaired = match &finding.object {
                    // The partial blob of an interrupted pull stays: the next pull resumes it, and `gc` removes it.
                    Object::File(name) => !files.contains(name),
                    Object::Layer(layer) => !layers.contains(layer),
                    _ => true,
                };
            }
        }
        Ok(())
    }
}

fn layers_of(records: &[Record]) -> BTreeSet<Digest> {
    records.iter().flat_map(|record| record.layers.iter().copied()).collect()
}

/// The damage that an error reports; any other error ends the check.
fn damage(error: Error) -> Result<String, Error> {
    match error {
        Error::Document(invalid) => Ok(invalid.error.to_string()),
        Error::Damaged { reason, .. } => Ok(reason),
        Error::Helper { layer: Some(_), error } if !error.ends_connection() => Ok(error.to_string()),
        Error::Io { source, .. } if source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
            Ok(source.to_string())
        }
        error => Err(error),
    }
}
