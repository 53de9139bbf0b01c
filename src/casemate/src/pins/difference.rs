//! The differences between two images that matter to the file: defaults and layers.

use casemate_error::escaped;
use casemate_image::Image;
use std::collections::BTreeSet;
use std::fmt::Write;

/// One indented line per difference, and one for the layers.
pub fn lines(old: &Image, new: &Image) -> String {
    let mut out = String::new();
    let before = &old.config;
    let after = &new.config;
    let words = |words: &[String]| if words.is_empty() { None } else { Some(words.join(" ")) };
    changed(&mut out, "user", before.user.clone(), after.user.clone());
    changed(&mut out, "entrypoint", words(&before.entrypoint), words(&after.entrypoint));
    changed(&mut out, "command", words(&before.cmd), words(&after.cmd));
    changed(&mut out, "working_dir", before.working_dir.clone(), after.working_dir.clone());
    changed(&mut out, "stop_signal", before.stop_signal.clone(), after.stop_signal.clone());
    listed(&mut out, "environment", &before.env, &after.env);
    listed(&mut out, "ports", &before.exposed_ports, &after.exposed_ports);
    listed(&mut out, "volumes", &before.volumes, &after.volumes);
    let known: BTreeSet<_> = old.layers.iter().map(|layer| layer.blob).collect();
    let fresh: Vec<_> = new.layers.iter().filter(|layer| !known.contains(&layer.blob)).collect();
    // The sizes are those of the manifest; the layers are not downloaded.
    let size = fresh.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
    let of = new.layers.len();
    let _ = writeln!(out, "  layers       {} of {of} are new, {}", fresh.len(), crate::print::size(size));
    out
}

fn changed(out: &mut String, what: &str, before: Option<String>, after: Option<String>) {
    if before != after {
        let show = |value: Option<String>| value.map_or("none".to_owned(), |value| escaped(&value));
        let _ = writeln!(out, "  {what:<12} {} -> {}", show(before), show(after));
    }
}

fn listed(out: &mut String, what: &str, before: &[String], after: &[String]) {
    for gone in before.iter().filter(|value| !after.contains(value)) {
        let _ = writeln!(out, "  {what:<12} - {}", escaped(gone));
    }
    for new in after.iter().filter(|value| !before.contains(value)) {
        let _ = writeln!(out, "  {what:<12} + {}", escaped(new));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use casemate_image::{ImageConfig, Layer};
    use casemate_wire::Digest;

    fn looked(config: ImageConfig, layers: &[u8]) -> Image {
        let digest = |byte: u8| Digest::from_bytes([byte; 32]);
        let layer =
            |&byte: &u8| Layer { blob: digest(byte), size: 1024, diff_id: digest(byte), chain_id: digest(byte) };
        let layers = layers.iter().map(layer).collect();
        Image { manifest: digest(0), config, layers, names: Vec::new() }
    }

    #[test]
    fn difference_shows_defaults_and_layers() {
        let old = ImageConfig {
            user: Some("999".to_owned()),
            env: vec!["A=1".to_owned(), "B=2".to_owned()],
            exposed_ports: vec!["80/tcp".to_owned()],
            ..ImageConfig::default()
        };
        let new = ImageConfig {
            entrypoint: vec!["/run".to_owned(), "\u{1b}[2J".to_owned()],
            env: vec!["A=2".to_owned(), "B=2".to_owned()],
            exposed_ports: vec!["80/tcp".to_owned(), "443/tcp".to_owned()],
            ..ImageConfig::default()
        };
        assert_eq!(
            lines(&looked(old.clone(), &[1, 2]), &looked(new, &[1, 3, 4])),
            "  user         999 -> none\n  entrypoint   none -> /run \\u{1b}[2J\n  environment  - A=1\n  environment  + A=2\n  \
             ports        + 443/tcp\n  layers       2 of 3 are new, 2.0 KiB\n"
        );
        assert_eq!(lines(&looked(old.clone(), &[1]), &looked(old, &[1])), "  layers       0 of 1 are new, 0 B\n");
    }

    #[test]
    fn threat_17_huge_sizes_are_added_without_overflow() {
        let old = looked(ImageConfig::default(), &[]);
        let mut new = looked(ImageConfig::default(), &[1, 2]);
        new.layers.iter_mut().for_each(|layer| layer.size = u64::MAX);
        assert!(lines(&old, &new).starts_with("  layers       2 of 2 are new, "));
    }
}
