//! `WWW-Authenticate` (RFC 9110, section 11.6.1): what a registry asks for. Enters: the header's bytes, hostile. Leaves: the
//! challenge that we can answer, or none.

/// The longest header that is looked at.
const LONGEST: usize = 4096;

/// A way to log in that a registry offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A token of another server.
    Bearer {
        /// URL of the token server, not validated here.
        realm: String,
        /// What the token server calls the registry.
        service: Option<String>,
    },
    /// User and password.
    Basic,
}

/// The challenge to answer: Bearer before Basic, the first of each. `None` where a header breaks the grammar before one is found.
pub fn choose<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers {
        for challenge in parse(header) {
            match challenge {
                bearer @ Challenge::Bearer { .. } => return Some(bearer),
                Challenge::Basic => basic = Some(Challenge::Basic),
            }
        }
    }
    basic
}

/// The challenges of one header that we know, in order; up to where it breaks the grammar.
pub fn parse(header: &[u8]) -> Vec<Challenge> {
    let mut found = Vec::new();
    let Some(text) = std::str::from_utf8(header).ok().filter(|text| text.len() <= LONGEST) else { return found };
    let mut rest = text;
    while let Some((scheme, after)) = token(skip(rest)) {
        let Some((parameters, after)) = parameters(after) else { break };
        let value = |name: &str| {
            let mut named = parameters.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            // Twice the same is two readings.
            named.next().map(|(_, value)| value.clone()).filter(|_| named.next().is_none())
        };
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => found.push(Challenge::Basic),
            "bearer" => {
                if let Some(realm) = value("realm") {
                    found.push(Challenge::Bearer { realm, service: value("service") });
                }
            }
            _ => {}
        }
        rest = after;
    }
    found
}

/// Blanks and empty list elements.
fn skip(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', ','])
}

/// A token and what follows it.
fn token(text: &str) -> Option<(&str, &str)> {
    let word = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !word(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

type Parameters = Vec<(String, String)>;

/// The parameters of a scheme, up to the next scheme: a name that no `=` follows.
fn parameters(mut text: &str) -> Option<(Parameters, &str)> {
    let mut found = Vec::new();
    loop {
        let start = skip(text);
        let Some((name, after)) = token(start) else {
            return start.is_empty().then_some((found, start));
        };
        let Some(value) = after.trim_start_matches([' ', '\t']).strip_prefix('=') else {
            return Some((found, start));
        };
        let (value, after) = value_of(value.trim_start_matches([' ', '\t']))?;
        found.push((name.to_owned(), value));
        text = after;
    }
}

/// A token or a quoted string, and what follows it.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(value, after)| (value.to_owned(), after));
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if c.is_control() => return None,
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((value, quoted.get(at + 1..)?)),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
    }

    #[test]
    fn challenges_of_real_registries_are_parsed() {
        let one = |header: &str| choose([header.as_bytes()]);
        assert_eq!(
            one(
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a/b:pull\""
            ),
            bearer("https://auth.docker.io/token", Some("registry.docker.io"))
        );
        assert_eq!(one("bearer service=x , realm = \"https://a/\""), bearer("https://a/", Some("x")));
        assert_eq!(one("Basic realm=\"Registry \\\"Realm\\\"\""), Some(Challenge::Basic));
        assert_eq!(one("Basic"), Some(Challenge::Basic));
        assert_eq!(one("Negotiate, Basic realm=\"x\", Bearer realm=\"https://a/\""), bearer("https://a/", None));
        assert_eq!(one("Digest realm=\"a\", nonce=\"b\""), None);
        assert_eq!(choose([&b"Basic realm=\"x\""[..], b"Bearer realm=\"https://a/\""]), bearer("https://a/", None));
    }

    #[test]
    fn malformed_challenge_is_ignored() {
        for bad in [
            "", ",", "Bearer", "Bearer realm", "Bearer realm=", "Bearer realm=\"x", "Bearer realm=\"x\\", "=x",
            "Bearer =x", "Bearer realm=\"a\", realm=\"b\"", "Bearer realm=\"a\u{1}\"", "Bearer service=\"a\"",
            "\"Bearer\" realm=\"a\"",
        ] {
            assert_eq!(choose([bad.as_bytes()]), None, "{bad:?}");
        }
        assert_eq!(choose([&b"Bearer realm=\"\xff\""[..]]), None);
        let long = format!("Bearer realm=\"{}\"", "a".repeat(5000));
        assert_eq!(choose([long.as_bytes()]), None);
    }
}
