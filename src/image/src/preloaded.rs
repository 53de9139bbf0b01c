//! A store of others that images are used from in place: `store.preload`. It is read and proven as the own one is, and has no way to
//! be written: what lies in it is not collected, removed or repaired.

use super::blobs::Blobs;
use super::error::Error;
use super::model::Image;
use super::record::Record;
use super::store::Store;
use super::trees::Known;
use casemate_wire::Digest;
use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// A pin, and its record as far as it can be read.
type Read = (Digest, Result<Record, Error>);

/// One of them.
#[derive(Debug)]
pub struct Preloaded {
    path: PathBuf,
    /// Only read, and not handed out.
    store: Store,
}

impl Preloaded {
    /// The store at this path, which its opener has checked.
    fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { path: path.to_owned(), store: Store::open_there(path)? })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its images, by pin. One whose record is damaged is none.
    pub fn records(&self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        for (_, record) in self.each_record()? {
            records.extend(readable(record.map(Some))?);
        }
        Ok(records)
    }

    /// What there is of each image's record, by pin.
    pub(super) fn each_record(&self) -> Result<Vec<Read>, Error> {
        let missing = |pin: &Digest| Err(Error::NotImported(*pin));
        let record =
            |pin: Digest| (pin, self.store.own_record(&pin).and_then(|own| own.map_or_else(|| missing(&pin), Ok)));
        Ok(self.store.pins()?.into_iter().map(record).collect())
    }

    /// Its blobs with their bytes, by digest.
    pub(super) fn blobs(&self) -> Result<Vec<(Digest, u64)>, Error> {
        self.store.blobs()
    }

    /// Where they lie.
    pub(super) const fn shelf(&self) -> &Blobs {
        self.store.own_blobs()
    }

    /// What is wrong with a blob's bytes, if anything is.
    pub(super) fn doubt_blob(&self, digest: &Digest, progress: &mut dyn FnMut(u64)) -> Result<Option<String>, Error> {
        self.store.doubt_blob(digest, progress)
    }

    /// Proves an image of it, from its own bytes alone.
    pub(super) fn resolve(&self, pin: &Digest) -> Result<Image, Error> {
        self.store.resolve(pin)
    }

    /// What is known of a layer here.
    pub(super) fn known(&self, layer: &Digest) -> Result<Option<Known>, Error> {
        readable(self.store.known(layer))
    }
}

/// A document of a lent store that is damaged is not there: nobody here can repair it, and what this store has itself must not
/// fail by it. `fsck` names it.
fn readable<T>(document: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    match document {
        Err(Error::Document { .. }) => Ok(None),
        document => document,
    }
}

impl Store {
    /// The store of a state directory, and those that are looked into where it has not got something, in this order.
    pub fn open_with(state: &Path, preload: &[PathBuf]) -> Result<Self, Error> {
        let preload = preload.iter().map(|path| Preloaded::open(path)).collect::<Result<_, _>>()?;
        Ok(Self::open(state)?.looking_into(preload))
    }

    /// The record of this pin, whoever has it: the own one first.
    pub fn record(&self, pin: &Digest) -> Result<Option<Record>, Error> {
        if let Some(own) = self.own_record(pin)? {
            return Ok(Some(own));
        }
        for other in self.preloaded() {
            if let Some(record) = readable(other.store.own_record(pin))? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Every image that can be used, by pin; one that several stores have is there once, as [`Self::record`] gives it.
    pub fn all_records(&self) -> Result<Vec<Record>, Error> {
        let mut records = self.records()?;
        for lent in self.lent_records()? {
            if !records.iter().any(|record| record.pin == lent.pin) {
                records.push(lent);
            }
        }
        records.sort_by_key(|record| record.pin);
        Ok(records)
    }

    /// The store of others that an image is used from; `None`: the own one, or it is nowhere.
    pub fn lender(&self, pin: &Digest) -> Result<Option<&Path>, Error> {
        if self.own_record(pin)?.is_some() {
            return Ok(None);
        }
        for other in self.preloaded() {
            if readable(other.store.own_record(pin))?.is_some() {
                return Ok(Some(other.path()));
            }
        }
        Ok(None)
    }

    /// Refuses to change an image that is not the own store's.
    pub fn expect_own(&self, pin: &Digest) -> Result<(), Error> {
        match self.lender(pin)? {
            None => Ok(()),
            Some(store) => Err(Error::ReadOnly { image: *pin, store: store.to_owned() }),
        }
    }

    /// Every image of the stores of others.
    pub(super) fn lent_records(&self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        for other in self.preloaded() {
            records.extend(other.records()?);
        }
        Ok(records)
    }

    /// The layers of these images.
    pub(super) fn lent_layers(&self) -> Result<BTreeSet<Digest>, Error> {
        Ok(self.lent_records()?.into_iter().flat_map(|record| record.layers).collect())
    }

    /// What is known of a layer since it was unpacked; `None`: nothing, so it is not proven.
    pub fn known(&self, layer: &Digest) -> Result<Option<Known>, Error> {
        Ok(self.tree(layer)?.map(|(known, _)| known))
    }

    /// The same with the list of its files, which is read from here on.
    pub(super) fn tree(&self, layer: &Digest) -> Result<Option<(Known, impl BufRead + use<>)>, Error> {
        if let Some(own) = self.trees().open(layer)? {
            return Ok(Some(own));
        }
        for other in self.preloaded() {
            if let Some(found) = readable(other.store.trees().open(layer))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn nothing_is_made_in_a_store_of_others() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let lent = [other.path().to_owned()];
        assert!(Store::open_with(own.path(), &lent).is_err());
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
        for state in [&own, &other] {
            fs::create_dir(state.path().join("blobs")).unwrap();
            fs::create_dir(state.path().join("images")).unwrap();
        }
        assert!(Store::open_with(own.path(), &lent).is_err());
        assert_eq!(fs::read_dir(other.path().join("blobs")).unwrap().count(), 0);
        drop(Store::open(other.path()).unwrap());
        let store = Store::open_with(own.path(), &lent).unwrap();
        assert_eq!(store.all_records().unwrap(), []);
        assert_eq!(store.lender(&Digest::from_bytes([1; 32])).unwrap(), None);
    }
}
