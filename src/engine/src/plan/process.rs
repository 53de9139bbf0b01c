//! What is executed: words, environment, directory, resource limits. The image gives defaults, the file decides.

use super::error::RuleError;
use casemate_image::ImageConfig;
use casemate_spec::{AbsolutePath, ContainerSpec};
use casemate_wire::{Process, Rlimit};
use std::collections::BTreeMap;

/// Where programs are looked for when neither image nor file says it, as docker has it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const RLIMIT_CORE: u8 = 4;
const RLIMIT_NOFILE: u8 = 7;

/// Soft and hard limits of a file that says nothing. No core dumps: they write memory to the host. 4096 descriptors are
/// within the hard limit of every host, so that an unprivileged start can set it.
const RLIMITS: [(u8, u64, u64); 2] = [(RLIMIT_CORE, 0, 0), (RLIMIT_NOFILE, 1024, 4096)];

/// The process of one container.
pub(super) fn process(container: &ContainerSpec, image: &ImageConfig) -> Result<Process, RuleError> {
    let argv = words(container, image)?;
    let env = environment(container, image);
    let cwd = working_directory(container, image)?;
    for (what, text) in argv.iter().map(|word| ("command", word)).chain(env.iter().map(|entry| ("environment", entry)))
    {
        if text.contains('\0') {
            return Err(RuleError::spec(
                "process-nul",
                format!("a NUL byte in the {what} ends it there for the kernel"),
            ));
        }
    }
    let bytes = |texts: Vec<String>| texts.into_iter().map(String::into_bytes).collect();
    Ok(Process { argv: bytes(argv), env: bytes(env), cwd, rlimits: rlimits(container), init: container.init })
}

/// The file's, else the image's in its normal form (images write `/app/`), else the root.
fn working_directory(container: &ContainerSpec, image: &ImageConfig) -> Result<String, RuleError> {
    let own = container.working_dir.as_ref().map(AbsolutePath::as_str);
    let path = own.or(image.working_dir.as_deref()).unwrap_or("/");
    let names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    if !path.starts_with('/') || path.contains('\0') || names.contains(&"..") {
        let reason = format!("the image's working directory {path:?} is not an absolute path without `..`");
        return Err(RuleError::spec("working-dir", reason).remedy("write working_dir in the file"));
    }
    Ok(format!("/{}", names.join("/")))
}

/// As docker: an entrypoint of the file clears the image's command, which was written for the image's entrypoint.
fn words(container: &ContainerSpec, image: &ImageConfig) -> Result<Vec<String>, RuleError> {
    let command = match (&container.command, &container.entrypoint) {
        (Some(command), _) => command.as_slice(),
        (None, Some(_)) => &[],
        (None, None) => &image.cmd,
    };
    let entrypoint = container.entrypoint.as_ref().unwrap_or(&image.entrypoint);
    let words: Vec<String> = entrypoint.iter().chain(command).cloned().collect();
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err(RuleError::spec("command", "neither the file nor the image says what to run")
            .remedy("write entrypoint or command")),
    }
}

/// Image, then file; one entry a name, the last wins; PATH and HOME always there. Nothing comes from the manager's own.
fn environment(container: &ContainerSpec, image: &ImageConfig) -> Vec<String> {
    let mut entries: BTreeMap<&str, &str> = BTreeMap::from([("HOME", "/"), ("PATH", PATH)]);
    entries.extend(image.env.iter().filter_map(|entry| entry.split_once('=')));
    entries.extend(container.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    entries.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn rlimits(container: &ContainerSpec) -> Vec<Rlimit> {
    let defaults = RLIMITS.iter().map(|&(resource, soft, hard)| Rlimit { resource, soft, hard });
    let asked =
        container.ulimits.iter().map(|limit| Rlimit { resource: limit.resource, soft: limit.soft, hard: limit.hard });
    let by_number: BTreeMap<u8, Rlimit> = defaults.chain(asked).map(|limit| (limit.resource, limit)).collect();
    by_number.into_values().collect()
}
