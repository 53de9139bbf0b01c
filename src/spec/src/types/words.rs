//! Values that are one of a few words.

use super::{Shape, ValueType, toml_string};
use crate::finding::{Findings, quoted};
use crate::item::Item;
use crate::model::Waivable;
use crate::nearest::did_you_mean;
use crate::rules;

/// One of these words.
pub(crate) struct Words<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq + Sync + 'static> ValueType for Words<T> {
    type Value = T;

    fn shape(&self) -> Shape {
        Shape::Words(self.0.iter().map(|(word, _)| *word).collect())
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<T> {
        let text = item.string(out)?;
        let found = self.0.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            not_a_word(item.name, text, item, self.0.iter().map(|(word, _)| *word), out);
        }
        found.map(|(_, value)| *value)
    }

    fn show(&self, value: &T) -> String {
        let word = self.0.iter().find(|(_, known)| known == value).map(|(word, _)| *word);
        toml_string(word.unwrap_or_default())
    }
}

fn not_a_word(
    key: &str,
    text: &str,
    item: &Item<'_>,
    words: impl Iterator<Item = &'static str> + Clone,
    out: &mut Findings<'_>,
) {
    let list: Vec<String> = words.clone().map(|word| format!("`{word}`")).collect();
    let choice = if list.len() == 1 { "can only be" } else { "is one of" };
    out.add(&rules::WORD, &item.span, format!("{} {choice} {}", quoted(key), list.join(", ")))
        .help_if(|| did_you_mean(text, words));
}

/// The one value that a key can have.
pub(crate) struct Fixed(pub(crate) i64, pub(crate) &'static str);

impl ValueType for Fixed {
    type Value = ();

    fn shape(&self) -> Shape {
        Shape::Fixed(self.1)
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<()> {
        let help = format!("write `{} = {}`", item.name, self.1);
        match item.as_integer() {
            Some(Some(number)) if number == self.0 => return Some(()),
            Some(_) => {
                out.add(&rules::SCHEMA, &item.span, "this version of casemate reads schema 1 only").help(help);
            }
            None => item.wrong_type("an integer", Some(&help), out),
        }
        None
    }

    fn show(&self, (): &()) -> String {
        self.1.to_owned()
    }
}

/// A rule that can be waived, by its id.
pub(crate) struct WaivableRule;

impl ValueType for WaivableRule {
    type Value = Waivable;

    fn shape(&self) -> Shape {
        Shape::Words(Waivable::ALL.iter().map(|rule| rule.id()).collect())
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Waivable> {
        let text = item.string(out)?;
        let found = Waivable::ALL.into_iter().find(|rule| rule.id() == text);
        if found.is_none() {
            let list: Vec<_> = Waivable::ALL.iter().map(|rule| format!("`{}`", rule.id())).collect();
            let message = if rules::RULES.iter().any(|rule| rule.id == text) {
                format!("the rule {} cannot be waived", quoted(text))
            } else {
                format!("there is no rule {}", quoted(text))
            };
            let near = did_you_mean(text, Waivable::ALL.iter().map(|rule| rule.id()));
            out.add(&rules::WAIVER_RULE, &item.span, message)
                .help(near.unwrap_or_else(|| format!("rules that can be waived: {}", list.join(", "))));
        }
        found
    }

    fn show(&self, value: &Waivable) -> String {
        toml_string(value.id())
    }
}

/// The reason of a waiver: one line of text.
pub(crate) struct Line;

impl ValueType for Line {
    type Value = String;

    fn shape(&self) -> Shape {
        Shape::Text { form: "one line of text", pattern: "\\S" }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<String> {
        let text = item.string(out)?.trim();
        if text.is_empty() || text.chars().any(char::is_control) {
            out.add(&rules::WAIVER_REASON, &item.span, "a waiver needs a reason, written in one line")
                .help("say why the rule cannot be met: every report shows the reason first");
            return None;
        }
        Some(text.to_owned())
    }

    fn show(&self, value: &String) -> String {
        toml_string(value)
    }
}
