//! `casemate store df`.

use crate::image::Work;
use crate::print;
use crate::{Error, Global, escaped};
use casemate_client::Error as ClientError;
use casemate_engine::launch::Directories;
use casemate_image::names;
use casemate_image::store::Record;
use casemate_image::store::usage::{Item, ReadOnlyUsage, Usage, usage};
use casemate_wire::{Digest, DiskUsage, Name, Reply, Request};
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Show the disk usage of images, layers, volumes and logs
///
/// Layers and blobs that several images share are counted once. RECLAIMABLE is not needed by an applied file. The size of a layer is
/// that of its unpacked files, the size of a blob that of its compressed file. "read-only" are images in the stores of `store.preload`.
#[derive(Debug, clap::Args)]
pub struct Df {
    /// Show every image, volume and log
    #[arg(short, long)]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    images: Vec<ShownImage>,
    blobs: Vec<ShownItem>,
    layers: Vec<ShownItem>,
    volumes: Vec<ShownVolume>,
    logs: Vec<ShownLog>,
    /// Read-only stores (`store.preload`), not counted above.
    preloaded: Vec<ShownStore>,
    /// Bytes of unfinished downloads.
    unfinished: u64,
    /// Free bytes on the file system of the store.
    free: u64,
    /// `store.free_space` of the applied file.
    reserve: u64,
}

#[derive(Serialize)]
struct ShownImage {
    references: Vec<String>,
    pin: String,
    /// Bytes of its blobs.
    bytes: u64,
    /// Bytes of the blobs that no other image has.
    own: u64,
    applied: bool,
}

#[derive(Serialize)]
struct ShownItem {
    digest: String,
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    images: Vec<String>,
    applied: bool,
}

#[derive(Serialize)]
struct ShownVolume {
    name: String,
    /// `null`, as `bytes`: the volume cannot be measured, because its directories are too deep for example.
    entries: Option<u64>,
    bytes: Option<u64>,
}

#[derive(Serialize)]
struct ShownStore {
    path: PathBuf,
    images: usize,
    /// Bytes of its blobs and of the layers that this instance uses.
    bytes: u64,
}

#[derive(Serialize)]
struct ShownLog {
    container: String,
    bytes: u64,
}

impl Df {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        // Volumes belong to the helper's user; the manager's user cannot list them.
        let volumes = names(&global.directories()?.state.join("volumes"));
        let mut work = Work::enter(global)?;
        let shown = look(&mut work, &volumes);
        let shown = work.leave(shown)?;
        if self.json {
            return print::json(&shown);
        }
        print::text(&if self.verbose { summary(&shown) + &details(&shown) } else { summary(&shown) })
    }
}

fn look(work: &mut Work, volumes: &[Name]) -> Result<Shown, Error> {
    work.confine()?;
    let directories = work.session.directories.clone();
    let usage = usage(&mut work.client, &work.store, &directories.state.join("revisions"))?;
    let mut measured = Vec::new();
    for volume in volumes {
        match work.client.call(&Request::DiskUsage(volume.clone()), &[]) {
            Ok((Reply::DiskUsage(DiskUsage { entries, bytes }), _)) => {
                measured.push(ShownVolume { name: volume.to_string(), entries: Some(entries), bytes: Some(bytes) });
            }
            Ok((reply, _)) => return Err(ClientError::unexpected(&reply).into()),
            // Removed in the meantime.
            Err(ClientError::Failed(failure)) if failure.errno == Some(rustix::io::Errno::NOENT.raw_os_error()) => {}
            // A container can make its own volume unmeasurable; the others are shown all the same.
            Err(error @ ClientError::Failed(_)) => {
                let _ = writeln!(std::io::stderr(), "casemate: volume `{volume}`: {error}");
                measured.push(ShownVolume { name: volume.to_string(), entries: None, bytes: None });
            }
            Err(error) => return Err(Error::from(error).about(format_args!("volume `{volume}`"))),
        }
    }
    Ok(Shown {
        images: usage.images.iter().map(|(record, applied)| shown_image(record, *applied, &usage)).collect(),
        blobs: usage.blobs.iter().map(shown_item).collect(),
        layers: usage.layers.iter().map(shown_item).collect(),
        volumes: measured,
        logs: logs(&directories),
        preloaded: usage.read_only.iter().map(shown_store).collect(),
        unfinished: work.store.unfinished()?,
        free: work.store.free()?,
        reserve: work.store.free_space(),
    })
}

/// Names of the entries of a directory; empty if the caller cannot read it.
fn names(directory: &Path) -> Vec<Name> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(opened) = rustix::fs::open(directory, flags, Mode::empty()) else { return Vec::new() };
    let entries = rustix::fs::Dir::read_from(&opened).into_iter().flatten().flatten();
    let mut names: Vec<Name> = entries.filter_map(|entry| Name::new(entry.file_name().to_str().ok()?).ok()).collect();
    names.sort();
    names
}

