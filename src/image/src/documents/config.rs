//! The image config: its defaults, its platform and its diff_ids. All other fields are dropped here (threat row 13).

use super::error::Error;
use super::image::ImageConfig;
use super::json;
use super::manifest::Platform;
use casemate_wire::Digest;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

const MAX_WORDS: usize = 1024;
const MAX_WORD: usize = 32 * 1024;
const MAX_LABELS: usize = 1024;
/// Buildpacks keep documents in labels.
const MAX_LABEL: usize = 512 * 1024;
const MAX_PATH: usize = 4096;
const MAX_PORTS: usize = 1024;
const MAX_VOLUMES: usize = 256;
const MAX_SHORT: usize = 256;

/// The part of a config that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Defaults for the container.
    pub defaults: ImageConfig,
    /// The platform that the image is for.
    pub platform: Platform,
    /// Digests of the uncompressed layers, bottom first.
    pub diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(flatten)]
    platform: Platform,
    #[serde(default)]
    config: Option<Value>,
    rootfs: RawRootfs,
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawDefaults {
    user: Option<String>,
    exposed_ports: Option<BTreeMap<String, Value>>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    volumes: Option<BTreeMap<String, Value>>,
    working_dir: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    stop_signal: Option<String>,
}

const DEFAULT_KEYS: [&str; 9] =
    ["User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal"];

/// Parses the config of a manifest with `layers` layers.
pub fn parse(bytes: &[u8], layers: usize) -> Result<Config, Error> {
    let document = json::parse(bytes)?;
    json::refuse_lookalikes(&document, &["architecture", "os", "variant", "config", "rootfs"])?;
    if let Some(rootfs) = document.get("rootfs") {
        json::refuse_lookalikes(rootfs, &["type", "diff_ids"])?;
    }
    let raw: RawConfig = json::typed(document)?;
    if raw.rootfs.kind != "layers" {
        return Err(Error::RootfsType(raw.rootfs.kind));
    }
    let diff_ids = raw.rootfs.diff_ids;
    if diff_ids.len() != layers {
        return Err(Error::LayerCount { layers, diff_ids: diff_ids.len() });
    }
    let diff_ids = diff_ids.into_iter().map(|text| text.parse().map_err(|_| Error::Digest(text)));
    let diff_ids = diff_ids.collect::<Result<_, _>>()?;
    let defaults = match raw.config {
        None | Some(Value::Null) => ImageConfig::default(),
        Some(value) => defaults(value)?,
    };
    Ok(Config { defaults, platform: raw.platform, diff_ids })
}

fn defaults(value: Value) -> Result<ImageConfig, Error> {
    json::refuse_lookalikes(&value, &DEFAULT_KEYS)?;
    let raw: RawDefaults = json::typed(value)?;
    Ok(ImageConfig {
        entrypoint: words("arguments of Entrypoint", raw.entrypoint)?,
        cmd: words("arguments of Cmd", raw.cmd)?,
        env: environment(raw.env)?,
        working_dir: working_dir(raw.working_dir)?,
        user: short("User", raw.user)?,
        stop_signal: short("StopSignal", raw.stop_signal)?,
        exposed_ports: keys("ExposedPorts", MAX_PORTS, MAX_SHORT, raw.exposed_ports)?,
        volumes: keys("Volumes", MAX_VOLUMES, MAX_PATH, raw.volumes)?,
        labels: labels(raw.labels.unwrap_or_default())?,
    })
}

fn text(what: &'static str, limit: usize, text: &str) -> Result<(), Error> {
    if text.len() > limit {
        return Err(Error::TooLongText { what, limit });
    }
    if text.contains('\0') {
        return Err(Error::Text { what, reason: "holds a NUL byte", found: text.to_owned() });
    }
    Ok(())
}

fn words(what: &'static str, words: Option<Vec<String>>) -> Result<Vec<String>, Error> {
    let words = words.unwrap_or_default();
    if words.len() > MAX_WORDS {
        return Err(Error::TooMany { what, limit: MAX_WORDS });
    }
    words.iter().try_for_each(|word| text(what, MAX_WORD, word))?;
    Ok(words)
}

fn environment(env: Option<Vec<String>>) -> Result<Vec<String>, Error> {
    let env = words("entries of Env", env)?;
    match env.iter().find(|entry| entry.find('=').is_none_or(|at| at == 0)) {
        None => Ok(env),
        Some(entry) => Err(Error::Text { what: "entry of Env", reason: "is not NAME=value", found: entry.clone() }),
    }
}

fn working_dir(dir: Option<String>) -> Result<Option<String>, Error> {
    let Some(dir) = dir.filter(|dir| !dir.is_empty()) else { return Ok(None) };
    text("WorkingDir", MAX_PATH, &dir)?;
    if !dir.starts_with('/') {
        return Err(Error::Text { what: "WorkingDir", reason: "is not absolute", found: dir });
    }
    Ok(Some(dir))
}

fn short(what: &'static str, value: Option<String>) -> Result<Option<String>, Error> {
    let value = value.filter(|value| !value.is_empty());
    value.iter().try_for_each(|value| text(what, MAX_SHORT, value))?;
    Ok(value)
}

fn keys(
    what: &'static str,
    count: usize,
    length: usize,
    map: Option<BTreeMap<String, Value>>,
) -> Result<Vec<String>, Error> {
    let map = map.unwrap_or_default();
    if map.len() > count {
        return Err(Error::TooMany { what, limit: count });
    }
    map.keys().try_for_each(|key| text(what, length, key))?;
    Ok(map.into_keys().collect())
}

fn labels(labels: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Error> {
    if labels.len() > MAX_LABELS {
        return Err(Error::TooMany { what: "Labels", limit: MAX_LABELS });
    }
    for (key, value) in &labels {
        text("key of Labels", MAX_PATH, key)?;
        text("value of Labels", MAX_LABEL, value)?;
    }
    Ok(labels)
}
