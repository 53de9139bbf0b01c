//! `casemate bundle load`.

use super::output::written_by;
use crate::file;
use crate::image::{LimitFlags, Work, import, unpacker};
use crate::print;
use crate::progress::{self, waiting_for_store};
use crate::{Error, Global};
use casemate_engine::file::SpecFile;
use casemate_image::layout::{Input, Opened};
use casemate_image::store::Record;
use casemate_image::transfer::bundle;
use casemate_image::transfer::import::Selection;
use casemate_spec::{MAX_FILE, Seccomp};
use casemate_wire::Digest;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLE: &str = "Example:\n  casemate bundle load pump-station.tar -o casemate.toml";

/// Import all images of a bundle, and extract its file
///
/// Checks the file; every image that it pins must be in the bundle. All of them are imported, or none. The digests of its seccomp
/// profiles are verified too; `tar -xf ARCHIVE casemate` extracts the file with its profiles.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Load {
    /// The archive, or the directory of an OCI layout
    archive: PathBuf,
    /// Write the file to this path, which must not exist; - for standard output, with the pins on standard error
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitFlags,
}

impl Load {
    pub(super) fn run(&self, global: &Global) -> Result<ExitCode, Error> {
        let to_stdout = self.output.as_deref() == Some(Path::new("-"));
        if let (Some(output), false) = (&self.output, to_stdout) {
            let mut words: Vec<&OsStr> = ["bundle", "load", "--output", "-"].map(OsStr::new).to_vec();
            let limits = self.limits.arguments();
            words.extend(limits.iter().map(OsStr::new));
            words.extend([OsStr::new("--"), self.archive.as_os_str()]);
            return written_by(output, &words, global);
        }
        let opened = Opened::open(&self.archive)?;
        let unpacker = unpacker()?;
        let mut work = Work::enter(global)?;
        let loaded = self.load(&mut work, opened, &unpacker);
        let (file, records) = work.leave(loaded)?;
        file::print_warnings(&file);
        if to_stdout {
            import::references(&records).for_each(|line| print::note(&line));
            print::text(&file.text)?;
        } else {
            import::print_imported(&records, false)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn load(&self, work: &mut Work, opened: Opened, unpacker: &Path) -> Result<(SpecFile, Vec<Record>), Error> {
        let input = opened.index(unpacker)?;
        work.confine()?;
        let file = checked_file(&input)?;
        let pins: Vec<Digest> = file.spec.containers.iter().map(|container| container.image.digest).collect();
        let writer = work.store.lock(waiting_for_store)?;
        let mut progress = progress::progress();
        let limits = self.limits.limits();
        let records = casemate_image::transfer::import::import(
            &mut work.client,
            &writer,
            &input,
            Selection::With(&pins),
            &limits,
            progress.as_mut(),
        )?;
        Ok((file, records))
    }
}

/// The checked file of a bundle; the digests of its profiles are verified.
fn checked_file(input: &Input) -> Result<SpecFile, Error> {
    let text = bundle::file(input, MAX_FILE)?;
    let file = SpecFile::of_text(Path::new("casemate.toml in the bundle"), &text);
    let file = file.map_err(|invalid| file::print_findings(&invalid))?;
    for container in &file.spec.containers {
        if let Seccomp::File { profile, sha256 } = &container.security.seccomp
            && bundle::includes(profile)
        {
            bundle::verify_profile(input, profile, sha256, MAX_FILE)?;
        }
    }
    Ok(file)
}
