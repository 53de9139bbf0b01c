//! The table of keys as a JSON Schema (2020-12), for editors and for tools that write the file.

use super::sample;
use crate::finding::Findings;
use crate::grammar;
use crate::item::{Item, entries, find};
use crate::keys::{Row, Table, file};
use crate::types::Shape;
use crate::view::Level;
use serde_json::{Map, Value, json};

/// docs/casemate.schema.json.
pub fn schema() -> Value {
    let mut whole = object(&file::TABLE, Level::Own);
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "casemate.toml",
        "description": "Generated from the table of keys (src/spec/src/keys).",
    });
    if let (Some(whole), Value::Object(head)) = (whole.as_object_mut(), head) {
        whole.extend(head);
    }
    whole
}

fn object(table: &'static Table, level: Level) -> Value {
    let properties: Map<String, Value> =
        table.rows(level).map(|row| (row.about().name.to_owned(), property(row, level))).collect();
    let required: Vec<&str> = table.rows(level).filter(|row| row.is_required()).map(|row| row.about().name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn property(row: &'static dyn Row, level: Level) -> Value {
    let about = row.about();
    let mut schema = of(&row.shape(), level);
    if let Some(fields) = schema.as_object_mut() {
        let effect = if about.effect.is_empty() { String::new() } else { format!(" Kernel: {}.", about.effect) };
        let default = row.default_text();
        let words = match &default {
            None if row.default_description().is_empty() => String::new(),
            None => format!(" Default: {}.", row.default_description()),
            Some(_) => String::new(),
        };
        fields.insert("description".to_owned(), format!("{}.{words}{effect}", about.meaning).into());
        if let Some(value) = default.and_then(|text| parsed(&text)) {
            fields.insert("default".to_owned(), value);
        }
        if let Some(value) = Some(sample(row)).filter(|_| !about.example.is_empty()).and_then(|text| parsed(&text)) {
            fields.insert("examples".to_owned(), json!([value]));
        }
    }
    schema
}

fn of(shape: &Shape, level: Level) -> Value {
    match shape {
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Fixed(text) => json!({ "const": parsed(text) }),
        Shape::Integer { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Number { least, most } => json!({ "type": "number", "minimum": least, "maximum": most }),
        Shape::Size { least } => json!({ "anyOf": [
            { "type": "integer", "minimum": least },
            { "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB)?$" },
        ] }),
        Shape::Duration => json!({ "type": "string", "pattern": "^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$" }),
        Shape::Date => json!({ "type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" }),
        Shape::Text { pattern: "", .. } => json!({ "type": "string" }),
        Shape::Text { pattern, .. } => json!({ "type": "string", "pattern": pattern }),
        Shape::Words(words) => json!({ "enum": words }),
        Shape::List { of: inner, most: None, .. } => json!({ "type": "array", "items": of(inner, level) }),
        Shape::List { of: inner, most: Some(most), .. } => {
            json!({ "type": "array", "items": of(inner, level), "maxItems": most })
        }
        Shape::Map { of: inner, keys, .. } if keys.is_empty() => {
            json!({ "type": "object", "additionalProperties": of(inner, level) })
        }
        Shape::Map { of: inner, keys, .. } => json!({
            "type": "object", "additionalProperties": of(inner, level), "propertyNames": { "enum": keys },
        }),
        Shape::Table(table, entered) => object(table, entered.unwrap_or(level)),
        Shape::Named(table) => json!({ "type": "object", "additionalProperties": object(table, Level::Own) }),
        Shape::OneOf(shapes) => {
            let any: Vec<Value> = shapes.iter().map(|shape| of(shape, level)).collect();
            json!({ "anyOf": any })
        }
    }
}

/// A TOML value as JSON.
fn parsed(text: &str) -> Option<Value> {
    let text = format!("value = {text}");
    let table = grammar::parse(&text, &mut Findings::silent());
    value(&find(table.get_ref(), "value")?)
}

fn value(item: &Item<'_>) -> Option<Value> {
    if let Some(elements) = item.as_array() {
        return elements.iter().map(value).collect::<Option<Vec<_>>>().map(Value::from);
    }
    if let Some(table) = item.as_table() {
        let field = |entry: &Item<'_>| Some((entry.name.to_owned(), value(entry)?));
        return entries(table).iter().map(field).collect::<Option<Map<_, _>>>().map(Value::from);
    }
    let text = item.as_str().map(Value::from);
    let integer = || item.as_integer().flatten().map(Value::from);
    let date = || item.as_date().map(|date| date.to_string().into());
    text.or_else(integer)
        .or_else(|| item.as_bool().map(Value::from))
        .or_else(|| item.as_float().map(Value::from))
        .or_else(date)
}
