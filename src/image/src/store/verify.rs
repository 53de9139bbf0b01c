//! Verifies layers before a start: each is listed again, and the list is compared with the layer's inventory.

use super::difference::differences;
use super::layers;
use super::store::Store;
use crate::error::Error;
use casemate_client::Client;
use casemate_wire::Digest;
use std::fmt;
use std::io::{BufReader, Seek};
use std::path::{Path, PathBuf};

/// Why a layer is not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerDamage {
    /// It has no inventory.
    NoInventory,
    /// Its files are not those of the inventory; the first differences.
    Changed(Vec<String>),
}

impl fmt::Display for LayerDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInventory => f.write_str("no inventory of this layer"),
            Self::Changed(differences) => f.write_str(&differences.join("; ")),
        }
    }
}

/// Compares a layer with its inventory. Returns its damage; `None` where it has none.
pub fn verify_layer(client: &mut Client, store: &Store, layer: &Digest) -> Result<Option<LayerDamage>, Error> {
    let Some(record) = store.inventory_record(layer)? else { return Ok(Some(LayerDamage::NoInventory)) };
    let mut now = layers::inventory(client, store, layer)?;
    let failed = |step| Error::io(step, format!("the inventory of layer {layer}"));
    if record.matches(&mut now).map_err(failed("read"))? {
        return Ok(None);
    }
    let Some(before) = store.open_inventory(layer)? else { return Ok(Some(LayerDamage::NoInventory)) };
    now.rewind().map_err(failed("rewind"))?;
    let found = differences(before, BufReader::new(now)).map_err(failed("compare"))?;
    // The same text under another digest: the stored inventory has changed, not the layer.
    let damaged = || vec!["the inventory of this layer is damaged".to_owned()];
    Ok(Some(LayerDamage::Changed(if found.is_empty() { damaged() } else { found })))
}

/// Verifies layers of the store of a state directory and its read-only stores. The error names the first layer that is damaged.
pub fn verify_layers(client: &mut Client, state: &Path, read_only: &[PathBuf], layers: &[Digest]) -> Result<(), Error> {
    let store = Store::open_with(state, read_only)?;
    for layer in layers {
        if let Some(damage) = verify_layer(client, &store, layer)? {
            return Err(Error::Tampered { layer: *layer, found: damage.to_string() });
        }
    }
    Ok(())
}
