//! Servers that a file names by URL: mirrors and proxies.
//!
//! Enters: text. Leaves: scheme, host, port and, for a mirror, path; each text can be read in one way only.

use super::image_ref::{host_and_port, is_part};
use super::values::ValueError;
use std::fmt;

/// A server that offers the content of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// https.
    pub secure: bool,
    /// Host and, where one is given, port: the name of its own table.
    pub registry: String,
    /// Path before that of each repository; mostly empty.
    pub prefix: String,
}

impl Mirror {
    /// Reads `https://HOST[:PORT][/PATH]`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        const SHAPE: ValueError =
            ValueError("a mirror is `https://HOST[:PORT]`, with the path of its repositories behind it");
        let (secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(SHAPE),
        };
        let (registry, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let normal = prefix.is_empty() || prefix.split('/').all(is_part);
        if host_and_port(registry).is_none() || !normal || prefix.len() > 255 {
            return Err(SHAPE);
        }
        Ok(Self { secure, registry: registry.to_owned(), prefix: prefix.to_owned() })
    }
}

/// An HTTP proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Host.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Proxy {
    /// Reads `http://HOST:PORT`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        const SHAPE: ValueError = ValueError("a proxy is `http://HOST:PORT`");
        if text.contains('@') {
            return Err(ValueError("a proxy has no user and no password here: the file is kept and shown"));
        }
        let rest = text.strip_prefix("http://").ok_or(SHAPE)?;
        match host_and_port(rest.strip_suffix('/').unwrap_or(rest)) {
            Some((host, Some(port))) => Ok(Self { host: host.to_owned(), port }),
            _ => Err(SHAPE),
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_urls_are_parsed_strictly() {
        for (text, secure, registry, prefix) in [
            ("https://mirror.site.example", true, "mirror.site.example", ""),
            ("https://mirror.site.example/", true, "mirror.site.example", ""),
            ("http://10.0.0.1:5000/docker/hub", false, "10.0.0.1:5000", "docker/hub"),
            ("https://[::1]:5000", true, "[::1]:5000", ""),
            ("https://mirror", true, "mirror", ""),
        ] {
            let expected = Mirror { secure, registry: registry.to_owned(), prefix: prefix.to_owned() };
            assert_eq!(Mirror::parse(text), Ok(expected), "{text}");
        }
        for bad in [
            "", "mirror.site.example", "ftp://a.b", "https://", "https:///x", "https://u:p@a.b", "https://a.b:0",
            "https://a.b/../x", "https://a.b/x?y", "https://a.b//x", "https://A.b", "https://a.b:x", "HTTPS://a.b",
            "https://a b", "https://a.b/X",
        ] {
            assert!(Mirror::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn proxy_has_a_port_and_no_password() {
        assert_eq!(
            Proxy::parse("http://proxy.example:3128").map(|proxy| proxy.to_string()).as_deref(),
            Ok("http://proxy.example:3128")
        );
        assert_eq!(Proxy::parse("http://[::1]:3128/").map(|proxy| proxy.port), Ok(3128));
        for bad in [
            "", "proxy:3128", "http://proxy", "https://proxy:3128", "socks5://proxy:1", "http://u:p@proxy:3128",
            "http://proxy:3128/x",
        ] {
            assert!(Proxy::parse(bad).is_err(), "{bad}");
        }
    }
}
