//! From a file without errors to configs for the event loop: every container planned, every layer there, before anything is started or
//! stopped. All that is wrong comes back at once. Runs in a thread beside the loop.

use crate::background::Interrupt;
use crate::file::SpecFile;
use crate::launch::Session;
use crate::logs::{Bounds, Forwarder, HostLog, connect, connect_own, origins, own_host_log};
use crate::plan::{self, ContainerFacts, HostFacts};
use crate::revisions;
use crate::state::ContainerConfig;
use casemate_client::Client;
use casemate_error::{Code, Error};
use casemate_image::store::{Progress, layers};
use casemate_image::{self as image, Image, Limits, Store};
use casemate_spec::{self as spec, StorePolicy, Verify};
use casemate_sys::signal;
use casemate_wire::{Digest, Facts};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// What every file of this instance is prepared with.
pub struct Context {
    /// The instance.
    pub session: Session,
    /// What this host has.
    pub host: HostFacts,
    /// What the helper can do.
    pub facts: Facts,
    /// Shows how far unpacking is.
    pub progress: fn() -> Box<dyn Progress>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Context {
    /// The store, with the read-only stores that the file names.
    pub fn store(&self) -> Result<Store, image::Error> {
        let directories = &self.session.directories;
        Store::open_with(&directories.state, directories.preloaded())
    }

    /// A connection to the helper for work beside the loop.
    pub fn connect(&self, interrupt: &Interrupt) -> Result<Client, Error> {
        let mut client = self.session.connect(false)?;
        client.interrupt_on(interrupt)?;
        Ok(client)
    }
}

/// A file that can be applied; its revision is kept already.
#[derive(Debug)]
pub struct Prepared {
    /// Its path.
    pub file: PathBuf,
    /// The digest of its text.
    pub revision: Digest,
    /// Its containers, in its order.
    pub configs: Vec<ContainerConfig>,
    /// Logs of the host that were not connected before.
    pub forwarders: BTreeMap<HostLog, Forwarder>,
    /// Where the manager's own log goes from now on; `None`: where it goes already.
    pub own_log: Option<Option<Forwarder>>,
}

/// What each container of a file needs of the host, read with the caller's own rights.
pub fn container_facts(file: &SpecFile, host: &HostFacts) -> Result<Vec<ContainerFacts>, Vec<Error>> {
    let read = |container| ContainerFacts::read(container, file.directory(), host).map_err(Error::from);
    all(file.spec.containers.iter().map(read))
}

/// Prepares the file that a manager begins with.
pub fn first(
    context: &Context,
    file: &SpecFile,
    facts: &[ContainerFacts],
    interrupt: &Interrupt,
) -> Result<Prepared, Vec<Error>> {
    let configs = configs(context, file, facts, interrupt)?;
    let revision = revisions::revision(&file.text);
    Ok(Prepared { file: file.path.clone(), revision, configs, forwarders: BTreeMap::new(), own_log: None })
}

/// Reads the file again and prepares it. Nothing is changed but for layers and the revision, which are kept for it.
pub fn again(
    context: &Context,
    path: &Path,
    connected: &[HostLog],
    own_log: Option<HostLog>,
    interrupt: &Interrupt,
) -> Result<Prepared, Vec<Error>> {
    const RESTART: &str = "a reload reaches what lies in the directory of the file; for all else: \
        systemctl restart casemate.service";
    let out_of_reach = |error: Error| vec![error.remedy(RESTART)];
    let state = &context.session.directories.state;
    let file = SpecFile::read(path, Some(state)).map_err(out_of_reach)?;
    let file = file.map_err(|invalid| invalid.errors())?;
    file.notes().iter().for_each(|note| log::warn!("{note}"));
    if read_only_stores(&file.spec.store) != context.session.directories.preloaded() {
        let error = Error::new(Code::Failed, file.path.display(), "reload", "`store.preload` has changed");
        return Err(vec![error.remedy("a reload does not open other stores: systemctl restart casemate.service")]);
    }
    let facts = container_facts(&file, &context.host)?;
    let forwarders = connect(&file.spec, connected).map_err(out_of_reach)?;
    let own_log = match own_host_log(&file.spec) {
        log if log == own_log => None,
        _ => Some(connect_own(&file.spec).map_err(out_of_reach)?),
    };
    let configs = configs(context, &file, &facts, interrupt)?;
    let revision = revisions::revision(&file.text);
    Ok(Prepared { file: file.path, revision, configs, forwarders, own_log })
}

/// The paths of `store.preload`.
pub fn read_only_stores(policy: &StorePolicy) -> Vec<PathBuf> {
    policy.preload.iter().map(|path| PathBuf::from(path.as_str())).collect()
}

/// Every container planned, every layer unpacked, and the revision kept.
fn configs(
    context: &Context,
    file: &SpecFile,
    facts: &[ContainerFacts],
    interrupt: &Interrupt,
) -> Result<Vec<ContainerConfig>, Vec<Error>> {
    let state = &context.session.directories.state;
    let store = context.store().map_err(one)?;
    let mut client = context.connect(interrupt).map_err(one)?;
    // Until the revision is kept, this lock keeps its images; from then on the revision does.
    let waiting = || log::info!("waiting for a process that removes images");
    let references = layers::lock_references(&client, &store, waiting).map_err(one)?;
    let (configs, mut images) = planned(context, &store, file, facts)?;
    images.sort_by_key(|image| image.manifest);
    images.dedup_by_key(|image| image.manifest);
    for image in images {
        let failed = |error: image::Error| one(error.about_image(image.names.first().map(String::as_str)));
        let mut progress = (context.progress)();
        layers::unpack_missing(&mut client, &store, &image, &Limits::default(), progress.as_mut()).map_err(failed)?;
    }
    let kept = revisions::apply(state, &file.text, file.spec.store.keep);
    drop(references);
    let failed = |error| Error::new(Code::Failed, state.join("revisions").display(), "keep the file", error);
    kept.map_err(|error| one(failed(error)))?;
    Ok(configs)
}

/// What is to run, and the images that it runs from.
fn planned(
    context: &Context,
    store: &Store,
    file: &SpecFile,
    facts: &[ContainerFacts],
) -> Result<(Vec<ContainerConfig>, Vec<Image>), Vec<Error>> {
    let mut origins = origins(&file.spec, &revisions::revision(&file.text));
    let mut resolved: BTreeMap<Digest, Image> = BTreeMap::new();
    let planned = file.spec.containers.iter().zip(facts).map(|(container, facts)| {
        let name = container.image.to_string();
        let unresolved = |error: image::Error| {
            error.about_image(Some(&name)).about(format_args!("container `{}`: {name}", container.name))
        };
        let pin = container.image.digest;
        let image = match resolved.get(&pin) {
            Some(image) => image.clone(),
            None => store.resolve(&pin).map_err(unresolved)?,
        };
        resolved.insert(pin, image.clone());
        let job = plan::job(&file.spec, container, &image, &context.facts, facts)?;
        let image_signal = image.config.stop_signal.as_deref().and_then(spec::signal);
        let config = ContainerConfig {
            job,
            prove_layers: file.spec.store.verify == Verify::Start,
            restart: container.restart,
            stop_signal: container.stop_signal.or(image_signal).unwrap_or(signal::TERM),
            stop_grace_period: container.stop_grace_period,
            log_bounds: Bounds { size: container.logging.max_size.bytes(), count: container.logging.max_file.into() },
            host_log: origins.remove(&container.name),
            image: name,
        };
        Ok((config, image))
    });
    Ok(all(planned)?.into_iter().unzip())
}

fn one(error: impl Into<Error>) -> Vec<Error> {
    vec![error.into()]
}

/// The values if there is no error.
fn all<T>(outcomes: impl Iterator<Item = Result<T, Error>>) -> Result<Vec<T>, Vec<Error>> {
    let mut values = Vec::new();
    let mut errors = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(value) => values.push(value),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(errors) }
}
