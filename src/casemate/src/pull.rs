//! `casemate pull`: downloads the images of a file into the store, through casemate-fetch.

use super::file;
use super::image::{LimitFlags, Work};
use super::{Code, Error, Global};
use crate::print;
use crate::progress::waiting_for_store;
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

/// Paths of the file when none is given, in this order.
const PLACES: [&str; 2] = ["casemate.toml", "/etc/casemate/casemate.toml"];
const EXAMPLE: &str = "Example:\n  casemate pull casemate.toml && casemate up casemate.toml\n\n\
    Without FILE, it is ./casemate.toml, else /etc/casemate/casemate.toml. A pull continues the downloads of an interrupted one.";

/// Pull the images of a file
///
/// Pulls each image from its registry, or from a mirror in the file, for the platform of this host, and verifies every byte against the
/// digest in the file. Blobs in the store are not downloaded again. Nothing is started, and `up` needs no network afterwards.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Pull {
    /// The file
    file: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitFlags,
}

impl Pull {
    /// Reads the file and credentials, connects to casemate-fetch, enters the instance, confines this process, pulls, leaves.
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
            Error::new(Code::Usage, PLACES.join(" and "), "find the file", "neither exists").remedy("give FILE")
        })?;
        print::note(&format!("the file is {}", path.display()));
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
        let writer = pull::lock(&work.store, stop.as_fd(), waiting_for_store)?;
        let options = PullOptions {
            limits: self.limits.limits(),
            rate: policy.max_download_rate.map(ByteSize::bytes),
            stop: stop.as_fd(),
        };
        let progress = progress();
        Ok(pull::pull(&mut work.client, &writer, connections, &access.images, &options, progress.as_ref())?)
    }
}

/// Leaves the instance. After an interrupted request, the connection to the helper is replaced first.
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
            format!("{}: pulled, {} of {}\n", image.name, print::size(bytes), print::size(image.record.bytes()))
        }
        None => format!("{}: already in the store\n", image.name),
    };
    print::text(&pulled.iter().map(line).collect::<String>())
}

/// Progress bars on a terminal, else one line per finished blob.
fn progress() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() { Box::new(Bars::default()) } else { Box::new(Lines::default()) }
}

#[derive(Default)]
struct Lines(Mutex<BTreeMap<Digest, u64>>);

impl Progress for Lines {
    fn begin(&self, blob: &Digest, at: u64, size: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(*blob, size);
        if at > 0 {
            print::note(&format!(
                "{}: continuing at {} of {}",
                print::short_digest(blob),
                print::size(at),
                print::size(size)
            ));
        }
    }

    fn at(&self, _: &Digest, _: u64) {}

    fn end(&self, blob: &Digest, verified: bool) {
        let size = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(blob);
        if let Some(size) = size.filter(|_| verified) {
            print::note(&format!("{}: {}, verified", print::short_digest(blob), print::size(size)));
        }
    }

    fn layer(&self, image: &str, number: usize, of: usize) {
        print::note(&format!("{image}: unpacking layer {number} of {of}"));
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
        bar.set_message(print::short_digest(blob));
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
        // After an error, the bars would stay on the screen.
        let _ = self.all.clear();
    }
}
