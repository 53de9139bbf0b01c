//! `casemate bundle save`.

use super::output::written_by;
use crate::file;
use crate::image::opened;
use crate::progress::{self, waiting_for_removal};
use crate::{Code, Error, Global};
use casemate_engine::file::SpecFile;
use casemate_engine::launch::{self, Role};
use casemate_engine::plan;
use casemate_image::transfer::bundle::{self, Contents};
use casemate_spec::Seccomp;
use std::ffi::OsStr;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLE: &str = "Example:\n  casemate bundle save casemate.toml -o pump-station.tar";

/// Write a file and all its images to one archive
///
/// Every image of the file must be in the store. Digests do not change; the same file and images give the same archive.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Save {
    /// The file
    file: PathBuf,
    /// The archive, which must not exist; - for standard output
    #[arg(short, long, value_name = "ARCHIVE")]
    output: PathBuf,
}

impl Save {
    pub(super) fn run(&self, global: &Global) -> Result<ExitCode, Error> {
        if self.output != Path::new("-") {
            let words = ["bundle", "save", "--output", "-", "--"].map(OsStr::new);
            return written_by(&self.output, &[&words, &[self.file.as_os_str()][..]].concat(), global);
        }
        let file = file::read(&self.file, None)?;
        let contents = self.contents(&file)?;
        let session = launch::enter(global.directories_with_stores(&file.spec.store)?, Role::Store)?;
        session.confine()?;
        let store = opened(&session)?;
        let _references = store.lock_references(waiting_for_removal)?;
        let out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
        bundle::save(&store, &contents, out, progress::progress().as_mut())?;
        Ok(ExitCode::SUCCESS)
    }

    fn contents<'a>(&self, file: &'a SpecFile) -> Result<Contents<'a>, Error> {
        let directory = self.file.parent().unwrap_or(Path::new("."));
        let mut contents = Contents { file: &file.text, profiles: Vec::new(), images: Vec::new() };
        for container in &file.spec.containers {
            let image = container.image.to_string();
            let name = image.split('@').next().unwrap_or_default().to_owned();
            contents.images.push((container.image.digest, name));
            let Seccomp::File { profile, .. } = &container.security.seccomp else { continue };
            if !bundle::includes(profile) {
                let reason = format!("its seccomp profile {profile} is not below the directory of the file");
                return Err(Error::new(Code::Spec, format_args!("container `{}`", container.name), "bundle", reason)
                    .remedy("move the profile beside the file, and use a relative path"));
            }
            let read = plan::read_custom_profile(container, directory)?;
            contents.profiles.extend(read.map(|read| (profile.clone(), read)));
        }
        contents.profiles.sort();
        contents.profiles.dedup();
        Ok(contents)
    }
}
