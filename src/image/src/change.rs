//! The changes of the store that a verb makes, each whole or not at all: import and removal.

use super::error::Error;
use super::import::{self, Input, Progress, Staged};
use super::model::Limits;
use super::record::Record;
use super::store::Writer;
use super::unpack::{sweep_layers, unpack_all};
use casemate_client::Client;
use casemate_wire::Digest;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The most bytes of an applied file.
const MAX_REVISION: u64 = 1 << 20;

/// Imports all images of an input, or none; `wanted` are pins that it has to have.
pub fn import_with(
    client: &mut Client,
    writer: &Writer<'_>,
    input: &Input,
    wanted: &[Digest],
    limits: &Limits,
    progress: &mut dyn Progress,
) -> Result<Vec<Record>, Error> {
    whole(client, writer, input, (None, wanted), limits, progress)
}

/// Imports all images of an input, or none.
pub fn import(
    client: &mut Client,
    writer: &Writer<'_>,
    input: &Input,
    name: Option<&str>,
    limits: &Limits,
    progress: &mut dyn Progress,
) -> Result<Vec<Record>, Error> {
    whole(client, writer, input, (name, &[]), limits, progress)
}

fn whole(
    client: &mut Client,
    writer: &Writer<'_>,
    input: &Input,
    (name, wanted): (Option<&str>, &[Digest]),
    limits: &Limits,
    progress: &mut dyn Progress,
) -> Result<Vec<Record>, Error> {
    // What a crash has left is not to be taken for part of the store.
    sweep(client, writer)?;
    let imported = import::stage(writer, input, name, limits, progress).and_then(|staged| {
        let has = |pin: &&Digest| staged.iter().any(|image| image.record.pin == **pin);
        if let Some(missing) = wanted.iter().find(|pin| !has(pin)) {
            return Err(Error::Incomplete { input: input.path.clone(), missing: format!("the image {missing}") });
        }
        for image in &staged {
            unpack_all(client, writer, &image.image, limits, progress)?;
        }
        commit(writer, staged)
    });
    if imported.is_err() {
        // The error of the import counts. What cannot be swept now is swept before the next change.
        let _ = sweep(client, writer);
    }
    imported
}

/// Says of images that they stay whether a file names them or not, or takes that back.
pub fn hold(writer: &Writer<'_>, records: &[&Record], held: bool) -> Result<(), Error> {
    records.iter().try_for_each(|record| writer.replace(&Record { held, ..(*record).clone() }))
}

/// Removes images. What they shared with others stays.
pub fn remove(client: &mut Client, writer: &Writer<'_>, pins: &[Digest]) -> Result<u64, Error> {
    pins.iter().try_for_each(|pin| writer.remove(pin))?;
    sweep(client, writer)
}

/// The applied file that pins this image, if one does. A pin stands in a file as it is printed, so its text is looked for:
/// that also holds for a file of a version that this one cannot read.
pub fn pinned_by(revisions: &Path, record: &Record) -> Result<Option<String>, Error> {
    let pin = record.pin.to_string();
    let entries = match fs::read_dir(revisions) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("list", revisions)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(Error::io("list", revisions))?;
        let path = entry.path();
        // One that was dropped pins nothing.
        let kept = path.extension().is_some_and(|extension| extension == "toml");
        if !kept || !entry.file_type().map_err(Error::io("stat", &path))?.is_file() {
            continue;
        }
        let mut text = Vec::new();
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        file.take(MAX_REVISION).read_to_end(&mut text).map_err(Error::io("read", &path))?;
        if String::from_utf8_lossy(&text).contains(&pin) {
            return Ok(Some(format!("the applied file {}", path.display())));
        }
    }
    Ok(None)
}

/// Removes what no image needs, and says how many bytes of blobs that were.
pub(super) fn sweep(client: &mut Client, writer: &Writer<'_>) -> Result<u64, Error> {
    let freed = writer.sweep()?;
    sweep_layers(client, writer.store())?;
    Ok(freed)
}

fn commit(writer: &Writer<'_>, staged: Vec<Staged>) -> Result<Vec<Record>, Error> {
    let mut new = Vec::new();
    let mut records = Vec::new();
    for image in staged {
        let pin = image.record.pin;
        let known = writer.store().own_record(&pin)?.is_some();
        match image.commit(writer) {
            Ok(record) => records.push(record),
            Err(error) => {
                let _ = new.iter().try_for_each(|pin| writer.remove(pin));
                return Err(error);
            }
        }
        if !known {
            new.push(pin);
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_applied_file_holds_its_images() {
        let pin = Digest::from_bytes([7; 32]);
        let record = Record {
            pin,
            media_type: String::new(),
            size: 0,
            manifest: pin,
            names: Vec::new(),
            imported: 0,
            held: false,
            blobs: Vec::new(),
            layers: Vec::new(),
        };
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(pinned_by(&dir.path().join("none"), &record).unwrap(), None);
        fs::write(dir.path().join("other.toml"), "image = \"localhost/a@sha256:00\"").unwrap();
        fs::write(dir.path().join("b.dropped"), format!("image = \"localhost/a@{pin}\"")).unwrap();
        assert_eq!(pinned_by(dir.path(), &record).unwrap(), None);
        fs::write(dir.path().join("applied.toml"), format!("image = \"localhost/a@{pin}\"")).unwrap();
        assert!(pinned_by(dir.path(), &record).unwrap().unwrap().contains("applied.toml"));
    }
}
