//! The `history` of an image config: how the image was built, by its own account. Displayed only; nothing depends on it.

use super::error::Error;
use super::json;
use serde::Deserialize;

/// The most steps: more than any image has layers.
const MAX_STEPS: usize = 2048;
const MAX_TEXT: usize = 64 * 1024;

/// One step, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(default)]
pub struct Step {
    /// Time of the step, as the image writes it.
    pub created: Option<String>,
    /// The command that was run.
    pub created_by: Option<String>,
    /// A comment.
    pub comment: Option<String>,
    /// The step made no layer.
    pub empty_layer: bool,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    history: Option<Vec<Step>>,
}

/// Parses the history of a config, oldest step first.
pub fn parse(bytes: &[u8]) -> Result<Vec<Step>, Error> {
    let raw: Raw = json::typed(json::parse(bytes)?)?;
    let steps = raw.history.unwrap_or_default();
    if steps.len() > MAX_STEPS {
        return Err(Error::TooMany { what: "steps of history", limit: MAX_STEPS });
    }
    let texts = steps.iter().flat_map(|step| [&step.created, &step.created_by, &step.comment]).flatten();
    if texts.into_iter().any(|text| text.len() > MAX_TEXT) {
        return Err(Error::TooLongText { what: "a step of history", limit: MAX_TEXT });
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_optional_and_bounded() {
        assert_eq!(parse(b"{}"), Ok(Vec::new()));
        assert_eq!(parse(b"{\"history\":null}"), Ok(Vec::new()));
        let steps = parse(br#"{"history":[{"created_by":"COPY a b","other":1},{"empty_layer":true}]}"#).unwrap();
        assert_eq!(steps[0].created_by.as_deref(), Some("COPY a b"));
        assert!(steps[1].empty_layer);
        assert!(parse(format!("{{\"history\":[{}{{}}]}}", "{},".repeat(MAX_STEPS)).as_bytes()).is_err());
        assert!(
            parse(format!("{{\"history\":[{{\"comment\":\"{}\"}}]}}", "a".repeat(MAX_TEXT + 1)).as_bytes()).is_err()
        );
        assert!(parse(br#"{"history":[1]}"#).is_err());
    }
}
