//! `casemate image pack`.

use super::{LimitFlags, Work, import};
use crate::print;
use crate::progress::{self, waiting_for_store};
use crate::{Code, Error, Global};
use casemate_image::documents::Platform;
use casemate_image::layout::Output;
use casemate_image::pack::{self, PackSource, Recipe};
use casemate_image::transfer::import::Selection;
use casemate_image::{ImageConfig, names, transfer};
use casemate_spec::NonRootUid;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:\n\
    \x20 casemate image pack --binary ./server --user 10001 --name server:1\n\
    \x20 casemate image pack rootfs/ --entrypoint /bin/app --output app.tar\n\
    \x20 casemate image pack --platform amd64=x86/server --platform arm64=arm/server --name server:1 --output server.tar";

/// Make an image from a directory or from one static binary, for one platform or for several
///
/// The same input gives the same digest on every machine: entries are sorted, times are 0 or SOURCE_DATE_EPOCH, owners are
/// root or --owner, extended attributes and set-id bits are left out. Without --output the image is imported into
/// the store. Needs only read access to the source.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Pack {
    /// The directory whose content becomes the image's root
    #[arg(value_name = "DIR", required_unless_present_any = ["binary", "platform"], conflicts_with = "binary")]
    directory: Option<PathBuf>,
    /// One static binary, the only file of the image and its entrypoint unless --entrypoint is given
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// A directory or static binary for this platform, in Go's terms; repeat it for an index of several platforms. Needs --output, since
    /// the store has images of its own platform only; `image push --from` pushes the result
    #[arg(
        long,
        value_name = "ARCH[/VARIANT]=SOURCE",
        conflicts_with_all = ["directory", "binary", "arch"],
        requires = "output"
    )]
    platform: Vec<String>,
    /// Write an OCI layout directory, or an archive if OUT ends with .tar, instead of importing the image
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Name of the image; without a registry it is localhost/NAME [default: the name of the source]
    #[arg(long)]
    name: Option<String>,
    /// One argument of the entrypoint; repeat for more
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    entrypoint: Vec<String>,
    /// One argument of the command; repeat for more
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    cmd: Vec<String>,
    /// The default user, numeric; `user` in the file is required all the same
    #[arg(long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// An environment variable; repeat for more
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The working directory, absolute
    #[arg(long, value_name = "PATH")]
    workdir: Option<String>,
    /// A label; repeat for more
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Owner of every file in the layer
    #[arg(long, value_name = "UID:GID", default_value = "0:0")]
    owner: String,
    /// Platform, in Go's terms: amd64, arm64, arm/v7, riscv64 [default: that of this host]
    #[arg(long, value_name = "ARCH[/VARIANT]")]
    arch: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    limits: LimitFlags,
}

#[derive(Serialize)]
struct Written {
    pin: String,
    reference: String,
    output: String,
}

