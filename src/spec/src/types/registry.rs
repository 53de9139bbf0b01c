//! Mirrors, proxies, credentials.

use super::{Shape, ValueType, toml_string};
use crate::endpoint::{Mirror, Proxy};
use crate::finding::{Findings, quoted};
use crate::item::Item;
use crate::rules;

/// The URL of a mirror.
pub(crate) struct MirrorUrl;

impl ValueType for MirrorUrl {
    type Value = Mirror;

    fn shape(&self) -> Shape {
        Shape::Text { form: "https://HOST[:PORT][/PATH]", pattern: "^https?://" }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Mirror> {
        let text = item.string(out)?;
        let mirror = Mirror::parse(text);
        if let Err(error) = &mirror {
            out.add(&rules::MIRROR, &item.span, format!("{} is not a mirror: {error}", quoted(text)));
        }
        mirror.ok()
    }

    fn show(&self, value: &Mirror) -> String {
        let scheme = if value.secure { "https" } else { "http" };
        let slash = if value.prefix.is_empty() { "" } else { "/" };
        toml_string(&format!("{scheme}://{}{slash}{}", value.registry, value.prefix))
    }
}

/// The name of a systemd credential.
pub(crate) struct CredentialName;

impl ValueType for CredentialName {
    type Value = String;

    fn shape(&self) -> Shape {
        Shape::Text { form: "name of a credential", pattern: "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}$" }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<String> {
        let text = item.string(out)?;
        let word = |c: u8| c.is_ascii_alphanumeric() || b"_.-".contains(&c);
        let good = (1..=255).contains(&text.len()) && text.bytes().all(word) && !text.starts_with('.');
        if !good {
            let message = format!("{} is not the name of a credential", quoted(text));
            out.add(&rules::CREDENTIAL_NAME, &item.span, message)
                .help("write the name that LoadCredential= of the unit gives it");
        }
        good.then(|| text.to_owned())
    }

    fn show(&self, value: &String) -> String {
        toml_string(value)
    }
}

/// The URL of an HTTP proxy.
pub(crate) struct ProxyUrl;

impl ValueType for ProxyUrl {
    type Value = Proxy;

    fn shape(&self) -> Shape {
        Shape::Text { form: "http://HOST:PORT", pattern: "^http://[^@]*:[0-9]+/?$" }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Proxy> {
        let proxy = Proxy::parse(item.string(out)?);
        if let Err(error) = &proxy {
            // The text may contain a password, so it is not quoted.
            out.add(&rules::PROXY, &item.span, error.to_string());
        }
        proxy.ok()
    }

    fn show(&self, value: &Proxy) -> String {
        toml_string(&value.to_string())
    }
}
