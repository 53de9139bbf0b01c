//! `casemate lock` resolves the tags of a file to digests; `casemate update` shows which tags have a newer digest. Both write digests only,
//! and only to the given file.

mod difference;
mod file;
mod unprivileged;

use super::{Code, Error, Global};
use crate::print;
use casemate_engine::launch;
use casemate_image::registry::{Connection, ImageRequest, RegistryAccess};
use casemate_image::transfer::pull::{inspect, resolve_tag};
use casemate_wire::Digest;
use file::{Pins, Target};
use rustix::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

const LOCK_EXAMPLE: &str =
    "Example:\n  casemate lock casemate.toml\n  casemate lock casemate.toml db=docker.io/library/postgres:18";
const UPDATE_EXAMPLE: &str = "Example:\n  casemate update casemate.toml\n  casemate update casemate.toml db --write";

/// Resolve the tags of a file and write the digests into it
///
/// Adds to each image without a digest the current digest of its tag at its registry; the tag stays for readers. Images with a digest
/// stay as they are, except those given as NAME=REF. Comments and layout stay.
#[derive(Debug, clap::Args)]
#[command(after_help = LOCK_EXAMPLE)]
pub struct Lock {
    /// The file
    file: PathBuf,
    /// Change the image of this container
    #[arg(value_name = "NAME=REF")]
    images: Vec<String>,
}

/// Show which tags of a file have a newer digest, and what changed in the image
///
/// Resolves each tag. If the digest differs, shows both, and the changes of the user, the entrypoint, the environment, the ports and the
/// layers. The file is changed only with --write.
#[derive(Debug, clap::Args)]
#[command(after_help = UPDATE_EXAMPLE)]
pub struct Update {
    /// The file
    file: PathBuf,
    /// Only these containers
    names: Vec<String>,
    /// Write the new digests into the file
    #[arg(long)]
    write: bool,
}

impl Lock {
    pub(super) fn run(&self, global: &Global) -> Result<ExitCode, Error> {
        let pins = Pins::read(&self.file)?;
        let mut given = Vec::new();
        for text in &self.images {
            let (name, image) = text.split_once('=').ok_or_else(|| {
                Error::new(Code::Usage, text, "read an image", "it is not NAME=REF, a container and its image")
            })?;
            given.push(Target::new(pins.image_of(name)?.clone(), image)?);
        }
        let mut targets: Vec<Target> = Vec::new();
        for at in pins.images.iter().filter(|at| !at.image.contains('@')) {
            if !given.iter().any(|target| target.at == *at) {
                targets.push(Target::new(at.clone(), &at.image)?);
            }
        }
        targets.extend(given);
        if targets.is_empty() {
            pins.checked(&[])?;
            print::text(&format!("{}: every image has a digest\n", self.file.display()))?;
            return Ok(ExitCode::SUCCESS);
        }
        let (access, connections) = access(global, &pins, &targets)?;
        let found = unprivileged::digests(targets.len(), || {
            let mut connection = open(connections, &access)?;
            targets.iter().map(|target| lock(&mut connection, &access, target)).collect()
        })?;
        match found {
            Ok(digests) => pins.write(&targets, &digests).map(|()| ExitCode::SUCCESS),
            Err(code) => Ok(code.into()),
        }
    }
}

/// Resolves and prints the digest of one target. A digest that was given is taken as it is.
fn lock(connection: &mut Connection, access: &RegistryAccess, target: &Target) -> Result<Digest, Error> {
    let digest = match &target.pin.tag {
        Some(tag) if !target.pinned => resolve_tag(connection, &request(access, target)?, tag)?,
        _ => target.pin.digest,
    };
    print::text(&format!("{}: {}\n", target.at.container, target.with(digest)))?;
    Ok(digest)
}

impl Update {
    pub(super) fn run(&self, global: &Global) -> Result<ExitCode, Error> {
        let pins = Pins::read(&self.file)?;
        self.names.iter().try_for_each(|name| pins.image_of(name).map(drop))?;
        let mut targets = Vec::new();
        for at in pins.images.iter().filter(|at| self.names.is_empty() || self.names.contains(&at.container)) {
            let target = Target::new(at.clone(), &at.image)?;
            if !target.pinned {
                return Err(Error::new(
                    Code::Usage,
                    format!("container `{}`", at.container),
                    "update",
                    "its image has no digest",
                )
                .remedy("`casemate lock FILE` adds it"));
            }
            if target.pin.tag.is_some() {
                targets.push(target);
            } else {
                print::note(&format!("{}: its image has no tag, so no newer digest can be found", at.container));
            }
        }
        if targets.is_empty() {
            pins.checked(&[])?;
            return Ok(ExitCode::SUCCESS);
        }
        let (access, connections) = access(global, &pins, &targets)?;
        let found = unprivileged::digests(targets.len(), || {
            let mut connection = open(connections, &access)?;
            targets.iter().map(|target| compare(&mut connection, &access, target)).collect()
        })?;
        match found {
            Ok(digests)
                if self.write && targets.iter().zip(&digests).any(|(target, new)| target.pin.digest != *new) =>
            {
                pins.write(&targets, &digests)?;
                print::text(&format!("{}: written\n", self.file.display()))?;
                Ok(ExitCode::SUCCESS)
            }
            Ok(_) => Ok(ExitCode::SUCCESS),
            Err(code) => Ok(code.into()),
        }
    }
}

/// Resolves the tag of one target and prints the differences.
fn compare(connection: &mut Connection, access: &RegistryAccess, target: &Target) -> Result<Digest, Error> {
    let old = request(access, target)?;
    let tag = target.pin.tag.as_deref().unwrap_or_default();
    let digest = resolve_tag(connection, &old, tag)?;
    let name = format!("{}: {}:{tag}", target.at.container, old.repository_name());
    if digest == target.pin.digest {
        print::text(&format!("{name}: up to date\n"))?;
        return Ok(digest);
    }
    let new = ImageRequest { pin: target.with(digest), ..old.clone() };
    // An image that cannot be read cannot run here either, so it is no update.
    let after = inspect(connection, &new)?;
    let shown = match inspect(connection, &old) {
        Ok(before) => difference::lines(&before, &after),
        Err(error) => format!("  the old image cannot be compared: {error}\n"),
    };
    print::text(&format!("{name}\n  digest       {} -> {digest}\n{shown}", target.pin.digest))?;
    Ok(digest)
}

fn request(access: &RegistryAccess, target: &Target) -> Result<ImageRequest, Error> {
    access.request(&target.pin).ok_or_else(|| {
        Error::new(Code::Failed, &target.pin.registry, "find its servers", "no image of the file is from this registry")
    })
}

/// The registry access of the file with these images in it, and a connection to casemate-fetch.
fn access(global: &Global, pins: &Pins, targets: &[Target]) -> Result<(RegistryAccess, Vec<OwnedFd>), Error> {
    let spec = pins.checked(targets)?;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let access = RegistryAccess::for_file(&spec, credentials.as_deref())?;
    Ok((access, launch::fetch::connect(&global.directories()?, 1)?))
}

fn open(connections: Vec<OwnedFd>, access: &RegistryAccess) -> Result<Connection, Error> {
    let missing = || Error::new(Code::Failed, "casemate-fetch", "connect", "there is no connection");
    let connection = connections.into_iter().next().ok_or_else(missing)?;
    Ok(Connection::open(connection, &access.config)?)
}
