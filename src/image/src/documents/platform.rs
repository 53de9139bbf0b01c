//! Selects the manifest of an index that runs on this host, and checks a config's platform.

use super::error::Error;
use super::manifest::{Entry, Platform};
use super::media_types::{self, Kind};
use std::fmt;

/// The platform of a host, in the words of Go (GOARCH, GOARM).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Host {
    architecture: &'static str,
    /// Variants that run on the host, the best first; empty where the architecture has none.
    variants: &'static [&'static str],
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.architecture)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_deref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// Parses `ARCHITECTURE[/VARIANT]`, for Linux; `None` where the text has another form.
pub(crate) fn linux(text: &str) -> Option<Platform> {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let (architecture, variant) = text.split_once('/').map_or((text, None), |(name, variant)| (name, Some(variant)));
    let good = text.len() <= 32 && word(architecture) && variant.is_none_or(word);
    let architecture = architecture.to_owned();
    let variant = variant.map(str::to_owned);
    good.then(|| Platform { architecture, os: "linux".to_owned(), variant })
}

impl Host {
    /// The host that this program was built for.
    pub(crate) const fn this() -> Self {
        #[cfg(target_arch = "x86_64")]
        let host = Self { architecture: "amd64", variants: &["v1"] };
        #[cfg(target_arch = "aarch64")]
        let host = Self { architecture: "arm64", variants: &["v8"] };
        #[cfg(target_arch = "arm")]
        let host = Self { architecture: "arm", variants: &["v7", "v6", "v5"] };
        #[cfg(target_arch = "riscv64")]
        let host = Self { architecture: "riscv64", variants: &[] };
        host
    }

    /// The platform of images that are built for this host.
    pub(crate) fn platform(self) -> Platform {
        Platform { architecture: self.architecture.to_owned(), os: "linux".to_owned(), variant: None }
    }

    /// The rank of a platform on this host, 0 the best; `None` where it does not run. No variant means the architecture's
    /// common one.
    fn rank(self, platform: &Platform) -> Option<usize> {
        if platform.os != "linux" || platform.architecture != self.architecture {
            return None;
        }
        match platform.variant.as_deref() {
            None | Some("") => Some(0),
            Some(variant) => self.variants.iter().position(|known| *known == variant),
        }
    }

    /// Selects the entry for this host: the best variant, among equals the first (image-spec, image-index.md).
    pub(crate) fn choose(self, entries: &[Entry]) -> Result<&Entry, Error> {
        let ranked = entries.iter().filter_map(|entry| {
            let rank = self.rank(entry.platform.as_ref()?)?;
            Some((rank, entry))
        });
        let chosen = ranked.min_by_key(|(rank, _)| *rank).map(|(_, entry)| entry);
        // The platform of a single entry is optional; the config's platform is checked in any case.
        let chosen = match (chosen, entries) {
            (None, [only]) if only.platform.is_none() => Some(only),
            (chosen, _) => chosen,
        };
        let Some(entry) = chosen else {
            let offered = entries.iter().filter_map(|entry| entry.platform.as_ref());
            let offered = offered.take(20).map(Platform::to_string).collect::<Vec<_>>().join(", ");
            return Err(Error::NoPlatform { wanted: self.to_string(), offered });
        };
        match media_types::kind(&entry.descriptor.media_type) {
            Some(Kind::Manifest) => Ok(entry),
            Some(Kind::Index) => Err(Error::NestedIndex),
            None => Err(Error::NotAnImage(entry.descriptor.media_type.clone())),
        }
    }

    /// Refuses the platform of a config that does not run on this host.
    pub(crate) fn check(self, platform: &Platform) -> Result<(), Error> {
        match self.rank(platform) {
            Some(_) => Ok(()),
            None => Err(Error::Platform { host: self.to_string(), image: platform.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::Descriptor;
    use casemate_wire::Digest;

    const ARM: Host = Host { architecture: "arm", variants: &["v7", "v6", "v5"] };
    const AMD: Host = Host { architecture: "amd64", variants: &["v1"] };

    fn entry(number: u8, platform: Option<(&str, &str, Option<&str>)>) -> Entry {
        let platform = platform.map(|(os, architecture, variant)| Platform {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            variant: variant.map(str::to_owned),
        });
        let digest = Digest::from_bytes([number; 32]);
        let descriptor = Descriptor { media_type: media_types::OCI_MANIFEST.to_owned(), digest, size: 1 };
        Entry { descriptor, platform, full_name: None, ref_name: None }
    }

    fn chosen(host: Host, entries: &[Entry]) -> Option<u8> {
        host.choose(entries).ok().map(|entry| entry.descriptor.digest.as_bytes()[0])
    }

    #[test]
    fn choose_prefers_the_best_variant_and_then_the_first() {
        let arms = [
            entry(1, Some(("linux", "arm", Some("v5")))),
            entry(2, Some(("linux", "arm", Some("v7")))),
            entry(3, Some(("linux", "arm64", Some("v8")))),
            entry(4, Some(("linux", "arm", Some("v7")))),
        ];
        assert_eq!(chosen(ARM, &arms), Some(2));
        assert_eq!(chosen(AMD, &arms), None);
        let wide = [entry(1, Some(("linux", "amd64", Some("v3")))), entry(2, Some(("linux", "amd64", None)))];
        assert_eq!(chosen(AMD, &wide), Some(2));
    }

    #[test]
    fn choose_skips_attestations_and_other_systems() {
        let others =
            [entry(1, Some(("unknown", "unknown", None))), entry(2, Some(("windows", "amd64", None))), entry(3, None)];
        assert_eq!(chosen(AMD, &others), None);
        assert_eq!(chosen(AMD, &others[2..]), Some(3));
        assert_eq!(chosen(AMD, &[]), None);
    }

    #[test]
    fn platform_is_an_architecture_and_an_optional_variant() {
        let arm = linux("arm/v7").unwrap();
        assert_eq!((arm.to_string().as_str(), ARM.rank(&arm)), ("linux/arm/v7", Some(0)));
        assert_eq!(linux("amd64").unwrap().to_string(), "linux/amd64");
        for wrong in ["", "/", "arm/", "/v7", "arm/v7/x", "AMD64", "linux amd64", &"a".repeat(33)] {
            assert_eq!(linux(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn choose_refuses_a_nested_index() {
        let mut nested = entry(1, Some(("linux", "amd64", None)));
        nested.descriptor.media_type = media_types::OCI_INDEX.to_owned();
        assert_eq!(AMD.choose(&[nested]), Err(Error::NestedIndex));
    }
}
