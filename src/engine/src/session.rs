//! A manager from start to end: read the file and host facts, enter the instance, connect, confine, run the event loop, leave.

use crate::control::Server;
use crate::event_loop::{AppliedSettings, EventLoop, EventSource, LoopConfig, Outcome, RunMode};
use crate::file::SpecFile;
use crate::launch::{self, Directories, Role, Session};
use crate::logs::{Bounds, Forwarding, connect_host_logs, connect_manager_log, manager_log, origins};
use crate::notify::Notifier;
use crate::plan::HostFacts;
use crate::prepare::{Context, container_facts, read_only_stores};
use crate::reactor::Reactor;
use crate::revisions;
use crate::state::{Resource, RunConfig};
use casemate_error::{Code, Error};
use casemate_image::store::Progress;
use casemate_image::{Image, Store};
use casemate_spec::{ContainerSpec, Mount};
use casemate_sys::signal;
use casemate_wire::{Digest, Name};
use rustix::fd::AsFd;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

/// Runs a manager. Returns how the event loop ended, or every error that prevented the start.
pub fn run(
    file: SpecFile,
    mut directories: Directories,
    mode: RunMode,
    progress: fn() -> Box<dyn Progress>,
) -> Result<Outcome, Vec<Error>> {
    let host = HostFacts::read();
    let stores = read_only_stores(&file.spec.store);
    // Absolute, so that a reload reads the same file after a change of the working directory.
    let path = std::path::absolute(&file.path).map_err(|error| failed(&file.path, "make absolute", error))?;
    let file = SpecFile { path, ..file };
    let facts = unless_stopping(mode, container_facts(&file, &host))?;
    if mode != RunMode::Stop {
        directories.read_only_stores = Some(stores.clone());
    }
    // The file may have come through an inherited descriptor, as `/dev/fd/63`: it is read now.
    launch::close_inherited(&[]).map_err(one)?;
    let notifier = notifier(mode)?;
    let own_log = unless_stopping(mode, connect_manager_log(&file.spec).map_err(one))?;
    manager_log::open(own_log, mode == RunMode::Foreground);
    let mut forwarding = Forwarding::default();
    forwarding.connect(unless_stopping(mode, connect_host_logs(&file.spec, &[]).map_err(one))?);
    let mut session = launch::enter(directories, role(mode)).map_err(one)?;
    if mode == RunMode::Stop {
        for error in session.add_read_only_stores(stores) {
            log::warn!("read-only store left out: {error}");
        }
    }
    let signals = signal::descriptor(&[signal::INT, signal::TERM, signal::HUP])
        .map_err(|error| one(Error::new(Code::Failed, "manager", "take signals", error)))?;
    let mut client = session.connect(true).map_err(one)?;
    // A helper of another version may not know the request; its containers can be stopped all the same.
    let helper_facts = unless_stopping(mode, client.facts().map_err(one))?;
    match mode {
        RunMode::Service => session.confine_with_readable(file.directory()),
        RunMode::Foreground | RunMode::Stop => session.confine(),
    }
    .map_err(one)?;
    let context = Arc::new(Context { session, host, helper_facts, progress });
    let (applied_order, applied_settings) = last_applied(&context);
    let reactor = Reactor::new().map_err(|errno| one(Error::new(Code::Failed, "manager", "epoll", errno)))?;
    let server = match listen(&context.session, &reactor) {
        Ok(server) => server,
        Err(errors) => return leave(context, Err(errors)),
    };
    let config = LoopConfig {
        mode,
        file: file.path.clone(),
        helper: client.into_parts(),
        server,
        reactor,
        signals,
        forwarding,
        notifier,
        applied_settings,
        applied_order,
        context: Arc::clone(&context),
    };
    let outcome = EventLoop::new(config).map_err(one).and_then(|mut event_loop| {
        if mode != RunMode::Stop {
            event_loop.prepare_first(file, facts).map_err(one)?;
        }
        let outcome = event_loop.run().map_err(one);
        Ok((event_loop.finish(), outcome?))
    });
    leave(context, outcome)
}

/// When stopping, an error is printed and the default is used: it must not prevent the stop.
fn unless_stopping<T: Default>(mode: RunMode, outcome: Result<T, Vec<Error>>) -> Result<T, Vec<Error>> {
    match (outcome, mode) {
        (Err(errors), RunMode::Stop) => {
            for error in errors {
                // The log is not open yet.
                let _ = writeln!(std::io::stderr(), "casemate: {error}");
            }
            Ok(T::default())
        }
        (outcome, _) => outcome,
    }
}

