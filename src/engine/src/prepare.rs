//! Prepares a file for the event loop, in a background thread: every container is planned and every layer unpacked before any container is
//! started or stopped. All errors are returned at once.

use crate::background::Interrupt;
use crate::file::SpecFile;
use crate::launch::Session;
use crate::logs::{Bounds, Forwarder, HostLog, connect_host_logs, connect_manager_log, host_log_of_manager, origins};
use crate::plan::{self, ContainerFacts, HostFacts};
use crate::revisions;
use crate::state::ContainerConfig;
use casemate_client::Client;
use casemate_error::{Code, Error};
use casemate_image::store::{Progress, layers};
use casemate_image::{self as image, Image, Limits, Store};
use casemate_spec::{self as spec, StorePolicy, Verify};
use casemate_sys::signal;
use casemate_wire::{Digest, Facts as HelperFacts};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The context of every file of this instance.
pub struct Context {
    /// The instance.
    pub session: Session,
    /// Facts of this host.
    pub host: HostFacts,
    /// The helper's facts.
    pub helper_facts: HelperFacts,
    /// Makes the progress display of an unpack.
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
        Store::open_with(&directories.state, directories.read_only_stores())
    }

    /// A connection to the helper for background work.
    pub fn connect(&self, interrupt: &Interrupt) -> Result<Client, Error> {
        let mut client = self.session.connect(false)?;
        client.interrupt_on(interrupt)?;
        Ok(client)
    }
}

/// A file that can be applied. Its revision is stored already.
#[derive(Debug)]
pub struct Prepared {
    /// Its path.
    pub file: PathBuf,
    /// The digest of its text.
    pub revision: Digest,
    /// Its containers, in file order.
    pub configs: Vec<ContainerConfig>,
    /// New connections to host logs.
    pub forwarders: BTreeMap<HostLog, Forwarder>,
    /// The new target of the manager's own log; `None`: unchanged.
    pub manager_log: Option<Option<Forwarder>>,
}

/// The host facts of each container, read with the caller's rights.
pub fn container_facts(file: &SpecFile, host: &HostFacts) -> Result<Vec<ContainerFacts>, Vec<Error>> {
    let read = |container| ContainerFacts::read(container, file.directory(), host).map_err(Error::from);
    all(file.spec.containers.iter().map(read))
}

/// Prepares the first file of a manager.
pub fn prepare_first(
    context: &Context,
    file: &SpecFile,
    facts: &[ContainerFacts],
    interrupt: &Interrupt,
) -> Result<Prepared, Vec<Error>> {
    let configs = unpack_and_store(context, file, facts, interrupt)?;
    let revision = revisions::revision(&file.text);
    Ok(Prepared { file: file.path.clone(), revision, configs, forwarders: BTreeMap::new(), manager_log: None })
}

/// Reads the file again and prepares it. Stores its layers and revision; changes nothing else.
pub fn prepare_reload(
    context: &Context,
    path: &Path,
    connected: &[HostLog],
    manager_log: Option<HostLog>,
    interrupt: &Interrupt,
) -> Result<Prepared, Vec<Error>> {
    const RESTART: &str = "a reload can only read below the directory of the file; for other changes: \
        systemctl restart casemate.service";
    let needs_restart = |error: Error| vec![error.remedy(RESTART)];
    let state = &context.session.directories.state;
    let file = SpecFile::read(path, Some(state)).map_err(needs_restart)?;
    let file = file.map_err(|invalid| invalid.errors())?;
    file.notes().iter().for_each(|note| log::warn!("{note}"));
    if read_only_stores(&file.spec.store) != context.session.directories.read_only_stores() {
        let error = Error::new(Code::Failed, file.path.display(), "reload", "`store.preload` has changed");
        return Err(vec![error.remedy("a reload cannot change it: systemctl restart casemate.service")]);
    }
    let facts = container_facts(&file, &context.host)?;
    let forwarders = connect_host_logs(&file.spec, connected).map_err(needs_restart)?;
    let manager_log = match host_log_of_manager(&file.spec) {
        log if log == manager_log => None,
        _ => Some(connect_manager_log(&file.spec).map_err(needs_restart)?),
    };
    let configs = unpack_and_store(context, &file, &facts, interrupt)?;
    let revision = revisions::revision(&file.text);
    Ok(Prepared { file: file.path, revision, configs, forwarders, manager_log })
}

/// The paths of `store.preload`.
pub fn read_only_stores(policy: &StorePolicy) -> Vec<PathBuf> {
    policy.preload.iter().map(|path| PathBuf::from(path.as_str())).collect()
}

/// Plans every container, unpacks missing layers, and stores the revision.
fn unpack_and_store(
    context: &Context,
    file: &SpecFile,
    facts: &[ContainerFacts],
    interrupt: &Interrupt,
) -> Result<Vec<ContainerConfig>, Vec<Error>> {
    let state = &context.session.directories.state;
    let store = context.store().map_err(one)?;
    let mut client = context.connect(interrupt).map_err(one)?;
    // This lock protects the images from `store gc` until the stored revision does.
    let waiting = || log::info!("waiting for a process that removes images");
    let references = layers::lock_references(&client, &store, waiting).map_err(one)?;
    let (configs, mut images) = plan_containers(context, &store, file, facts)?;
    images.sort_by_key(|image| image.manifest);
    images.dedup_by_key(|image| image.manifest);
    for image in images {
        let failed = |error: image::Error| one(error.about_image(image.names.first().map(String::as_str)));
        let mut progress = (context.progress)();
        layers::unpack_missing(&mut client, &store, &image, &Limits::default(), progress.as_mut()).map_err(failed)?;
    }
    let stored = revisions::apply(state, &file.text, file.spec.store.keep);
    drop(references);
    let failed = |error| Error::new(Code::Failed, state.join("revisions").display(), "store the revision", error);
    stored.map_err(|error| one(failed(error)))?;
    Ok(configs)
}

/// The config of every container, and their images.
fn plan_containers(
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
        let job = plan::job(&file.spec, container, &image, &context.helper_facts, facts)?;
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

/// All values, or all errors.
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
