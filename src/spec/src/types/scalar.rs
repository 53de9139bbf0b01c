//! Numbers, sizes, durations, dates, paths, plain text.

use super::{Shape, ValueType, toml_string};
use crate::date::Date;
use crate::finding::{Findings, quoted};
use crate::item::Item;
use crate::rules;
use crate::values::{self, AbsolutePath, ByteSize};
use std::time::Duration;

/// Words for "no limit" in other tools' files.
const UNLIMITED: [&str; 6] = ["unlimited", "max", "infinity", "inf", "none", "-1"];

/// `true` or `false`.
pub(crate) struct Boolean;

impl ValueType for Boolean {
    type Value = bool;

    fn shape(&self) -> Shape {
        Shape::Boolean
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<bool> {
        let value = item.as_bool();
        if value.is_none() {
            item.wrong_type("true or false", None, out);
        }
        value
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// A whole number in a range.
pub(crate) struct Count<T> {
    least: T,
    most: T,
    /// The number limits something: 0 and below are refused by a rule of their own.
    limit: bool,
}

impl<T> Count<T> {
    pub(crate) const fn between(least: T, most: T) -> Self {
        Self { least, most, limit: false }
    }

    /// A number that limits something, so never 0.
    pub(crate) const fn limit(least: T, most: T) -> Self {
        Self { least, most, limit: true }
    }
}

impl<T> ValueType for Count<T>
where
    T: TryFrom<i64> + Into<u64> + PartialOrd + Copy + std::fmt::Display + Sync + 'static,
{
    type Value = T;

    fn shape(&self) -> Shape {
        Shape::Integer { least: self.least.into(), most: self.most.into() }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<T> {
        let integer = item.as_integer();
        let unlimited = item.as_str().is_some_and(|text| UNLIMITED.contains(&text));
        if self.limit && (unlimited || integer.flatten().is_some_and(|integer| integer <= 0)) {
            no_limit(item, out);
            return None;
        }
        let Some(integer) = integer else {
            item.wrong_type("an integer", None, out);
            return None;
        };
        let value = integer.and_then(|integer| T::try_from(integer).ok());
        let value = value.filter(|value| (self.least..=self.most).contains(value));
        if value.is_none() {
            out_of_range(item, &format!("{} to {}", self.least, self.most), out);
        }
        value
    }

    fn show(&self, value: &T) -> String {
        value.to_string()
    }
}

/// A size in bytes that limits something: never 0.
pub(crate) struct Size {
    least: u64,
}

impl Size {
    /// One byte and more.
    pub(crate) const LIMIT: Self = Self { least: 1 };

    /// This many bytes and more.
    pub(crate) const fn at_least(bytes: u64) -> Self {
        Self { least: bytes }
    }
}

impl ValueType for Size {
    type Value = ByteSize;

    fn shape(&self) -> Shape {
        Shape::Size { least: self.least }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<ByteSize> {
        let size = ByteSize::new(SizeOrZero.read(item, out)?);
        match size {
            None => no_limit(item, out),
            Some(size) if size.bytes() < self.least => {
                let least = show_size(self.least);
                out.add(&rules::SIZE, &item.span, format!("{} is at least {least}", quoted(item.name)));
                return None;
            }
            Some(_) => {}
        }
        size
    }

    fn show(&self, value: &ByteSize) -> String {
        toml_string(&show_size(value.bytes()))
    }
}

/// A size in bytes, 0 allowed.
pub(crate) struct SizeOrZero;

impl ValueType for SizeOrZero {
    type Value = u64;

    fn shape(&self) -> Shape {
        Shape::Size { least: 0 }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<u64> {
        if let Some(integer) = item.as_integer() {
            match integer {
                Some(negative) if negative < 0 => no_limit(item, out),
                None => out_of_range(item, "0 to 2^63 - 1", out),
                Some(_) => {}
            }
            return integer.and_then(|integer| u64::try_from(integer).ok());
        }
        let Some(text) = item.as_str() else {
            item.wrong_type("a size", Some("write it as in `\"512MiB\"`, or as a number of bytes"), out);
            return None;
        };
        if UNLIMITED.contains(&text) {
            no_limit(item, out);
            return None;
        }
        let bytes = values::bytes(text);
        if let Err(error) = bytes {
            out.add(&rules::SIZE, &item.span, format!("{} is not a size: {error}", quoted(text)))
                .help_if(|| binary_unit(text));
        }
        bytes.ok()
    }

    fn show(&self, value: &u64) -> String {
        if *value == 0 { "0".to_owned() } else { toml_string(&show_size(*value)) }
    }
}

/// A size with the largest unit that leaves a whole number.
pub(crate) fn show_size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = UNITS.into_iter().find(|(_, shift)| bytes != 0 && bytes.trailing_zeros() >= *shift);
    unit.map_or_else(|| format!("{bytes}B"), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

/// The size that docker's letters or decimal units were meant to give.
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

/// Notes that a value stands for "no limit".
pub(super) fn no_limit(item: &Item<'_>, out: &mut Findings<'_>) {
    out.add(&rules::LIMIT_ZERO, &item.span, format!("{} has to be a limit", quoted(item.name)))
        .help("give a number above 0: 0, a negative number and `unlimited` set no limit");
}

fn out_of_range(item: &Item<'_>, range: &str, out: &mut Findings<'_>) {
    out.add(&rules::NUMBER, &item.span, format!("{} has to be a number from {range}", quoted(item.name)));
}

/// A duration from 1 ms to 7 days.
pub(crate) struct Time;

impl ValueType for Time {
    type Value = Duration;

    fn shape(&self) -> Shape {
        Shape::Duration
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Duration> {
        let Some(text) = item.as_str() else {
            item.wrong_type("a duration", Some("write it as in `\"10s\"` or `\"1m30s\"`"), out);
            return None;
        };
        let duration = values::duration(text);
        if let Err(error) = duration {
            out.add(&rules::DURATION, &item.span, format!("{} is not a duration: {error}", quoted(text)));
        }
        duration.ok()
    }

    fn show(&self, value: &Duration) -> String {
        const UNITS: [(&str, u128); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
        let mut left = value.as_millis();
        let mut text = String::new();
        for (unit, factor) in UNITS {
            if left >= factor {
                text.push_str(&format!("{}{unit}", left / factor));
                left %= factor;
            }
        }
        toml_string(&text)
    }
}

/// A day.
pub(crate) struct Day;

impl ValueType for Day {
    type Value = Date;

    fn shape(&self) -> Shape {
        Shape::Date
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Date> {
        let date = item.as_date();
        if date.is_none() {
            let help = format!("write it without quotes and without a time, as in `{} = 2027-01-31`", item.name);
            item.wrong_type("a date", Some(&help), out);
        }
        date
    }

    fn show(&self, value: &Date) -> String {
        value.to_string()
    }
}

/// An absolute, normal path.
pub(crate) struct Path;

impl Path {
    /// A path that is a part of the item's text.
    pub(crate) fn in_text(text: &str, item: &Item<'_>, out: &mut Findings<'_>) -> Option<AbsolutePath> {
        let path = AbsolutePath::new(text);
        if let Err(error) = path {
            out.add(&rules::ABSOLUTE_PATH, &item.span, format!("{}: {error}", quoted(text)))
                .help_if(|| normal_form(text).map(|path| format!("write `{path}`")));
        }
        path.ok()
    }
}

/// The path without empty parts. A `..` cannot be removed without knowing the links of the file system.
fn normal_form(text: &str) -> Option<AbsolutePath> {
    let parts: Vec<&str> = text.strip_prefix('/')?.split('/').filter(|part| !part.is_empty()).collect();
    AbsolutePath::new(&format!("/{}", parts.join("/"))).ok()
}

impl ValueType for Path {
    type Value = AbsolutePath;

    fn shape(&self) -> Shape {
        Shape::Text { form: "absolute path", pattern: "^/" }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<AbsolutePath> {
        Self::in_text(item.string(out)?, item, out)
    }

    fn show(&self, value: &AbsolutePath) -> String {
        toml_string(value.as_str())
    }
}

/// Any text without NUL.
pub(crate) struct AnyText(pub(crate) &'static str);

impl ValueType for AnyText {
    type Value = String;

    fn shape(&self) -> Shape {
        Shape::Text { form: self.0, pattern: "" }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<String> {
        item.string(out).map(str::to_owned)
    }

    fn show(&self, value: &String) -> String {
        toml_string(value)
    }
}
