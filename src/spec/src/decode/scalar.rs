//! Single values of a kind that many keys share: words, sizes, durations, counts, paths.

use crate::cursor::{At, Item};
use crate::finding::{Findings, quoted};
use crate::nearest::did_you_mean;
use crate::rules;
use crate::values::{self, AbsolutePath, ByteSize};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Spellings of "no limit" in other tools' files.
const UNLIMITED: [&str; 6] = ["unlimited", "max", "infinity", "inf", "none", "-1"];

/// One of the words.
pub(super) fn word<T: Copy>(item: &Item<'_>, words: &[(&str, T)], out: &mut Findings<'_>) -> Option<T> {
    let text = item.string(out)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let list: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
    let choice = if list.len() == 1 { "only" } else { "one of" };
    out.add(&rules::WORD, &item.span, format!("{} is {choice} {}", quoted(item.name), list.join(", ")))
        .help_if(|| did_you_mean(text, words.iter().map(|(word, _)| *word)));
    None
}

/// A size of 1 byte and up.
pub(super) fn size(item: &Item<'_>, out: &mut Findings<'_>) -> Option<ByteSize> {
    let size = ByteSize::new(size_or_zero(item, out)?);
    if size.is_none() {
        limit_zero(item, out);
    }
    size
}

/// A size of 0 bytes and up.
pub(super) fn size_or_zero(item: &Item<'_>, out: &mut Findings<'_>) -> Option<u64> {
    if let Some(integer) = item.as_integer() {
        let bytes = integer.and_then(|integer| u64::try_from(integer).ok());
        match integer {
            Some(negative) if negative < 0 => limit_zero(item, out),
            None => number_range(item, "0 to 2^63 - 1", out),
            Some(_) => {}
        }
        return bytes;
    }
    let Some(text) = item.as_str() else {
        item.wrong_type("a size", Some("write it as in `\"512MiB\"`, or as a number of bytes"), out);
        return None;
    };
    if UNLIMITED.contains(&text) {
        limit_zero(item, out);
        return None;
    }
    match values::bytes(text) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            out.add(&rules::SIZE, &item.span, format!("{} is no size: {error}", quoted(text)))
                .help_if(|| binary_unit(text));
            None
        }
    }
}

/// The size that a text with docker's letters or decimal units stands for, nearly or exactly.
fn binary_unit(text: &str) -> Option<String> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(end).filter(|(number, _)| !number.is_empty())?;
    let unit = match unit.trim_start().to_ascii_lowercase().as_str() {
        "b" => "B",
        "k" | "kb" | "ki" | "kib" => "KiB",
        "m" | "mb" | "mi" | "mib" => "MiB",
        "g" | "gb" | "gi" | "gib" => "GiB",
        "t" | "tb" | "ti" | "tib" => "TiB",
        _ => return None,
    };
    Some(format!("write `{number}{unit}`"))
}

/// Notes that a limit is none.
fn limit_zero(item: &Item<'_>, out: &mut Findings<'_>) {
    out.add(&rules::LIMIT_ZERO, &item.span, format!("{} has to be a real limit", quoted(item.name)))
        .help("0, negative numbers and `unlimited` would leave the host without a bound: give a number");
}

fn number_range(item: &Item<'_>, range: &str, out: &mut Findings<'_>) {
    out.add(&rules::NUMBER, &item.span, format!("{} has to be a number from {range}", quoted(item.name)));
}

/// A whole number in a range.
pub(super) fn integer<T>(item: &Item<'_>, range: RangeInclusive<T>, out: &mut Findings<'_>) -> Option<T>
where
    T: TryFrom<i64> + PartialOrd + std::fmt::Display,
{
    let Some(integer) = item.as_integer() else {
        item.wrong_type("an integer", None, out);
        return None;
    };
    let value = integer.and_then(|integer| T::try_from(integer).ok()).filter(|value| range.contains(value));
    if value.is_none() {
        number_range(item, &format!("{} to {}", range.start(), range.end()), out);
    }
    value
}

/// A whole number that limits something: 0 and below have a rule of their own.
pub(super) fn limit<T>(item: &Item<'_>, range: RangeInclusive<T>, out: &mut Findings<'_>) -> Option<T>
where
    T: TryFrom<i64> + PartialOrd + std::fmt::Display,
{
    let none = item.as_integer().flatten().is_some_and(|integer| integer <= 0);
    if none || item.as_str().is_some_and(|text| UNLIMITED.contains(&text)) {
        limit_zero(item, out);
        return None;
    }
    integer(item, range, out)
}

/// A duration from 1 ms to 7 days.
pub(super) fn duration(item: &Item<'_>, out: &mut Findings<'_>) -> Option<Duration> {
    let Some(text) = item.as_str() else {
        item.wrong_type("a duration", Some("write it as in `\"10s\"` or `\"1m30s\"`"), out);
        return None;
    };
    match values::duration(text) {
        Ok(duration) => Some(duration),
        Err(error) => {
            out.add(&rules::DURATION, &item.span, format!("{} is no duration: {error}", quoted(text)));
            None
        }
    }
}

/// An absolute, normal path.
pub(super) fn path(item: &Item<'_>, out: &mut Findings<'_>) -> Option<AbsolutePath> {
    path_from(item.string(out)?, item, out)
}

/// An absolute, normal path that is a part of the item's text.
pub(super) fn path_from(text: &str, item: &Item<'_>, out: &mut Findings<'_>) -> Option<AbsolutePath> {
    match AbsolutePath::new(text) {
        Ok(path) => Some(path),
        Err(error) => {
            out.add(&rules::ABSOLUTE_PATH, &item.span, format!("{}: {error}", quoted(text)))
                .help_if(|| normal_form(text).map(|path| format!("write `{path}`")));
            None
        }
    }
}

/// The normal form of a path that only has an empty part too many; what a `..` means is not ours to say.
fn normal_form(text: &str) -> Option<AbsolutePath> {
    let parts: Vec<&str> = text.strip_prefix('/')?.split('/').filter(|part| !part.is_empty()).collect();
    AbsolutePath::new(&format!("/{}", parts.join("/"))).ok()
}

/// A list of absolute, normal paths.
pub(super) fn paths(item: &Item<'_>, out: &mut Findings<'_>) -> Option<Vec<At<AbsolutePath>>> {
    let elements = item.array("a list of paths", Some("write it as in `[\"/a\", \"/b\"]`"), out)?;
    Some(elements.iter().filter_map(|element| Some(element.at(path(element, out)?))).collect())
}

/// A list of strings without NUL.
pub(super) fn strings(item: &Item<'_>, help: &str, out: &mut Findings<'_>) -> Option<Vec<String>> {
    let elements = item.array("a list of strings", Some(help), out)?;
    let strings: Vec<_> = elements.iter().map(|element| element.string(out).map(str::to_owned)).collect();
    strings.into_iter().collect()
}

/// Entries of a table of strings, in file order: key, its span, value.
pub(super) fn string_entries<'t>(item: &Item<'t>, out: &mut Findings<'_>) -> Vec<(Item<'t>, String)> {
    let help = format!("write it as in `{} = {{ NAME = \"value\" }}`", item.name);
    let entries = item.entries("a table", Some(&help), out).unwrap_or_default();
    let mut pairs = Vec::new();
    for entry in entries {
        if entry.as_integer().is_some() || entry.as_bool().is_some() || entry.as_float().is_some() {
            entry.wrong_type("a string", Some("put it in quotes"), out);
        } else if let Some(value) = entry.string(out) {
            let value = value.to_owned();
            pairs.push((entry, value));
        }
    }
    pairs
}
