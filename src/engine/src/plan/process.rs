//! The payload's process: argv, environment, working directory, rlimits. The image gives defaults, the file decides.

use super::error::RuleError;
use casemate_image::ImageConfig;
use casemate_spec::{AbsolutePath, ContainerSpec};
use casemate_wire::{Process, Rlimit};
use std::collections::BTreeMap;

/// PATH if neither image nor file sets it, as docker has it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const RLIMIT_CORE: u8 = 4;
const RLIMIT_NOFILE: u8 = 7;

/// Default soft and hard limits. No core dumps: they write memory to the host. 4096 descriptors are within the hard limit of every host,
/// so an unprivileged start can set it.
const RLIMITS: [(u8, u64, u64); 2] = [(RLIMIT_CORE, 0, 0), (RLIMIT_NOFILE, 1024, 4096)];

/// The process of one container.
pub(super) fn process(container: &ContainerSpec, image: &ImageConfig) -> Result<Process, RuleError> {
    let argv = argv(container, image)?;
    let env = environment(container, image);
    let cwd = working_directory(container, image)?;
    let texts = argv.iter().map(|word| ("command", word)).chain(env.iter().map(|entry| ("environment", entry)));
    for (kind, text) in texts {
        if text.contains('\0') {
            let reason = format!("the {kind} has a NUL byte, where the kernel would end it");
            return Err(RuleError::spec("process-nul", reason));
        }
    }
    let bytes = |texts: Vec<String>| texts.into_iter().map(String::into_bytes).collect();
    Ok(Process { argv: bytes(argv), env: bytes(env), cwd, rlimits: rlimits(container), init: container.init })
}

/// The file's, else the image's in normal form (images have `/app/`), else `/`.
fn working_directory(container: &ContainerSpec, image: &ImageConfig) -> Result<String, RuleError> {
    let own = container.working_dir.as_ref().map(AbsolutePath::as_str);
    let path = own.or(image.working_dir.as_deref()).unwrap_or("/");
    let names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    if !path.starts_with('/') || path.contains('\0') || names.contains(&"..") {
        let reason = format!("the image's working directory {path:?} is not an absolute path without `..`");
        return Err(RuleError::spec("working-dir", reason).remedy("set working_dir in the file"));
    }
    Ok(format!("/{}", names.join("/")))
}

/// As in docker, an entrypoint of the file clears the image's command, which is meant for the image's entrypoint.
fn argv(container: &ContainerSpec, image: &ImageConfig) -> Result<Vec<String>, RuleError> {
    let command = match (&container.command, &container.entrypoint) {
        (Some(command), _) => command.as_slice(),
        (None, Some(_)) => &[],
        (None, None) => &image.cmd,
    };
    let entrypoint = container.entrypoint.as_ref().unwrap_or(&image.entrypoint);
    let words: Vec<String> = entrypoint.iter().chain(command).cloned().collect();
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err(RuleError::spec("command", "neither the file nor the image has an entrypoint or command")
            .remedy("set entrypoint or command in the file")),
    }
}

/// Image, then file; one entry per name, the last wins; PATH and HOME are always set. Nothing comes from the manager's environment.
fn environment(container: &ContainerSpec, image: &ImageConfig) -> Vec<String> {
    let mut entries: BTreeMap<&str, &str> = BTreeMap::from([("HOME", "/"), ("PATH", PATH)]);
    entries.extend(image.env.iter().filter_map(|entry| entry.split_once('=')));
    entries.extend(container.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    entries.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn rlimits(container: &ContainerSpec) -> Vec<Rlimit> {
    let defaults = RLIMITS.iter().map(|&(resource, soft, hard)| Rlimit { resource, soft, hard });
    let ulimits =
        container.ulimits.iter().map(|limit| Rlimit { resource: limit.resource, soft: limit.soft, hard: limit.hard });
    let by_number: BTreeMap<u8, Rlimit> = defaults.chain(ulimits).map(|limit| (limit.resource, limit)).collect();
    by_number.into_values().collect()
}
