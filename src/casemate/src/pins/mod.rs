//! `casemate lock` and `casemate update`: tags become digests in the file, and a digest that its tag has left behind is shown beside
//! the new one. Only digests are ever written, and only into the file that was named.

mod apart;
mod difference;
mod file;

use super::image::text;
use super::{Code, Error, Global};
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

/// Write digests into a file: resolve the tags of its images
///
/// An image without digest gets the one that its tag stands for at its registry now, and keeps the tag for people. Images that have a
/// digest stay as they are, but for those that are given. Comments and layout stay.
#[derive(Debug, clap::Args)]
#[command(after_help = LOCK_EXAMPLE)]
pub struct Lock {
    /// The file
    file: PathBuf,
    /// Give this container another image
    #[arg(value_name = "NAME=REF")]
    images: Vec<String>,
}

/// Show which images of a file have a newer digest, and what is different
///
/// Asks what each tag stands for now. Where that is another digest, shows both, and what has changed in the user, the entrypoint, the
/// environment, the ports and the layers. The file is changed only with --write.
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
            pins.judged(&[])?;
            text::print(&format!("{}: every image has its digest\n", self.file.display()))?;
            return Ok(ExitCode::SUCCESS);
        }
        let (access, connections) = access(global, &pins, &targets)?;
        let found = apart::digests(targets.len(), || {
            let mut connection = open(connections, &access)?;
            targets.iter().map(|target| locked(&mut connection, &access, target)).collect()
        })?;
        match found {
            Ok(digests) => pins.write(&targets, &digests).map(|()| ExitCode::SUCCESS),
            Err(code) => Ok(code.into()),
        }
    }
}

/// The digest of one target, said aloud. One that is given with its digest is believed to be meant.
fn locked(connection: &mut Connection, access: &RegistryAccess, target: &Target) -> Result<Digest, Error> {
    let digest = match &target.pin.tag {
        Some(tag) if !target.pinned => resolve_tag(connection, &request(access, target)?, tag)?,
        _ => target.pin.digest,
    };
    text::print(&format!("{}: {}\n", target.at.container, target.with(digest)))?;
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
                    "its image has no digest yet",
                )
                .remedy("casemate lock FILE gives it one"));
            }
            if target.pin.tag.is_some() {
                targets.push(target);
            } else {
                text::note(&format!("{}: its image has no tag, so there is nothing that could be newer", at.container));
            }
        }
        if targets.is_empty() {
            pins.judged(&[])?;
            return Ok(ExitCode::SUCCESS);
        }
        let (access, connections) = access(global, &pins, &targets)?;
        let found = apart::digests(targets.len(), || {
            let mut connection = open(connections, &access)?;
            targets.iter().map(|target| compared(&mut connection, &access, target)).collect()
        })?;
        match found {
            Ok(digests)
                if self.write && targets.iter().zip(&digests).any(|(target, new)| target.pin.digest != *new) =>
            {
                pins.write(&targets, &digests)?;
                text::print(&format!("{}: written\n", self.file.display()))?;
                Ok(ExitCode::SUCCESS)
            }
            Ok(_) => Ok(ExitCode::SUCCESS),
            Err(code) => Ok(code.into()),
        }
    }
}

/// The digest that a target's tag stands for now; says what is different.
fn compared(connection: &mut Connection, access: &RegistryAccess, target: &Target) -> Result<Digest, Error> {
    let old = request(access, target)?;
    let tag = target.pin.tag.as_deref().unwrap_or_default();
    let digest = resolve_tag(connection, &old, tag)?;
    let name = format!("{}: {}:{tag}", target.at.container, old.repository_name());
    if digest == target.pin.digest {
        text::print(&format!("{name}: up to date\n"))?;
        return Ok(digest);
    }
    let new = ImageRequest { pin: target.with(digest), ..old.clone() };
    // What cannot be looked at here cannot run here either, so it is no update.
    let after = inspect(connection, &new)?;
    let shown = match inspect(connection, &old) {
        Ok(before) => difference::lines(&before, &after),
        Err(error) => format!("  the old image cannot be compared: {error}\n"),
    };
    text::print(&format!("{name}\n  digest       {} -> {digest}\n{shown}", target.pin.digest))?;
    Ok(digest)
}

fn request(access: &RegistryAccess, target: &Target) -> Result<ImageRequest, Error> {
    access.request(&target.pin).ok_or_else(|| {
        Error::new(Code::Failed, &target.pin.registry, "find its servers", "no image of the file is there")
    })
}

/// The registry access of the file with these images in it, and a connection to casemate-fetch.
fn access(global: &Global, pins: &Pins, targets: &[Target]) -> Result<(RegistryAccess, Vec<OwnedFd>), Error> {
    let spec = pins.judged(targets)?;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let access = RegistryAccess::for_file(&spec, credentials.as_deref())?;
    Ok((access, launch::fetch::connect(&global.directories()?, 1)?))
}

fn open(connections: Vec<OwnedFd>, access: &RegistryAccess) -> Result<Connection, Error> {
    let missing = || Error::new(Code::Failed, "casemate-fetch", "connect", "there is no connection");
    let connection = connections.into_iter().next().ok_or_else(missing)?;
    Ok(Connection::open(connection, &access.config)?)
}
