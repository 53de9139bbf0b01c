//! URLs of http and https. Enters: text from a server. Leaves: scheme, host, port and path, parsed unambiguously.

use std::fmt;
use ureq::http::Uri;

/// Maximum length of a URL; signed URLs of storage services are long.
const LONGEST: usize = 8192;

/// A URL. `Display` shows the server only, since a signed path is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// https.
    pub secure: bool,
    /// Host in lower case; an IPv6 address in brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path and query, from its `/`.
    pub path: String,
}

impl Url {
    /// Parses an absolute URL.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > LONGEST {
            return Err("a URL of more than 8192 bytes");
        }
        if !text.bytes().all(|c| c.is_ascii_graphic()) {
            return Err("a URL with characters that have no place in one");
        }
        match text.split_once("://") {
            Some((scheme, _)) if ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {}
            Some((scheme, _)) if scheme.bytes().all(|c| c.is_ascii_alphanumeric()) => {
                return Err("neither http nor https");
            }
            _ => return Err("not a whole URL"),
        }
        let uri: Uri = text.parse().map_err(|_| "not a URL")?;
        let secure = uri.scheme_str() == Some("https");
        let authority = uri.authority().ok_or("a URL without a host")?;
        if authority.as_str().contains('@') {
            return Err("a URL with a user in it");
        }
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return Err("a URL without a host");
        }
        let port = match (authority.port(), secure) {
            (Some(port), _) => Some(port.as_u16()).filter(|port| *port != 0).ok_or("port 0")?,
            (None, true) => 443,
            (None, false) => 80,
        };
        if authority.port().is_none() && authority.as_str().len() != authority.host().len() {
            return Err("a URL with a port that is none");
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { secure, host, port, path })
    }

    /// Resolves a `Location` against this URL (RFC 9110, section 10.2.2): an absolute URL, another server, or another path.
    pub fn join(&self, location: &str) -> Result<Self, &'static str> {
        let scheme = if self.secure { "https" } else { "http" };
        if location.starts_with("//") {
            Self::parse(&format!("{scheme}:{location}"))
        } else if location.starts_with('/') {
            Self::parse(&format!("{scheme}://{}{location}", self.server()))
        } else {
            Self::parse(location)
        }
    }

    /// `host:port`.
    pub fn server(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether scheme, host and port are the same, so that the same credentials can be sent.
    pub fn same_origin(&self, other: &Self) -> bool {
        (self.secure, &self.host, self.port) == (other.secure, &other.host, other.port)
    }

    /// The full URL, for the HTTP client only.
    pub fn text(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}{}", self.server(), self.path)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.server())
    }
}

/// Percent-encodes all but the unreserved characters (RFC 3986).
pub fn encoded(text: &str) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-._~".contains(&c);
    text.bytes().map(|c| if plain(c) { char::from(c).to_string() } else { format!("%{c:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_is_resolved_unambiguously() {
        let here = Url::parse("https://Registry.site.example/v2/a?b=c").unwrap();
        assert_eq!(here.text(), "https://registry.site.example:443/v2/a?b=c");
        for (location, leads) in [
            ("/x", "https://registry.site.example:443/x"),
            ("//cdn.example/x", "https://cdn.example:443/x"),
            ("http://cdn.example:81", "http://cdn.example:81/"),
            ("https://[::1]:5000/x?y", "https://[::1]:5000/x?y"),
        ] {
            assert_eq!(here.join(location).map(|url| url.text()).as_deref(), Ok(leads), "{location}");
        }
        for bad in [
            "", "x", "../x", "file:///etc/passwd", "ftp://a/", "https://", "https:///x", "https://u:p@a/x",
            "https://a:0/", "https://a:99999/", "https://a:/", "https://a/\n", "https://a/ b", "gopher://a",
            "https://é/", "javascript:x",
        ] {
            assert!(here.join(bad).is_err(), "{bad:?}: {:?}", here.join(bad).map(|url| url.text()));
        }
        assert!(here.join(&format!("/{}", "x".repeat(9000))).is_err());
    }

    #[test]
    fn threat_16_another_port_or_scheme_is_another_origin() {
        let at = |text: &str| Url::parse(text).unwrap();
        assert!(at("https://a/").same_origin(&at("https://A:443/x")));
        for other in ["https://a:444/", "http://a/", "http://a:443/", "https://b/", "https://a.example/"] {
            assert!(!at("https://a/").same_origin(&at(other)), "{other}");
        }
    }

    #[test]
    fn query_encodes_its_values() {
        assert_eq!(encoded("repository:a/b:pull é&="), "repository%3Aa%2Fb%3Apull%20%C3%A9%26%3D");
    }
}
