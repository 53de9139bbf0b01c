//! `casemate pull`: what a file names comes into the store, through casemate-fetch.

use super::file;
use super::image::{LimitFlags, Work, text, waiting};
use super::{Code, Error, Global};
use casemate_engine::launch;
use casemate_image::registry::{Connection, RegistryAccess};
use casemate_image::transfer::pull::{self, Progress, PullOptions, Pulled};
use casemate_spec::{ByteSize, StorePolicy};
use casemate_sys::signal;
use casemate_wire::Digest;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rustix::fd::{AsFd, OwnedFd};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Where a file is looked for, in this order.
const PLACES: [&str; 2] = ["casemate.toml", "/etc/casemate/casemate.toml"];
const EXAMPLE: &str = "Example:\n  casemate pull casemate.toml && casemate up casemate.toml\n\n\
    Without FILE it is ./casemate.toml, else /etc/casemate/casemate.toml. What an interrupted pull has got, the next one does not \
    ask for again.";

/// Bring the images that a file names
///
/// Each comes from its registry, or from a mirror that the file gives for it, for this machine's platform, and every byte is proven
/// against the digest in the file. What is there already is not asked for. Nothing is started, and `up` needs no network afterwards.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Pull {
    /// The file
    file: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitFlags,
}

impl Pull {
    /// The steps: read the file, collect credentials, start casemate-fetch, enter, configure casemate-fetch, confine, pull, leave.
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let path = self.place()?;
        let file = file::read(&path, None)?;
        file::print_warnings(&file);
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let access = RegistryAccess::for_file(&file.spec, credentials.as_deref())?;
        launch::close_inherited(&[])?;
        let directories = global.directories()?;
        let connections = launch::fetch::connect(&directories, file.spec.store.max_concurrent_downloads)?;
        let mut work = Work::enter_with(global, &file.spec.store)?;
        let stop = signal::descriptor(&[signal::INT, signal::TERM, signal::HUP])
            .map_err(|error| Error::new(Code::Failed, "this process", "take signals", error))?;
        let pulled = self.pull(&mut work, connections, &access, &file.spec.store, &stop);
        print(&leave(work, pulled)?)
    }

    /// The file that was named, or the first of [`PLACES`].
    fn place(&self) -> Result<PathBuf, Error> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let found = PLACES.iter().map(PathBuf::from).find(|path| path.exists());
        let path = found.ok_or_else(|| {
            Error::new(Code::Usage, PLACES.join(" and "), "find a file", "neither is there").remedy("give FILE")
        })?;
        text::note(&format!("the file is {}", path.display()));
        Ok(path)
    }

    fn pull(
        &self,
        work: &mut Work,
        connections: Vec<OwnedFd>,
        access: &RegistryAccess,
        policy: &StorePolicy,
        stop: &OwnedFd,
    ) -> Result<Vec<Pulled>, Error> {
        let connections = connections.into_iter().map(|socket| Connection::open(socket, &access.config));
        let connections = connections.collect::<Result<Vec<_>, _>>()?;
        work.confine()?;
        work.client.interrupt_on(stop)?;
        let writer = pull::lock(&work.store, stop.as_fd(), waiting)?;
        let options = PullOptions {
            limits: self.limits.limits(),
            rate: policy.max_download_rate.map(ByteSize::bytes),
            stop: stop.as_fd(),
        };
        let progress = progress();
        Ok(pull::pull(&mut work.client, &writer, connections, &access.images, &options, progress.as_ref())?)
    }
}

/// Leaves; a connection that was interrupted in the middle of an answer is replaced for it.
fn leave(work: Work, pulled: Result<Vec<Pulled>, Error>) -> Result<Vec<Pulled>, Error> {
    let Work { session, client, store } = work;
    match pulled {
        Ok(pulled) => Work { session, client, store }.leave(Ok::<_, Error>(pulled)),
        Err(error) => {
            drop(client);
            match session.connect(false) {
                Ok(client) => Work { session, client, store }.leave(Err(error)),
                Err(_) => Err(error),
            }
        }
    }
}

fn print(pulled: &[Pulled]) -> Result<(), Error> {
    let line = |image: &Pulled| match image.received {
        Some(bytes) => {
            format!("{}: pulled, {} of {}\n", image.name, text::size(bytes), text::size(image.record.bytes()))
        }
        None => format!("{}: there already\n", image.name),
    };
    text::print(&pulled.iter().map(line).collect::<String>())
}

/// Bars on a terminal, a line for each end elsewhere.
fn progress() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() { Box::new(Bars::default()) } else { Box::new(Lines::default()) }
}

/// Enough of a digest to tell one from another.
fn short(digest: &Digest) -> String {
    digest.to_string().chars().take(19).collect()
}

#[derive(Default)]
struct Lines(Mutex<BTreeMap<Digest, u64>>);

impl Progress for Lines {
    fn begin(&self, blob: &Digest, at: u64, size: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(*blob, size);
        if at > 0 {
            text::note(&format!("{}: going on at {} of {}", short(blob), text::size(at), text::size(size)));
        }
    }

    fn at(&self, _: &Digest, _: u64) {}

    fn end(&self, blob: &Digest, verified: bool) {
        let size = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(blob);
        if let Some(size) = size.filter(|_| verified) {
            text::note(&format!("{}: {}, proven", short(blob), text::size(size)));
        }
    }

    fn layer(&self, image: &str, number: usize, of: usize) {
        text::note(&format!("{image}: unpacking layer {number} of {of}"));
    }
}

#[derive(Default)]
struct Bars {
    all: MultiProgress,
    bars: Mutex<BTreeMap<Digest, ProgressBar>>,
    unpacking: Mutex<Option<ProgressBar>>,
}

impl Bars {
    fn add(&self, template: &str, size: u64) -> ProgressBar {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.all.add(ProgressBar::new(size).with_style(style))
    }
}

impl Progress for Bars {
    fn begin(&self, blob: &Digest, at: u64, size: u64) {
        let bar = self.add("{msg:.dim} {bar:24} {bytes}/{total_bytes} {bytes_per_sec}", size);
        bar.set_message(short(blob));
        bar.set_position(at);
        bar.reset_eta();
        self.bars.lock().unwrap_or_else(PoisonError::into_inner).insert(*blob, bar);
    }

    fn at(&self, blob: &Digest, at: u64) {
        if let Some(bar) = self.bars.lock().unwrap_or_else(PoisonError::into_inner).get(blob) {
            bar.set_position(at);
        }
    }

    fn end(&self, blob: &Digest, _: bool) {
        if let Some(bar) = self.bars.lock().unwrap_or_else(PoisonError::into_inner).remove(blob) {
            bar.finish_and_clear();
        }
    }

    fn layer(&self, image: &str, number: usize, of: usize) {
        let mut shown = self.unpacking.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = shown.get_or_insert_with(|| self.add("{msg} {bar:24}", of as u64));
        bar.set_length(of as u64);
        bar.set_position(number.saturating_sub(1) as u64);
        bar.set_message(format!("{image}: unpacking layer {number} of {of}"));
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // Bars of a pull that failed would stay on the screen.
        let _ = self.all.clear();
    }
}
