//! Removing images, keeping them, and what keeps them.

use super::layers;
use super::record::Record;
use super::store::Writer;
use crate::error::Error;
use casemate_client::Client;
use casemate_wire::Digest;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The most bytes of an applied file.
const MAX_REVISION: u64 = 1 << 20;

/// Keeps images whether a file names them or not, or no longer does (`image pin`, `image unpin`).
pub fn hold(writer: &Writer<'_>, records: &[&Record], held: bool) -> Result<(), Error> {
    records.iter().try_for_each(|record| writer.replace(&Record { held, ..(*record).clone() }))
}

/// Removes images. Blobs and layers of other images stay. Returns the bytes of blobs freed.
pub fn remove(client: &mut Client, writer: &Writer<'_>, pins: &[Digest]) -> Result<u64, Error> {
    pins.iter().try_for_each(|pin| writer.remove(pin))?;
    sweep(client, writer)
}

/// The applied file that pins an image, where there is one. A pin is searched as text, so a file of a version that this program cannot
/// parse keeps its images too.
pub fn applied_file_with(revisions: &Path, record: &Record) -> Result<Option<PathBuf>, Error> {
    let pin = record.pin.to_string();
    let entries = match fs::read_dir(revisions) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("list", revisions)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(Error::io("list", revisions))?;
        let path = entry.path();
        // A dropped revision has another extension and pins nothing.
        let kept = path.extension().is_some_and(|extension| extension == "toml");
        if !kept || !entry.file_type().map_err(Error::io("stat", &path))?.is_file() {
            continue;
        }
        let mut text = Vec::new();
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        file.take(MAX_REVISION).read_to_end(&mut text).map_err(Error::io("read", &path))?;
        if String::from_utf8_lossy(&text).contains(&pin) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Removes blobs and layers that no image needs. Returns the bytes of blobs freed.
pub(crate) fn sweep(client: &mut Client, writer: &Writer<'_>) -> Result<u64, Error> {
    let freed = writer.sweep()?;
    layers::sweep(client, writer.store())?;
    Ok(freed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applied_file_pins_its_images_and_a_dropped_one_does_not() {
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
        assert_eq!(applied_file_with(&dir.path().join("none"), &record).unwrap(), None);
        fs::write(dir.path().join("other.toml"), "image = \"localhost/a@sha256:00\"").unwrap();
        fs::write(dir.path().join("b.dropped"), format!("image = \"localhost/a@{pin}\"")).unwrap();
        assert_eq!(applied_file_with(dir.path(), &record).unwrap(), None);
        fs::write(dir.path().join("applied.toml"), format!("image = \"localhost/a@{pin}\"")).unwrap();
        assert!(applied_file_with(dir.path(), &record).unwrap().unwrap().ends_with("applied.toml"));
    }
}
