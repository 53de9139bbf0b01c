//! Which manifest of an index is for this host, and whether a config is.

use super::flaw::Flaw;
use super::manifest::{Entry, Platform};
use super::media::{self, Kind};
use std::fmt;

/// This host, in Go's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Host {
    architecture: &'static str,
    /// Variants that run here, the best first; empty where the architecture has none.
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

/// `ARCHITECTURE[/VARIANT]` in Go's words, for Linux; `None`: it is not of that form.
pub(super) fn linux(text: &str) -> Option<Platform> {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let (architecture, variant) = text.split_once('/').map_or((text, None), |(name, variant)| (name, Some(variant)));
    let good = text.len() <= 32 && word(architecture) && variant.is_none_or(word);
    let (architecture, variant) = (architecture.to_owned(), variant.map(str::to_owned));
    good.then(|| Platform { architecture, os: "linux".to_owned(), variant })
}

impl Host {
    /// The machine that this program was built for.
    pub(super) const fn this() -> Self {
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

    /// What an image for it is for.
    pub(super) fn platform(self) -> Platform {
        Platform { architecture: self.architecture.to_owned(), os: "linux".to_owned(), variant: None }
    }

    /// How well an image of this platform runs here, 0 the best; `None`: not at all. A platform without variant is the
    /// architecture's common one.
    fn rank(self, platform: &Platform) -> Option<usize> {
        if platform.os != "linux" || platform.architecture != self.architecture {
            return None;
        }
        match platform.variant.as_deref() {
            None | Some("") => Some(0),
            Some(variant) => self.variants.iter().position(|known| *known == variant),
        }
    }

    /// The entry for this host: the best variant, among equals the first (image-spec, image-index.md).
    pub(super) fn choose(self, entries: &[Entry]) -> Result<&Entry, Flaw> {
        let ranked = entries.iter().filter_map(|entry| {
            let rank = self.rank(entry.platform.as_ref()?)?;
            Some((rank, entry))
        });
        let chosen = ranked.min_by_key(|(rank, _)| *rank).map(|(_, entry)| entry);
        // An index of one image may leave the platform out; the config is checked against the host anyway.
        let chosen = match (chosen, entries) {
            (None, [only]) if only.platform.is_none() => Some(only),
            (chosen, _) => chosen,
        };
        let Some(entry) = chosen else {
            let offered = entries.iter().filter_map(|entry| entry.platform.as_ref());
            let offered = offered.take(20).map(Platform::to_string).collect::<Vec<_>>().join(", ");
            return Err(Flaw::NoPlatform { wanted: self.to_string(), offered });
        };
        match media::kind(&entry.descriptor.media_type) {
            Some(Kind::Manifest) => Ok(entry),
            Some(Kind::Index) => Err(Flaw::NestedIndex),
            None => Err(Flaw::NotAnImage(entry.descriptor.media_type.clone())),
        }
    }

    /// Refuses a config that is for another machine.
    pub(super) fn check(self, platform: &Platform) -> Result<(), Flaw> {
        match self.rank(platform) {
            Some(_) => Ok(()),
            None => Err(Flaw::Platform { host: self.to_string(), image: platform.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Descriptor;
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
        let descriptor = Descriptor { media_type: media::OCI_MANIFEST.to_owned(), digest, size: 1 };
        Entry { descriptor, platform, full_name: None, ref_name: None }
    }

    fn chosen(host: Host, entries: &[Entry]) -> Option<u8> {
        host.choose(entries).ok().map(|entry| entry.descriptor.digest.as_bytes()[0])
    }

    #[test]
    fn the_best_variant_wins_and_among_equals_the_first() {
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
    fn attestations_and_other_systems_are_never_chosen() {
        let others =
            [entry(1, Some(("unknown", "unknown", None))), entry(2, Some(("windows", "amd64", None))), entry(3, None)];
        assert_eq!(chosen(AMD, &others), None);
        assert_eq!(chosen(AMD, &others[2..]), Some(3));
        assert_eq!(chosen(AMD, &[]), None);
    }

    #[test]
    fn a_platform_is_one_or_two_words() {
        let arm = linux("arm/v7").unwrap();
        assert_eq!((arm.to_string().as_str(), ARM.rank(&arm)), ("linux/arm/v7", Some(0)));
        assert_eq!(linux("amd64").unwrap().to_string(), "linux/amd64");
        for wrong in ["", "/", "arm/", "/v7", "arm/v7/x", "AMD64", "linux amd64", &"a".repeat(33)] {
            assert_eq!(linux(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_index_in_an_index_is_refused() {
        let mut nested = entry(1, Some(("linux", "amd64", None)));
        nested.descriptor.media_type = media::OCI_INDEX.to_owned();
        assert_eq!(AMD.choose(&[nested]), Err(Flaw::NestedIndex));
    }
}
