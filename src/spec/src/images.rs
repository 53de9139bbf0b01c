//! Each container's `image` as it stands in the text, for the verbs that write digests into a file: bytes are replaced in their
//! place, so comments and layout stay as they are.

use super::finding::Findings;
use super::grammar;
use std::ops::Range;

/// One `image` of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageAt {
    /// The container's name.
    pub container: String,
    /// What stands there.
    pub image: String,
    /// The bytes of the text that it stands in, quotes included.
    pub span: Range<usize>,
}

/// The images of a file, in the order of the text. What is no file, no container or no text is left out: judging is not done here.
pub fn images(text: &str) -> Vec<ImageAt> {
    if text.len() > super::MAX_FILE {
        return Vec::new();
    }
    let table = grammar::parse(text, &mut Findings::new(text));
    let containers = table.get_ref().get("containers").and_then(|containers| containers.get_ref().as_table());
    let image = |(name, container): (_, &toml::Spanned<toml::de::DeValue<'_>>)| {
        let value = container.get_ref().as_table()?.get("image")?;
        let name: &toml::Spanned<toml::de::DeString<'_>> = name;
        let image = value.get_ref().as_str()?.to_owned();
        Some(ImageAt { container: name.get_ref().to_string(), image, span: value.span() })
    };
    let mut found: Vec<_> = containers.into_iter().flat_map(|containers| containers.iter()).filter_map(image).collect();
    found.sort_by_key(|image| image.span.start);
    found
}

/// The text with other images in these places; each is plain text without quotes.
pub fn replaced(text: &str, images: &[(Range<usize>, String)]) -> String {
    let mut images: Vec<_> = images.iter().collect();
    images.sort_by_key(|(span, _)| span.start);
    let mut out = String::with_capacity(text.len() + 80 * images.len());
    let mut at = 0;
    for (span, image) in images {
        out.push_str(text.get(at..span.start).unwrap_or_default());
        out.push_str(&format!("\"{image}\""));
        at = span.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_images_change() {
        let text = "# é\nschema = 1 # one\n[containers.b]\nimage   = 'docker.io/b:1'  # b\nuser=\"1\"\n\n\
            [containers]\na = { image = \"docker.io/a\", user = \"2\" }\nc.image = \"\"\"docker.io/c\"\"\"\nd.image = 3\n";
        let found = images(text);
        let names: Vec<_> = found.iter().map(|at| (at.container.as_str(), at.image.as_str())).collect();
        assert_eq!(names, [("b", "docker.io/b:1"), ("a", "docker.io/a"), ("c", "docker.io/c")]);
        let new: Vec<_> = found.iter().rev().map(|at| (at.span.clone(), format!("{}@x", at.image))).collect();
        let expected = text
            .replace("'docker.io/b:1'", "\"docker.io/b:1@x\"")
            .replace("\"docker.io/a\"", "\"docker.io/a@x\"")
            .replace("\"\"\"docker.io/c\"\"\"", "\"docker.io/c@x\"");
        assert_eq!(replaced(text, &new), expected);
        assert_eq!(replaced(text, &[]), text);
        for bad in ["", "containers = 1", "[containers]\na = 1", "[containers.a]\nimage", "[[["] {
            assert_eq!(images(bad), [], "{bad}");
        }
    }
}
