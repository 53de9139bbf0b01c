//! Strict JSON: duplicate keys, lookalike keys and oversized documents are refused.
//!
//! serde_json keeps the last of two equal keys, other readers keep the first, Go's also matches keys in any case. A document
//! that two readers understand differently can pass a check in one and mean something else in the other (threat row 14).

use super::error::Error;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::{Cell, RefCell};
use std::fmt;

/// The most bytes of an index, manifest or config (OCI distribution-spec: a registry must take manifests of 4 MiB).
pub(crate) const MAX_DOCUMENT: usize = 4 * 1024 * 1024;
/// The most values of a document: two bytes of text can become a value that takes some 32 bytes of memory.
const MAX_VALUES: usize = 250_000;

/// Parses one document; every byte has to belong to it.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Error> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(Error::TooLong(MAX_DOCUMENT));
    }
    let context = Context { left: Cell::new(MAX_VALUES), error: RefCell::new(None) };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Strict(&context).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| context.error.take().unwrap_or_else(|| Error::Shape(error.to_string())))
}

/// Converts a document to its type.
pub(crate) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_json::from_value(value).map_err(|error| Error::Shape(error.to_string()))
}

/// Refuses a key of `object` that differs only in case from one of `meaningful`.
pub(crate) fn refuse_lookalikes(object: &Value, meaningful: &[&str]) -> Result<(), Error> {
    let keys = object.as_object().into_iter().flat_map(Map::keys);
    for key in keys {
        // Go folds `ſ` to s and the Kelvin sign to k as well, so a key that is not ASCII is folded by Unicode's rules.
        let folded = key.to_lowercase().replace('ſ', "s");
        if meaningful.iter().any(|known| *known != key && known.to_lowercase() == folded) {
            return Err(Error::LookalikeKey(key.clone()));
        }
    }
    Ok(())
}

struct Context {
    left: Cell<usize>,
    error: RefCell<Option<Error>>,
}

impl Context {
    /// serde's errors are text, so the rule is kept in the context.
    fn refuse<E: serde::de::Error>(&self, rule: Error) -> E {
        let text = E::custom(&rule);
        self.error.replace(Some(rule));
        text
    }
}

#[derive(Clone, Copy)]
struct Strict<'a>(&'a Context);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        match self.0.left.get().checked_sub(1) {
            Some(left) => self.0.left.set(left),
            None => return Err(self.0.refuse(Error::TooManyValues(MAX_VALUES))),
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
                return Err(self.0.refuse(Error::DuplicateKey(key)));
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
    fn parse_refuses_duplicate_keys_at_any_depth() {
        assert_eq!(parse(br#"{"a":1,"a":1}"#), Err(Error::DuplicateKey("a".to_owned())));
        assert_eq!(parse(br#"[{"x":{"b":[{"c":1,"c":2}]}}]"#), Err(Error::DuplicateKey("c".to_owned())));
        assert_eq!(parse(br#"{"a":1,"\u0061":2}"#), Err(Error::DuplicateKey("a".to_owned())));
        assert!(parse(br#"{"a":{"b":1},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn parse_refuses_text_that_is_not_one_whole_document() {
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
            assert!(matches!(parse(bad), Err(Error::Shape(_))), "{bad:?}");
        }
        assert!(parse(b" {} \n").is_ok());
    }

    #[test]
    fn parse_bounds_size_depth_and_count() {
        assert_eq!(parse(&vec![b' '; MAX_DOCUMENT + 1]), Err(Error::TooLong(MAX_DOCUMENT)));
        assert!(matches!(parse("[".repeat(100_000).as_bytes()), Err(Error::Shape(_))));
        let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
        assert_eq!(parse(many.as_bytes()), Err(Error::TooManyValues(MAX_VALUES)));
    }

    #[test]
    fn lookalike_keys_are_refused() {
        let check = |text: &str| refuse_lookalikes(&parse(text.as_bytes()).unwrap(), &["layers", "mediaType"]);
        assert_eq!(check(r#"{"layers":[]}"#), Ok(()));
        assert_eq!(check(r#"{"other":1}"#), Ok(()));
        for key in ["Layers", "LAYERS", "mediatype", "MediaType", "layerſ"] {
            assert_eq!(check(&format!(r#"{{"{key}":[]}}"#)), Err(Error::LookalikeKey(key.to_owned())));
        }
    }
}
