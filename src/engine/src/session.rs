//! The life of a manager: read, enter, connect, confine, run, leave.

use crate::control::Server;
use crate::event_loop::{EventLoop, Known, Outcome, RunMode, Source, Start};
use crate::file::SpecFile;
use crate::launch::{self, Directories, Role, Session};
use crate::logs::{Bounds, Forwarding, connect, connect_own, manager_log, origins};
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

/// Runs a manager from its file to its end. Gives how it ended, or every error that kept it from starting.
pub fn run(
    file: SpecFile,
    mut directories: Directories,
    mode: RunMode,
    progress: fn() -> Box<dyn Progress>,
) -> Result<Outcome, Vec<Error>> {
    let host = HostFacts::read();
    let stores = read_only_stores(&file.spec.store);
    // The directory that `again` reads from is the one of this path, whatever becomes of the working directory.
    let path = std::path::absolute(&file.path).map_err(|error| failed(&file.path, "make absolute", error))?;
    let file = SpecFile { path, ..file };
    let facts = unless_stopping(mode, container_facts(&file, &host))?;
    if mode != RunMode::Stop {
        directories.preload = Some(stores.clone());
    }
    // The file is read: descriptors that it came through are of no more use.
    launch::close_inherited(&[]).map_err(one)?;
    let notifier = notifier(mode)?;
    let own_log = unless_stopping(mode, connect_own(&file.spec).map_err(one))?;
    manager_log::open(own_log, mode == RunMode::Foreground);
    let mut forwarding = Forwarding::default();
    forwarding.connect(unless_stopping(mode, connect(&file.spec, &[]).map_err(one))?);
    let mut session = launch::enter(directories, role(mode)).map_err(one)?;
    if mode == RunMode::Stop {
        for error in session.look_into(stores) {
            log::warn!("this read-only store is left out: {error}");
        }
    }
    let signals = signal::descriptor(&[signal::INT, signal::TERM, signal::HUP])
        .map_err(|error| one(Error::new(Code::Failed, "manager", "take signals", error)))?;
    let mut client = session.connect(true).map_err(one)?;
    // A helper of another version may not know the request; what it runs can be stopped all the same.
    let helper_facts = unless_stopping(mode, client.facts().map_err(one))?;
    match mode {
        RunMode::Service => session.confine_beside(file.directory()),
        RunMode::Foreground | RunMode::Stop => session.confine(),
    }
    .map_err(one)?;
    let context = Arc::new(Context { session, host, facts: helper_facts, progress });
    let (known_order, known) = known(&context);
    let reactor = Reactor::new().map_err(|errno| one(Error::new(Code::Failed, "manager", "epoll", errno)))?;
    let server = match listen(&context.session, &reactor) {
        Ok(server) => server,
        Err(errors) => return leave(context, Err(errors)),
    };
    let start = Start {
        mode,
        file: file.path.clone(),
        helper: client.into_parts(),
        server,
        reactor,
        signals,
        forwarding,
        notifier,
        known,
        known_order,
        context: Arc::clone(&context),
    };
    let outcome = EventLoop::new(start).map_err(one).and_then(|mut event_loop| {
        if mode != RunMode::Stop {
            event_loop.prepare_first(file, facts).map_err(one)?;
        }
        let outcome = event_loop.run().map_err(one);
        Ok((event_loop.finish(), outcome?))
    });
    leave(context, outcome)
}

/// What keeps containers from being started must not keep them from being stopped: it is logged, and done without.
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

/// The service manager, for a service.
fn notifier(mode: RunMode) -> Result<Notifier, Vec<Error>> {
    match mode {
        RunMode::Foreground => Ok(Notifier::default()),
        RunMode::Service | RunMode::Stop => {
            Notifier::of_environment().map_err(|errno| one(Error::new(Code::Failed, "NOTIFY_SOCKET", "connect", errno)))
        }
    }
}

fn role(mode: RunMode) -> Role {
    match mode {
        RunMode::Foreground => Role::Supervisor,
        RunMode::Service | RunMode::Stop => Role::Service,
    }
}

/// The control socket, and the directory for what output needs to survive this process.
fn listen(session: &Session, reactor: &Reactor<Source>) -> Result<Server<Source>, Vec<Error>> {
    let directories = &session.directories;
    let journals = directories.run.join("journals");
    match std::fs::DirBuilder::new().mode(0o700).create(&journals) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(failed(&journals, "make the directory", error));
        }
        _ => {}
    }
    // Five descriptors a container.
    casemate_sys::resource::raise_descriptor_limit()
        .map_err(|error| one(Error::new(Code::Failed, "manager", "raise its descriptor limit", error)))?;
    let socket = directories.control_socket();
    Server::listen(session.run_directory().as_fd(), &socket, reactor, Source::Listener)
        .map_err(|errno| failed(&socket, "listen", errno.into()))
}

/// What the file that was applied last says of its containers, and their order in it. Nothing where none was, or where it cannot be
/// read: then an earlier manager's containers are stopped with the defaults.
fn known(context: &Context) -> (Vec<Name>, BTreeMap<Name, Known>) {
    let state = &context.session.directories.state;
    let applied = SpecFile::applied(&state.join("revisions/current"), state);
    let Ok(Some(Ok(file))) = applied else { return Default::default() };
    let store = context.store().ok();
    let mut signals = BTreeMap::new();
    let mut stop_signal = |container: &ContainerSpec| {
        let pin = container.image.digest;
        let of_image = signals.entry(pin).or_insert_with(|| image_stop_signal(store.as_ref()?, &pin));
        container.stop_signal.or(*of_image).unwrap_or(signal::TERM)
    };
    let mut origins = origins(&file.spec, &revisions::revision(&file.text));
    let known = file.spec.containers.iter().map(|container| {
        let run = RunConfig {
            stop_signal: stop_signal(container),
            stop_grace_period: container.stop_grace_period,
            resources: Some(resources(container)),
        };
        let bounds = Bounds { size: container.logging.max_size.bytes(), count: container.logging.max_file.into() };
        (container.name.clone(), Known { run, bounds, host_log: origins.remove(&container.name) })
    });
    let known = known.collect();
    let order = file.spec.containers.into_iter().map(|container| container.name).collect();
    (order, known)
}

fn image_stop_signal(store: &Store, pin: &Digest) -> Option<u8> {
    let image: Image = store.resolve(pin).ok()?;
    casemate_spec::signal(image.config.stop_signal.as_deref()?)
}

/// What a run of this container holds, as [`crate::state::ContainerConfig::resources`] has it of a job.
fn resources(container: &ContainerSpec) -> Vec<Resource> {
    let mounts = container.mounts.iter().filter_map(|mount| match mount {
        Mount::Tmpfs { .. } => None,
        Mount::Volume { source, .. } => Some(Resource::Volume(source.clone())),
        Mount::Bind { source, .. } => Some(Resource::Bind(source.as_str().to_owned())),
    });
    std::iter::once(Resource::User(container.user.uid.get())).chain(mounts).collect()
}

/// The end: the last process that leaves ends the helper, unless a container runs; then whoever asked for the end learns of it.
fn leave(context: Arc<Context>, outcome: Result<(Server<Source>, Outcome), Vec<Error>>) -> Result<Outcome, Vec<Error>> {
    // The threads that had it have ended.
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
