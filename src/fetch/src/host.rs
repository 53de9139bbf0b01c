//! What a client needs of this host, read before this process shuts itself in: certificate authorities, name servers, names.

use crate::resolve::Names;
use std::fs::File;
use std::io::Read;
use ureq::tls::{Certificate, PemItem, parse_pem};

/// Where distributions keep all certificate authorities in one file; the first that is there counts.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Bounds of these files, which are root's own.
const MAX_AUTHORITIES: u64 = 4 << 20;
const MAX_NAMES: u64 = 1 << 20;

/// What was read.
#[derive(Debug)]
pub struct Host {
    /// Certificate authorities; none where the host has no such file.
    pub authorities: Vec<Certificate<'static>>,
    /// How names are resolved.
    pub names: Names,
}

impl Host {
    /// Reads the files. An unreadable file counts as empty: then names are not found, or certificates are not trusted, with an error.
    pub fn read() -> Self {
        let authorities = AUTHORITIES.iter().find_map(|path| read(path, MAX_AUTHORITIES));
        let text = |path| read(path, MAX_NAMES).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let names = Names::new(&text("/etc/resolv.conf").unwrap_or_default(), &text("/etc/hosts").unwrap_or_default());
        Self { authorities: authorities.map(|pem| certificates(&pem)).unwrap_or_default(), names }
    }
}

/// The certificates of a PEM text; other items are skipped.
pub fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    let items = parse_pem(pem).filter_map(Result::ok);
    let certificate = |item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    };
    items.filter_map(certificate).collect()
}

fn read(path: &str, most: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