impl Pack {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let recipe = self.recipe()?;
        let output = self.output.clone().map(Output::new);
        let packed = pack::pack(&recipe)?;
        for path in &packed.set_id {
            print::note(&format!("{}: its set-id bits are left out", path.display()));
        }
        let Some(output) = output else {
            let mut work = Work::enter(global)?;
            let imported = work.store.lock(waiting_for_store).and_then(|writer| {
                let mut progress = progress::progress();
                let limits = self.limits.limits();
                transfer::import::import(
                    &mut work.client,
                    &writer,
                    &packed.input,
                    Selection::All,
                    &limits,
                    progress.as_mut(),
                )
            });
            return import::print_imported(&work.leave(imported)?, self.json);
        };
        output.write(&packed.input, recipe.time)?;
        let reference = names::pinned(&recipe.name, &packed.pin);
        if !self.json {
            return print::text(&format!("{reference}\n"));
        }
        let (Output::Directory(path) | Output::Archive(path)) = &output;
        let output = path.display().to_string();
        print::json(&Written { pin: packed.pin.to_string(), reference, output })
    }

    fn recipe(&self) -> Result<Recipe, Error> {
        let builds = self.builds()?;
        let name = match (&self.name, builds.first()) {
            (Some(name), _) => names::parse(name)?,
            (None, Some((_, PackSource::Binary(path) | PackSource::Directory(path)))) => names::from_path(path),
            (None, None) => return Err(Error::new(Code::Usage, "image pack", "read the arguments", "no source")),
        };
        let defaults = ImageConfig {
            entrypoint: self.entrypoint.clone(),
            cmd: self.cmd.clone(),
            env: self.env.clone(),
            working_dir: self.workdir.clone(),
            user: self.user()?,
            labels: self.labels()?,
            ..ImageConfig::default()
        };
        Ok(Recipe { builds, name, defaults, owner: self.owner()?, time: time()? })
    }

    /// The source of each platform.
    fn builds(&self) -> Result<Vec<(Platform, PackSource)>, Error> {
        let binary = self.binary.clone().map(PackSource::Binary);
        if let Some(source) = binary.or_else(|| self.directory.clone().map(PackSource::Directory)) {
            let words = self.arch.as_deref();
            let platform = pack::platform(words).ok_or_else(|| not_a_platform("--arch", words.unwrap_or_default()))?;
            return Ok(vec![(platform, source)]);
        }
        let mut builds: Vec<(Platform, PackSource)> = Vec::new();
        for build in &self.platform {
            let parts = build.split_once('=').and_then(|(words, path)| Some((pack::platform(Some(words))?, path)));
            let (platform, path) = parts.ok_or_else(|| not_a_platform("--platform", build))?;
            if builds.iter().any(|(known, _)| *known == platform) {
                let reason = format!("{platform} is there twice");
                return Err(Error::new(Code::Usage, "--platform", "read", reason));
            }
            let path = PathBuf::from(path);
            let source = if path.is_dir() { PackSource::Directory(path) } else { PackSource::Binary(path) };
            builds.push((platform, source));
        }
        Ok(builds)
    }

    /// Accepts the ids that a file can have: casemate would refuse to run an image with others.
    fn user(&self) -> Result<Option<String>, Error> {
        let Some(user) = &self.user else { return Ok(None) };
        let number =
            |part: &str| part.parse().ok().filter(|id: &u32| id.to_string() == part && NonRootUid::new(*id).is_some());
        if user.split(':').count() <= 2 && user.split(':').all(|part| number(part).is_some()) {
            return Ok(Some(user.clone()));
        }
        let reason = format!("`{user}` is not UID or UID:GID, each 1 to 65534");
        Err(Error::new(Code::Usage, "--user", "read", reason))
    }

    fn labels(&self) -> Result<BTreeMap<String, String>, Error> {
        let pairs = self.label.iter().map(|label| match label.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(Error::new(Code::Usage, "--label", "read", format!("`{label}` is not KEY=VALUE"))),
        });
        pairs.collect()
    }

    fn owner(&self) -> Result<(u32, u32), Error> {
        let ids = self.owner.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
        // The ids of a layer are those of the outer user namespace (A): 0 and its range.
        ids.filter(|(uid, gid)| *uid < 65_536 && *gid < 65_536).ok_or_else(|| {
            let reason = format!("`{}` is not UID:GID, each 0 to 65535", self.owner);
            Error::new(Code::Usage, "--owner", "read", reason)
        })
    }
}

fn not_a_platform(flag: &str, given: &str) -> Error {
    let source = if flag == "--platform" { "=SOURCE" } else { "" };
    Error::new(Code::Usage, flag, "read", format!("`{given}` is not ARCH[/VARIANT]{source}, such as arm64{source}"))
}

/// <https://reproducible-builds.org/specs/source-date-epoch/>
fn time() -> Result<u64, Error> {
    let Some(value) = std::env::var_os("SOURCE_DATE_EPOCH") else { return Ok(0) };
    let seconds = value.to_str().and_then(|value| value.parse().ok());
    seconds
        .ok_or_else(|| Error::new(Code::Usage, "SOURCE_DATE_EPOCH", "read", "it is not a number of seconds since 1970"))
}
