//! JSON with one reading: duplicate keys, lookalike keys and oversized documents are refused.
//!
//! serde_json keeps the last of two equal keys, other readers keep the first, Go's also matches keys in any case: a document
//! that two readers understand differently is how a proof is talked around (threat row 14).

use super::flaw::Flaw;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::{Cell, RefCell};
use std::fmt;

/// The most bytes of an index, manifest or config (OCI distribution-spec: a registry must take manifests of 4 MiB).
pub(super) const MAX_DOCUMENT: usize = 4 * 1024 * 1024;
/// The most values of a document: a value takes some 32 bytes where two bytes of text made it.
const MAX_VALUES: usize = 250_000;

/// Reads one document to its last byte.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Flaw> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(Flaw::TooLong(MAX_DOCUMENT));
    }
    let context = Context { left: Cell::new(MAX_VALUES), flaw: RefCell::new(None) };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Strict(&context).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| context.flaw.take().unwrap_or_else(|| Flaw::Shape(error.to_string())))
}

/// The typed form of a document.
pub(super) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Flaw> {
    serde_json::from_value(value).map_err(|error| Flaw::Shape(error.to_string()))
}

/// Refuses a key of `object` that is one of `meaningful` in another case.
pub(super) fn refuse_lookalikes(object: &Value, meaningful: &[&str]) -> Result<(), Flaw> {
    let keys = object.as_object().into_iter().flat_map(Map::keys);
    for key in keys {
        // Go folds `ſ` to s and the Kelvin sign to k as well, so a key that is not ASCII is folded by Unicode's rules.
        let folded = key.to_lowercase().replace('ſ', "s");
        if meaningful.iter().any(|known| *known != key && known.to_lowercase() == folded) {
            return Err(Flaw::LookalikeKey(key.clone()));
        }
    }
    Ok(())
}

struct Context {
    left: Cell<usize>,
    flaw: RefCell<Option<Flaw>>,
}

impl Context {
    /// serde's errors are text: the rule is kept beside them.
    fn refuse<E: serde::de::Error>(&self, flaw: Flaw) -> E {
        let error = E::custom(&flaw);
        self.flaw.replace(Some(flaw));
        error
    }
}

#[derive(Clone, Copy)]
struct Strict<'a>(&'a Context);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        match self.0.left.get().checked_sub(1) {
            Some(left) => self.0.left.set(left),
            None => return Err(self.0.refuse(Flaw::TooManyValues(MAX_VALUES))),
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(self.0.refuse(Flaw::DuplicateKey(key)));
            }
            let value = map.next_value_seed(self)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_keys_are_refused_at_any_depth() {
        assert_eq!(parse(br#"{"a":1,"a":1}"#), Err(Flaw::DuplicateKey("a".to_owned())));
        assert_eq!(parse(br#"[{"x":{"b":[{"c":1,"c":2}]}}]"#), Err(Flaw::DuplicateKey("c".to_owned())));
        assert_eq!(parse(br#"{"a":1,"\u0061":2}"#), Err(Flaw::DuplicateKey("a".to_owned())));
        assert!(parse(br#"{"a":{"b":1},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn only_whole_documents() {
        for bad in [
            &b""[..],
            b"{",
            b"{} {}",
            b"{}x",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            b"{'a':1}",
            b"{\"a\":1,}",
            b"nan",
            b"1e999",
        ] {
            assert!(matches!(parse(bad), Err(Flaw::Shape(_))), "{bad:?}");
        }
        assert!(parse(b" {} \n").is_ok());
    }

    #[test]
    fn size_depth_and_count_are_bounded() {
        assert_eq!(parse(&vec![b' '; MAX_DOCUMENT + 1]), Err(Flaw::TooLong(MAX_DOCUMENT)));
        assert!(matches!(parse("[".repeat(100_000).as_bytes()), Err(Flaw::Shape(_))));
        let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
        assert_eq!(parse(many.as_bytes()), Err(Flaw::TooManyValues(MAX_VALUES)));
    }

    #[test]
    fn a_key_in_another_case_is_refused() {
        let check = |text: &str| refuse_lookalikes(&parse(text.as_bytes()).unwrap(), &["layers", "mediaType"]);
        assert_eq!(check(r#"{"layers":[]}"#), Ok(()));
        assert_eq!(check(r#"{"other":1}"#), Ok(()));
        for key in ["Layers", "LAYERS", "mediatype", "MediaType", "layerſ"] {
            assert_eq!(check(&format!(r#"{{"{key}":[]}}"#)), Err(Flaw::LookalikeKey(key.to_owned())));
        }
    }
}
