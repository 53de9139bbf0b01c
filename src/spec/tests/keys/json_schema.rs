//! A validator for the keywords of JSON Schema 2020-12 that docs/casemate.schema.json uses, written from the specification. A
//! keyword that is not in this file is an error of the schema.

use regex::Regex;
use serde_json::{Map, Value};

/// Keywords that describe and do not validate.
const ANNOTATIONS: [&str; 6] = ["$schema", "title", "description", "default", "examples", "format"];

/// Where a value breaks the schema: one line each, none for a valid value.
pub fn errors(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    validate(schema, value, "", &mut found);
    found
}

pub fn is_valid(schema: &Value, value: &Value) -> bool {
    errors(schema, value).is_empty()
}

fn validate(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let keywords = schema.as_object().unwrap_or_else(|| panic!("{path}: a schema is an object, not {schema}"));
    for (keyword, argument) in keywords {
        let valid = match keyword.as_str() {
            annotation if ANNOTATIONS.contains(&annotation) => true,
            "type" => is_of_type(argument.as_str().unwrap(), value),
            "const" => value == argument,
            "enum" => argument.as_array().unwrap().contains(value),
            "anyOf" => argument.as_array().unwrap().iter().any(|schema| is_valid(schema, value)),
            "minimum" => value.as_f64().is_none_or(|number| number >= argument.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= argument.as_f64().unwrap()),
            "pattern" => {
                let pattern = Regex::new(argument.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= argument.as_u64().unwrap()),
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    validate(argument, item, &format!("{path}[{number}]"), found);
                }
                true
            }
            "required" => {
                let has = |key: &Value| value.as_object().is_none_or(|table| table.contains_key(key.as_str().unwrap()));
                argument.as_array().unwrap().iter().all(has)
            }
            "properties" => {
                for (key, schema) in argument.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        validate(schema, value, &format!("{path}.{key}"), found);
                    }
                }
                true
            }
            "additionalProperties" => additional_properties(keywords, argument, value, path, found),
            "propertyNames" => {
                let keys = value.as_object().into_iter().flat_map(Map::keys);
                keys.map(|key| Value::from(key.as_str())).all(|key| is_valid(argument, &key))
            }
            other => panic!("{path}: the keyword {other:?} is not known here"),
        };
        if !valid {
            found.push(format!("{path}: {keyword} {argument}"));
        }
    }
}

/// The keys that `properties` does not name: `false` allows none, a schema holds for the value of each.
fn additional_properties(
    keywords: &Map<String, Value>,
    argument: &Value,
    value: &Value,
    path: &str,
    found: &mut Vec<String>,
) -> bool {
    let is_named = |key: &String| keywords.get("properties").is_some_and(|named| named.get(key).is_some());
    let mut others = value.as_object().into_iter().flatten().filter(|(key, _)| !is_named(key));
    if argument == &Value::Bool(false) {
        return others.next().is_none();
    }
    for (key, value) in others {
        validate(argument, value, &format!("{path}.{key}"), found);
    }
    true
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the type {other:?} is not known here"),
    }
}
