//! The proof of layers before a start: each is listed again and compared with what is known since it was unpacked.

use super::difference::differences;
use super::error::Error;
use super::store::Store;
use super::unpack;
use casemate_client::Client;
use casemate_wire::Digest;
use std::io::{BufReader, Seek};
use std::path::{Path, PathBuf};

/// Why a layer is not proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// Nothing is known of it.
    Unknown,
    /// Its files are not what they were; the first differences.
    Changed(Vec<String>),
}

/// Whether a layer is what it was when it was unpacked.
pub fn prove_layer(client: &mut Client, store: &Store, layer: &Digest) -> Result<Option<Doubt>, Error> {
    let Some(known) = store.known(layer)? else { return Ok(Some(Doubt::Unknown)) };
    let (mut list, _) = unpack::list(client, store, layer)?;
    let failed = |step| Error::io(step, format!("the list of layer {layer}"));
    if known.is(&mut list).map_err(failed("read"))? {
        return Ok(None);
    }
    let Some((_, before)) = store.tree(layer)? else { return Ok(Some(Doubt::Unknown)) };
    list.rewind().map_err(failed("rewind"))?;
    let found = differences(before, BufReader::new(list)).map_err(failed("compare"))?;
    // Equal text under another digest: then the record is what has changed.
    let nothing = || vec!["the record of its files is damaged".to_owned()];
    Ok(Some(Doubt::Changed(if found.is_empty() { nothing() } else { found })))
}

/// Proves layers of the store of a state directory and of those it looks into, or says which is not what it was and in what.
pub fn prove_layers(client: &mut Client, state: &Path, preload: &[PathBuf], layers: &[Digest]) -> Result<(), Error> {
    let store = Store::open_with(state, preload)?;
    for layer in layers {
        match prove_layer(client, &store, layer)? {
            None => {}
            Some(Doubt::Unknown) => {
                return Err(Error::Tampered { layer: *layer, found: "nothing is known of its files".to_owned() });
            }
            Some(Doubt::Changed(found)) => {
                return Err(Error::Tampered { layer: *layer, found: found.join("; ") });
            }
        }
    }
    Ok(())
}
