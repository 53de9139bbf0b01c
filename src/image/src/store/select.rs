//! Selects an image by a name or a digest from the command line.

use super::record::Record;
use crate::error::Error;
use crate::names;
use casemate_wire::Digest;

/// The fewest digits of a digest that select an image.
const SHORTEST: usize = 6;

/// The one image that `text` selects: by a pin, the first digits of one, `name@pin`, or a name. Several images or none is an error.
pub fn select<'a>(records: &'a [Record], text: &str) -> Result<&'a Record, Error> {
    let none = "no image of the store has this name or digest; `casemate image ls` shows what there is";
    choose(records, text, |record| (&record.pin, record.names.as_slice()), none)
}

/// Like [`select`], for any type that has a pin and names. `none` is the error where no image matches.
pub(crate) fn choose<'a, T>(
    images: &'a [T],
    text: &str,
    of: impl Fn(&T) -> (&Digest, &[String]),
    none: &str,
) -> Result<&'a T, Error> {
    let digest = text.rsplit_once('@').map_or(text, |(_, digest)| digest);
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    let local = names::parse(text).ok();
    let docker = names::from_docker(text);
    let named = |image: &&T| {
        [Some(text), local.as_deref(), docker.as_deref()]
            .into_iter()
            .flatten()
            .any(|name| of(image).1.iter().any(|own| own == name))
    };
    let pinned = |image: &&T| digits.len() >= SHORTEST && of(image).0.hex().starts_with(digits);
    let mut found: Vec<_> = images.iter().filter(named).collect();
    if found.is_empty() {
        found = images.iter().filter(pinned).collect();
    }
    let reason = match found.as_slice() {
        [one] => return Ok(one),
        [] => none.to_owned(),
        several => {
            let pins: Vec<_> = several.iter().map(|image| of(image).0.to_string()).collect();
            format!("several images match: {}; give a digest", pins.join(", "))
        }
    };
    Err(Error::Name { name: text.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(byte: u8, names: &[&str]) -> Record {
        let pin = Digest::from_bytes([byte; 32]);
        Record {
            pin,
            media_type: String::new(),
            size: 0,
            manifest: pin,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            imported: 0,
            held: false,
            blobs: Vec::new(),
            layers: Vec::new(),
        }
    }

    #[test]
    fn text_selects_one_image_or_is_an_error() {
        let records = [
            record(0xaa, &["localhost/a:1"]),
            record(0xab, &["docker.io/library/a:1", "localhost/c"]),
            record(0xac, &["localhost/c"]),
        ];
        let found = |text: &str| select(&records, text).ok().map(|record| record.pin.as_bytes()[0]);
        assert_eq!(found("localhost/a:1"), Some(0xaa));
        assert_eq!(found("docker.io/library/a:1"), Some(0xab));
        assert_eq!(found("a:1"), None, "two images could be meant");
        assert_eq!(found("localhost/c"), None);
        assert_eq!(found("acacac"), Some(0xac));
        assert_eq!(found(&format!("x/y@sha256:{}", "ab".repeat(32))), Some(0xab));
        for none in ["aa", "", "sha256:", "localhost/x", "bbbbbb"] {
            assert_eq!(found(none), None, "{none}");
        }
    }
}
