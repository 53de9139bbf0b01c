//! TOML 1.0: text to spanned tables, with every syntax error of the text.
//!
//! Enters: text of at most [`super::MAX_FILE`] bytes. Leaves: what the parser could read, findings noted. Two things are done
//! here that the parser leaves open: its recovery from `===…` calls itself for each sign, and it does not look at the digits
//! of a number.

use super::finding::{Findings, escaped};
use super::rules;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// The longest run of `=` that the parser gets to see; two in a row are an error already.
const MAX_EQUALS: usize = 100;

/// Reads the text as far as it can be read.
pub(super) fn parse<'t>(text: &'t str, findings: &mut Findings<'_>) -> Spanned<DeTable<'t>> {
    let mut run = 0;
    for token in Source::new(text).lex() {
        run = if token.kind() == TokenKind::Equals { run + 1 } else { 0 };
        if run > MAX_EQUALS {
            findings.add(&rules::SYNTAX, &(token.span().start()..token.span().end()), "extra `=`");
            return Spanned::new(0..0, DeTable::new());
        }
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let message: String = error.message().chars().flat_map(escaped).collect();
        let rule = if message == "duplicate key" { &rules::DUPLICATE_KEY } else { &rules::SYNTAX };
        findings.add(rule, &span, message);
    }
    for value in table.get_ref().values() {
        numbers(value, findings);
    }
    table
}

/// Notes each number that has a wrong digit or none. The depth of the tables is bounded by the parser.
fn numbers(value: &Spanned<DeValue<'_>>, findings: &mut Findings<'_>) {
    match value.get_ref() {
        DeValue::Integer(integer) => {
            let digits = integer.as_str().strip_prefix(['+', '-']).unwrap_or(integer.as_str());
            if digits.is_empty() || !digits.chars().all(|c| c.is_digit(integer.radix())) {
                findings.add(&rules::SYNTAX, &value.span(), "invalid integer, expected digits");
            }
        }
        DeValue::Float(float) if float.as_str().parse::<f64>().is_err() => {
            findings.add(&rules::SYNTAX, &value.span(), "invalid float, expected digits");
        }
        DeValue::Array(array) => array.iter().for_each(|value| numbers(value, findings)),
        DeValue::Table(table) => table.values().for_each(|value| numbers(value, findings)),
        _ => {}
    }
}
