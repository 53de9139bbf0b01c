//! `[registries."HOST[:PORT]"]`.

use crate::endpoint::{Mirror, Proxy};
use crate::finding::{Findings, quoted};
use crate::image_ref::is_registry;
use crate::item::{At, Item};
use crate::keys::file as keys;
use crate::rules;
use crate::values::AbsolutePath;
use crate::view::View;

/// How a registry, or a mirror, is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// Host and, where one is given, port, as an image names it.
    pub name: String,
    /// Asked before it, in this order.
    pub mirrors: Vec<Mirror>,
    /// Certificate authorities besides the host's, PEM.
    pub ca: Option<AbsolutePath>,
    /// Plain HTTP.
    pub insecure: bool,
    /// Where user and password are.
    pub login: Option<LoginSource>,
    /// HTTP proxy.
    pub proxy: Option<Proxy>,
    /// TCP ports, besides 443 and its own, of token servers and redirects.
    pub ports: Vec<u16>,
}

impl Registry {
    pub(crate) fn read(table: &View<'_>) -> Option<Self> {
        let file = table.get(&keys::AUTH_FILE).map(LoginSource::File);
        Some(Self {
            name: table.name.as_ref()?.value.to_owned(),
            mirrors: table.get(&keys::MIRRORS)?,
            ca: table.get(&keys::CA),
            insecure: table.get(&keys::INSECURE)?,
            login: file.or_else(|| table.get(&keys::CREDENTIAL).map(LoginSource::Credential)),
            proxy: table.get(&keys::PROXY),
            ports: table.get(&keys::PORTS)?,
        })
    }

    /// Notes a name that is not that of a registry.
    pub(crate) fn check_name(entry: &Item<'_>, out: &mut Findings<'_>) {
        if !is_registry(entry.name) {
            out.add(&rules::REGISTRY_NAME, &entry.key_span, format!("{} is not a registry", quoted(entry.name)))
                .help("write what stands before the first `/` of an image, as in `[registries.\"docker.io\"]`");
        }
    }

    /// Notes a list of mirrors that is too long.
    pub(crate) fn few_mirrors(list: &[At<Mirror>], _: &Item<'_>, out: &mut Findings<'_>) {
        const MOST: usize = 16;
        if let Some(first) = list.get(MOST) {
            out.add(&rules::MIRROR, &first.span, format!("a registry has at most {MOST} mirrors"));
        }
    }

    /// Notes a list of ports that is too long.
    pub(crate) fn few_ports(list: &[At<u16>], item: &Item<'_>, out: &mut Findings<'_>) {
        const MOST: usize = 64;
        if list.len() > MOST {
            out.add(&rules::NUMBER, &item.span, format!("`{}` has at most {MOST} ports", item.name));
        }
    }
}

/// Where a login comes from; both have the format of docker's config.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginSource {
    /// A file of the host.
    File(AbsolutePath),
    /// A credential of the unit (systemd.exec(5), `LoadCredential=`).
    Credential(String),
}
