//! `[registries."HOST[:PORT]"]`: how a registry is reached.

use super::scalar;
use crate::cursor::{At, Item};
use crate::endpoint::{Mirror, Proxy};
use crate::finding::{Findings, quoted};
use crate::image_ref::is_registry;
use crate::raw::RawRegistry;
use crate::{keys, rules};

/// More mirrors than anybody asks one after another.
const MOST_MIRRORS: usize = 16;

pub(super) fn registry(item: &Item<'_>, out: &mut Findings<'_>) -> Option<RawRegistry> {
    let mut table = item.table(&keys::REGISTRY, out)?;
    if !is_registry(item.name) {
        out.add(&rules::REGISTRY_NAME, &item.key_span, format!("{} is no registry", quoted(item.name)))
            .help("write what stands before the first `/` of an image, as in `[registries.\"docker.io\"]`");
    }
    let mirrors = table.take("mirrors").map(|item| mirrors(&item, out)).unwrap_or_default();
    let ca = table.take("ca").and_then(|item| scalar::path(&item, out));
    let insecure = table.take("insecure").and_then(|item| Some(item.at(item.boolean(out)?)));
    let auth_file = table.take("auth_file").and_then(|item| Some(item.at(scalar::path(&item, out)?)));
    let credential = table.take("credential").and_then(|item| credential(&item, out));
    let proxy = table.take("proxy").and_then(|item| proxy(&item, out));
    let ports = table.take("ports").map(|item| ports(&item, out)).unwrap_or_default();
    table.finish(out);
    let name = At { value: item.name.to_owned(), span: item.key_span.clone() };
    Some(RawRegistry { name, mirrors, ca, insecure, auth_file, credential, proxy, ports })
}

fn mirrors(item: &Item<'_>, out: &mut Findings<'_>) -> Vec<At<Mirror>> {
    let help = "write it as in `mirrors = [\"https://mirror.site.example\"]`";
    let mut elements = item.array("a list of URLs", Some(help), out).unwrap_or_default();
    if let Some(first) = elements.get(MOST_MIRRORS) {
        out.add(&rules::MIRROR, &first.span, format!("there are more than {MOST_MIRRORS} mirrors"));
    }
    elements.truncate(MOST_MIRRORS);
    let mirror = |element: &Item<'_>| {
        let text = element.string(out)?;
        let mirror = Mirror::parse(text);
        if let Err(error) = &mirror {
            out.add(&rules::MIRROR, &element.span, format!("{} is no mirror: {error}", quoted(text)));
        }
        Some(element.at(mirror.ok()?))
    };
    elements.iter().filter_map(mirror).collect()
}

fn credential(item: &Item<'_>, out: &mut Findings<'_>) -> Option<At<String>> {
    let text = item.string(out)?;
    let word = |c: u8| c.is_ascii_alphanumeric() || b"_.-".contains(&c);
    let good = (1..=255).contains(&text.len()) && text.bytes().all(word) && !text.starts_with('.');
    if !good {
        out.add(&rules::CREDENTIAL_NAME, &item.span, format!("{} is no name of a credential", quoted(text)))
            .help("write the name that LoadCredential= of the unit gives it");
    }
    good.then(|| item.at(text.to_owned()))
}

fn proxy(item: &Item<'_>, out: &mut Findings<'_>) -> Option<Proxy> {
    let proxy = Proxy::parse(item.string(out)?);
    if let Err(error) = &proxy {
        // The text is not quoted: there may be a password in it.
        out.add(&rules::PROXY, &item.span, error.to_string());
    }
    proxy.ok()
}

fn ports(item: &Item<'_>, out: &mut Findings<'_>) -> Vec<u16> {
    let help = "write it as in `ports = [5001]`";
    let elements = item.array("a list of TCP ports", Some(help), out).unwrap_or_default();
    elements.iter().take(64).filter_map(|element| scalar::integer(element, 1..=u16::MAX, out)).collect()
}
