//! `casemate image inspect`.

use super::Work;
use crate::print;
use crate::{Error, Global, escaped};
use casemate_image::documents::rfc3339;
use casemate_image::store::{self, InventoryRecord, Record, layers};
use casemate_image::{Image, Layer, names};
use casemate_wire::{Digest, LayerReport};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Show the defaults and layers of an image, and what was left out of the layers
///
/// The file can override each of the defaults; nothing else of the image's config is used. Device nodes, set-id bits and extended
/// attributes are left out of layers: each is counted, and the first are listed.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// A name, a pin, or at least the first six digits of a digest
    #[arg(value_name = "NAME|DIGEST")]
    image: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    references: Vec<String>,
    pin: String,
    manifest: String,
    media_type: String,
    imported: String,
    bytes: u64,
    defaults: Defaults,
    layers: Vec<ShownLayer>,
}

#[derive(Serialize)]
struct Defaults {
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    env: Vec<String>,
    working_dir: Option<String>,
    user: Option<String>,
    stop_signal: Option<String>,
    exposed_ports: Vec<String>,
    volumes: Vec<String>,
    labels: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct ShownLayer {
    blob: String,
    size: u64,
    diff_id: String,
    chain_id: String,
    /// Number of other images in the store with the same layer.
    shared_with: usize,
    /// `null`: the layer is not unpacked.
    unpacked: Option<Unpacked>,
}

#[derive(Serialize)]
struct Unpacked {
    bytes: u64,
    entries: u64,
    devices: u64,
    set_id: u64,
    xattrs: u64,
    left_out: Vec<String>,
}

impl Inspect {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let mut work = Work::enter(global)?;
        let shown = self.look(&mut work);
        let shown = work.leave(shown)?;
        if self.json { print::json(&shown) } else { print::text(&page(&shown)) }
    }

    fn look(&self, work: &mut Work) -> Result<Shown, Error> {
        work.confine()?;
        let records = work.store.all_records()?;
        let record = store::select(&records, &self.image)?;
        let image = work.store.resolve(&record.pin)?;
        let present = layers::list(&mut work.client)?;
        let inventory = |layer: &Layer| match present.contains(&layer.chain_id) {
            true => work.store.inventory_record(&layer.chain_id),
            false => Ok(None),
        };
        let inventories = image.layers.iter().map(inventory).collect::<Result<Vec<_>, _>>()?;
        Ok(shown(record, image, inventories, &records))
    }
}

fn shown(record: &Record, image: Image, inventories: Vec<Option<InventoryRecord>>, records: &[Record]) -> Shown {
    let layers = image.layers.iter().zip(inventories).map(|(layer, inventory)| ShownLayer {
        blob: layer.blob.to_string(),
        size: layer.size,
        diff_id: layer.diff_id.to_string(),
        chain_id: layer.chain_id.to_string(),
        shared_with: sharing(records, &record.pin, &layer.chain_id),
        unpacked: inventory.map(|inventory| unpacked(inventory.report)),
    });
    let layers = layers.collect();
    let config = image.config;
    Shown {
        references: record.names.iter().map(|name| names::pinned(name, &record.pin)).collect(),
        pin: record.pin.to_string(),
        manifest: image.manifest.to_string(),
        media_type: record.media_type.clone(),
        imported: rfc3339(record.imported),
        bytes: record.bytes(),
        defaults: Defaults {
            entrypoint: config.entrypoint,
            cmd: config.cmd,
            env: config.env,
            working_dir: config.working_dir,
            user: config.user,
            stop_signal: config.stop_signal,
            exposed_ports: config.exposed_ports,
            volumes: config.volumes,
            labels: config.labels,
        },
        layers,
    }
}

fn sharing(records: &[Record], pin: &Digest, chain_id: &Digest) -> usize {
    records.iter().filter(|record| record.pin != *pin && record.layers.contains(chain_id)).count()
}

fn unpacked(report: LayerReport) -> Unpacked {
    let LayerReport { entries, bytes, devices, set_id, xattrs, left_out } = report;
    Unpacked { bytes, entries, devices, set_id, xattrs, left_out }
}

fn page(shown: &Shown) -> String {
    let mut page = String::new();
    let mut line = |key: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(page, "{key:<14} {}", escaped(value));
    };
    for reference in &shown.references {
        line("image", reference);
    }
    line("manifest", &shown.manifest);
    line("media type", &shown.media_type);
    line("imported", &shown.imported);
    line("size", &print::size(shown.bytes));
    let defaults = &shown.defaults;
    let words = |words: &[String]| words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" ");
    line("entrypoint", &words(&defaults.entrypoint));
    line("cmd", &words(&defaults.cmd));
    line("working dir", defaults.working_dir.as_deref().unwrap_or_default());
    line("user", defaults.user.as_deref().unwrap_or_default());
    line("stop signal", defaults.stop_signal.as_deref().unwrap_or_default());
    let pairs = defaults.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
    for (key, values) in [
        ("env", &defaults.env),
        ("exposed port", &defaults.exposed_ports),
        ("volume", &defaults.volumes),
        ("label", &pairs),
    ] {
        values.iter().for_each(|value| line(key, value));
    }
    for (number, layer) in shown.layers.iter().enumerate() {
        line(&format!("layer {}", number + 1), &layer_line(layer));
        for left_out in layer.unpacked.iter().flat_map(|unpacked| &unpacked.left_out) {
            line("  left out", left_out);
        }
    }
    page
}

fn layer_line(layer: &ShownLayer) -> String {
    let mut text = format!("{} {}", layer.chain_id, print::size(layer.size));
    match &layer.unpacked {
        None => text.push_str(", not unpacked"),
        Some(unpacked) => {
            let _ = write!(text, ", unpacked {} in {} entries", print::size(unpacked.bytes), unpacked.entries);
            let counts = [
                (unpacked.devices, "device nodes"),
                (unpacked.set_id, "set-id bits"),
                (unpacked.xattrs, "extended attributes"),
            ];
            for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
                let _ = write!(text, ", without {count} {what}");
            }
        }
    }
    if layer.shared_with > 0 {
        let _ = write!(text, ", shared with {} more", layer.shared_with);
    }
    text
}
