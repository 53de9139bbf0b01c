//! The TOML format of a profile: `schema`, `comment`, and rules with system calls, a comment and conditions.

use casemate_filter::{Call, Condition, Lookup, Operator, lookup};
use serde::Deserialize;
use std::fmt;

/// The error of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Invalid TOML or keys: the parser's message.
    Syntax(String),
    /// An invalid rule (counted from 1), and the reason.
    Rule(usize, String),
    /// The filter does not compile.
    Compile(casemate_filter::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(reason) => write!(f, "the profile does not parse: {reason}"),
            Self::Rule(number, reason) => write!(f, "rule {number} of the profile: {reason}"),
            Self::Compile(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    schema: u32,
    comment: String,
    #[serde(default)]
    allow: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    comment: String,
    calls: Vec<String>,
    #[serde(default)]
    when: Vec<When>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct When {
    arg: u8,
    op: Op,
    value: u64,
    mask: Option<u64>,
    #[serde(default = "low_half")]
    bits: u8,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Op {
    Eq,
    Ne,
    MaskedEq,
}

const fn low_half() -> u8 {
    32
}

/// The system calls of a profile, one for each name of each rule.
pub(super) fn read(text: &str) -> Result<Vec<Call>, Error> {
    let profile: Profile = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    if profile.schema != 1 {
        return Err(Error::Syntax(format!("schema {} is not known, write schema = 1", profile.schema)));
    }
    if profile.comment.trim().is_empty() {
        return Err(Error::Syntax("the comment is empty: say what the profile is for".to_owned()));
    }
    let mut calls = Vec::new();
    for (number, rule) in (1..).zip(&profile.allow) {
        calls.extend(rule.calls().map_err(|reason| Error::Rule(number, reason))?);
    }
    if calls.is_empty() {
        return Err(Error::Syntax("the profile allows nothing, not even the payload's execve".to_owned()));
    }
    Ok(calls)
}

/// The parser's message on one line: a line feed would be printed as an escape.
fn syntax(text: &str, error: &toml::de::Error) -> Error {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.split('\n').count());
    Error::Syntax(format!("line {line}: {}", error.message().trim_end().replace('\n', ", ")))
}

impl Rule {
    fn calls(&self) -> Result<Vec<Call>, String> {
        if self.comment.trim().is_empty() {
            return Err("its comment is empty: say which program needs it".to_owned());
        }
        if self.calls.is_empty() {
            return Err("it names no system call".to_owned());
        }
        let conditions: Vec<Condition> = self.when.iter().map(When::condition).collect::<Result<_, _>>()?;
        let call = |name: &String| match lookup(name) {
            Lookup::Unknown => Err(format!("no architecture has a system call {name:?}")),
            Lookup::Here(_) | Lookup::Elsewhere => Ok(Call { name: name.clone(), conditions: conditions.clone() }),
        };
        self.calls.iter().map(call).collect()
    }
}

impl When {
    fn condition(&self) -> Result<Condition, String> {
        let bits32 = match self.bits {
            32 => true,
            64 => false,
            other => return Err(format!("bits = {other} is neither 32 nor 64")),
        };
        let operator = match (self.op, self.mask) {
            (Op::Eq, None) => Operator::Equal,
            (Op::Ne, None) => Operator::NotEqual,
            (Op::MaskedEq, Some(mask)) => Operator::MaskedEqual(mask),
            (Op::MaskedEq, None) => return Err("masked_eq needs a mask".to_owned()),
            (_, Some(_)) => return Err("a mask belongs to masked_eq".to_owned()),
        };
        let widest = self.mask.unwrap_or(0) | self.value;
        if self.arg > 5 {
            return Err(format!("arg = {} is not an argument: they count from 0 to 5", self.arg));
        }
        if bits32 && widest > u64::from(u32::MAX) {
            return Err(format!("{widest:#x} does not fit in the 32 bits that are compared: write bits = 64"));
        }
        if self.mask.is_some_and(|mask| self.value & !mask != 0) {
            return Err(format!("{:#x} has bits outside its mask and can never be equal", self.value));
        }
        Ok(Condition { argument: self.arg, bits32, operator, value: self.value })
    }
}