fn logs(directories: &Directories) -> Vec<ShownLog> {
    let sizes = |name: &Name| {
        let files = std::fs::read_dir(directories.logs(name)).into_iter().flatten().flatten();
        files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
    };
    let containers = names(&directories.state.join("logs"));
    containers.iter().map(|name| ShownLog { container: name.to_string(), bytes: sizes(name) }).collect()
}

fn shown_image(record: &Record, applied: bool, usage: &Usage) -> ShownImage {
    let own = |digest: &Digest| usage.blobs.iter().any(|blob| blob.digest == *digest && blob.images.len() == 1);
    ShownImage {
        references: record.names.iter().map(|name| names::pinned(name, &record.pin)).collect(),
        pin: record.pin.to_string(),
        bytes: record.bytes(),
        own: record.blobs.iter().filter(|(digest, _)| own(digest)).map(|(_, bytes)| bytes).sum(),
        applied,
    }
}

fn shown_store(store: &ReadOnlyUsage) -> ShownStore {
    ShownStore { path: store.path.clone(), images: store.images, bytes: store.blobs.saturating_add(store.layers) }
}

fn shown_item(item: &Item) -> ShownItem {
    ShownItem {
        digest: item.digest.to_string(),
        bytes: item.bytes,
        entries: item.entries,
        images: item.images.iter().map(Digest::to_string).collect(),
        applied: item.applied,
    }
}

fn summary(shown: &Shown) -> String {
    let row = |what: &str, count: usize, bytes: u64, reclaimable: Option<u64>| {
        let reclaimable = reclaimable.map_or_else(|| "-".to_owned(), print::size);
        format!("{what:<10} {count:>6} {:>10} {reclaimable:>12}\n", print::size(bytes))
    };
    let sum = |items: &[ShownItem]| items.iter().filter_map(|item| item.bytes).sum::<u64>();
    let rest =
        |items: &[ShownItem]| Some(items.iter().filter(|item| !item.applied).filter_map(|item| item.bytes).sum());
    let mut text = format!("{:<10} {:>6} {:>10} {:>12}\n", "TYPE", "COUNT", "SIZE", "RECLAIMABLE");
    text += &row("blobs", shown.blobs.len(), sum(&shown.blobs), rest(&shown.blobs));
    if shown.unfinished > 0 {
        text += &row("unfinished", 0, shown.unfinished, Some(shown.unfinished));
    }
    text += &row("layers", shown.layers.len(), sum(&shown.layers), rest(&shown.layers));
    text += &row("volumes", shown.volumes.len(), shown.volumes.iter().filter_map(|volume| volume.bytes).sum(), None);
    text += &row("logs", shown.logs.len(), shown.logs.iter().map(|log| log.bytes).sum(), None);
    if !shown.preloaded.is_empty() {
        let images = shown.preloaded.iter().map(|store| store.images).sum();
        text += &row("read-only", images, shown.preloaded.iter().map(|store| store.bytes).sum(), None);
    }
    let reserve = if shown.reserve > 0 { format!(", {} kept free", print::size(shown.reserve)) } else { String::new() };
    text + &format!("free: {}{reserve}\n", print::size(shown.free))
}

fn details(shown: &Shown) -> String {
    let mut text = format!("\n{:<36} {:>10} {:>10}  APPLIED\n", "IMAGE", "SIZE", "UNSHARED");
    for image in &shown.images {
        let name = image.references.first().and_then(|reference| reference.split('@').next()).unwrap_or(&image.pin);
        let applied = if image.applied { "yes" } else { "no" };
        let size = print::size(image.bytes);
        let own = print::size(image.own);
        text += &format!("{} {size:>10} {own:>10}  {applied}\n", print::column(name, 36));
    }
    let lines = |head: &str, rows: Vec<(&str, Option<u64>)>| {
        let size = |bytes: &Option<u64>| bytes.map_or_else(|| "-".to_owned(), print::size);
        let rows = rows.iter().map(|(name, bytes)| format!("{:<36} {:>10}\n", escaped(name), size(bytes)));
        format!("\n{head:<36} {:>10}\n{}", "SIZE", rows.collect::<String>())
    };
    text += &lines("VOLUME", shown.volumes.iter().map(|volume| (volume.name.as_str(), volume.bytes)).collect());
    for store in &shown.preloaded {
        let path = escaped(&store.path.to_string_lossy());
        text += &format!("\nread-only store {path}: {} images, {}\n", store.images, print::size(store.bytes));
    }
    text + &lines("LOG", shown.logs.iter().map(|log| (log.container.as_str(), Some(log.bytes))).collect())
}