/// The connection to the service manager, in a service.
fn notifier(mode: RunMode) -> Result<Notifier, Vec<Error>> {
    match mode {
        RunMode::Foreground => Ok(Notifier::default()),
        RunMode::Service | RunMode::Stop => Notifier::from_environment()
            .map_err(|errno| one(Error::new(Code::Failed, "NOTIFY_SOCKET", "connect", errno))),
    }
}

fn role(mode: RunMode) -> Role {
    match mode {
        RunMode::Foreground => Role::Supervisor,
        RunMode::Service | RunMode::Stop => Role::Service,
    }
}

/// Opens the control socket, and creates the directory of the pumps' journals.
fn listen(session: &Session, reactor: &Reactor<EventSource>) -> Result<Server<EventSource>, Vec<Error>> {
    let directories = &session.directories;
    let journals = directories.run.join("journals");
    match std::fs::DirBuilder::new().mode(0o700).create(&journals) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(failed(&journals, "create the directory", error));
        }
        _ => {}
    }
    // Five descriptors per container.
    casemate_sys::resource::raise_descriptor_limit()
        .map_err(|error| one(Error::new(Code::Failed, "manager", "raise its descriptor limit", error)))?;
    let socket = directories.control_socket();
    Server::listen(session.run_directory().as_fd(), &socket, reactor, EventSource::Listener)
        .map_err(|errno| failed(&socket, "listen", errno.into()))
}

/// The order and settings of the last applied file, for containers of an earlier manager. Empty if none was applied or it cannot be read:
/// these containers are then stopped with the defaults.
fn last_applied(context: &Context) -> (Vec<Name>, BTreeMap<Name, AppliedSettings>) {
    let state = &context.session.directories.state;
    let applied = SpecFile::applied(&state.join("revisions/current"), state);
    let Ok(Some(Ok(file))) = applied else { return Default::default() };
    let store = context.store().ok();
    let mut signals = BTreeMap::new();
    let mut stop_signal = |container: &ContainerSpec| {
        let pin = container.image.digest;
        let from_image = signals.entry(pin).or_insert_with(|| image_stop_signal(store.as_ref()?, &pin));
        container.stop_signal.or(*from_image).unwrap_or(signal::TERM)
    };
    let mut origins = origins(&file.spec, &revisions::revision(&file.text));
    let settings = file.spec.containers.iter().map(|container| {
        let run = RunConfig {
            stop_signal: stop_signal(container),
            stop_grace_period: container.stop_grace_period,
            resources: Some(resources(container)),
        };
        let bounds = Bounds { size: container.logging.max_size.bytes(), count: container.logging.max_file.into() };
        (container.name.clone(), AppliedSettings { run, bounds, host_log: origins.remove(&container.name) })
    });
    let settings = settings.collect();
    let order = file.spec.containers.into_iter().map(|container| container.name).collect();
    (order, settings)
}

fn image_stop_signal(store: &Store, pin: &Digest) -> Option<u8> {
    let image: Image = store.resolve(pin).ok()?;
    casemate_spec::signal(image.config.stop_signal.as_deref()?)
}

/// The resources that a run of this container holds, as [`crate::state::ContainerConfig::resources`] takes them from a job.
fn resources(container: &ContainerSpec) -> Vec<Resource> {
    let mounts = container.mounts.iter().filter_map(|mount| match mount {
        Mount::Tmpfs { .. } => None,
        Mount::Volume { source, .. } => Some(Resource::Volume(source.clone())),
        Mount::Bind { source, .. } => Some(Resource::Bind(source.as_str().to_owned())),
    });
    std::iter::once(Resource::User(container.user.uid.get())).chain(mounts).collect()
}

/// Leaves the instance, sends the last responses, and returns the outcome.
fn leave(
    context: Arc<Context>,
    outcome: Result<(Server<EventSource>, Outcome), Vec<Error>>,
) -> Result<Outcome, Vec<Error>> {
    // The background threads that shared it have ended.
    let left = Arc::into_inner(context).map_or(Ok(()), |context| context.session.leave());
    let (server, outcome) = outcome.inspect_err(|_| {
        if let Err(error) = &left {
            log::error!("{error}");
        }
    })?;
    server.finish();
    match outcome {
        Outcome::NotApplied(errors) => Ok(Outcome::NotApplied(errors)),
        outcome => left.map(|()| outcome).map_err(one),
    }
}

fn one(error: impl Into<Error>) -> Vec<Error> {
    vec![error.into()]
}

fn failed(path: &Path, step: &'static str, error: std::io::Error) -> Vec<Error> {
    one(Error::new(Code::Failed, path.display(), step, error))
}
