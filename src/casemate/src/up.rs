//! `casemate up`: the story of one start, from the file to the last container's end.

use super::file::{Faulty, File};
use super::orders::{self, Ground};
use super::{Code, Error, Global, collect, host_log, look_into, preloaded, reload};
use casemate_client::Client;
use casemate_engine::control::Server;
use casemate_engine::launch::{self, Directories, Role};
use casemate_engine::logs::{Host, Kind, own};
use casemate_engine::notify::Notifier;
use casemate_engine::plan::Machine;
use casemate_engine::supervise::{Attendance, Ending, Order, Report, Show, Stay, Supervisor, revisions};
use casemate_image::Using;
use casemate_sys::signal;
use rustix::fd::{AsFd, OwnedFd};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLE: &str = "Example:\n  casemate image import app.tar\n  casemate up casemate.toml\n\n\
    Ctrl-C stops the containers in reverse order, a second Ctrl-C kills them. After `kill -9` of this process the containers \
    run on; the same command takes them over again.";

/// Start the containers of a file, and stay with them
///
/// Every line of output is shown behind the name of its container. Ends when every container has ended for good: 0 if all
/// ended well, else 1.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Up {
    /// The file
    file: PathBuf,
}

impl Up {
    pub(super) fn run(&self, global: &Global) -> Result<ExitCode, Error> {
        attend(&self.file, global.directories()?, Stay::WithContainers)
    }
}

/// The story: read, enter, connect, confine, plan, supervise, leave.
pub(super) fn attend(file: &Path, mut directories: Directories, stay: Stay) -> Result<ExitCode, Error> {
    let read = match stay {
        Stay::ToStop => File::applied(file, &directories.state)?,
        Stay::WithContainers | Stay::AsService => Some(File::read(file, Some(&directories.state))?),
    };
    let Some(file) = read else { return Ok(ExitCode::SUCCESS) };
    let file = file.map_err(Faulty::tell)?;
    file.tell();
    let machine = Machine::read();
    let outside = orders::outside(&file, &machine).map_err(|errors| orders::tell(&file, errors));
    let outside = unless_it_ends(stay, outside)?;
    if stay != Stay::ToStop {
        directories.preload = Some(preloaded(&file.spec.store));
    }
    // The file is read: what it came through is of no more use.
    launch::close_inherited(&[])?;
    let notifier = notifier(stay)?;
    own::open(unless_it_ends(stay, host_log::own(&file.spec))?, stay == Stay::WithContainers);
    let hosts = unless_it_ends(stay, host_log::connect(&file.spec, |_| false))?;
    let terms = Terms { stay, notifier: notifier.clone(), hosts };
    let mut session = launch::enter(directories, role(stay))?;
    if stay == Stay::ToStop {
        look_into(&mut session, &file.spec.store);
    }
    let signals = signal::descriptor(&[signal::INT, signal::TERM, signal::HUP])
        .map_err(|error| Error::new(Code::Failed, "manager", "take signals", error))?;
    let (mut client, facts) = session.connect(true)?;
    match (stay, std::path::absolute(&file.path).ok().as_deref().and_then(Path::parent)) {
        (Stay::AsService, Some(directory)) => session.confine_beside(directory)?,
        _ => session.confine()?,
    }
    client.interrupt_on(&signals)?;
    client.keep_alive(notifier.keepalive());
    let ground = Ground { machine: &machine, facts: &facts, session: &session };
    let orders = match stay {
        // What cannot be planned any more ends without an order of its own.
        Stay::ToStop => {
            Ok((orders::planned(&file, &outside, &ground).map(|(orders, _)| orders).unwrap_or_default(), None))
        }
        Stay::WithContainers | Stay::AsService => {
            let ready = orders::ready(&file, &outside, &mut client, &ground);
            ready.map(|(orders, using)| (orders, Some(using))).map_err(|errors| orders::tell(&file, errors))
        }
    };
    client.interrupt_never();
    match orders.and_then(|orders| supervise(&file, orders, client, &ground, &signals, terms)) {
        Ok((client, server, ending)) => {
            let left = session.leave(client);
            // Whoever asked for the end learns of it when nothing is left.
            server.finish();
            left?;
            Ok(match (ending, stay) {
                (Ending::Bad(code), Stay::WithContainers) => code.into(),
                // A service that was told to end has done so, whatever had become of its containers before.
                _ => ExitCode::SUCCESS,
            })
        }
        Err(error) => {
            // What an earlier manager left running goes on running; the helper refuses to quit then.
            if session.has_launched()
                && let Ok((client, _)) = session.connect(false)
                && let Err(left) = session.leave(client)
            {
                log::error!("{left}");
            }
            Err(error)
        }
    }
}

/// How to supervise, and what was opened for it before this process shut itself in.
struct Terms {
    stay: Stay,
    notifier: Notifier,
    hosts: BTreeMap<Kind, Host>,
}

/// What keeps containers from being started keeps nobody from ending them: it is told, and done without.
fn unless_it_ends<T: Default>(stay: Stay, outcome: Result<T, Error>) -> Result<T, Error> {
    match (outcome, stay) {
        (Err(error), Stay::ToStop) => {
            let _ = writeln!(std::io::stderr(), "casemate: {error}");
            Ok(T::default())
        }
        (outcome, _) => outcome,
    }
}

/// Only a service has somebody to tell.
fn notifier(stay: Stay) -> Result<Notifier, Error> {
    match stay {
        Stay::WithContainers => Ok(Notifier::default()),
        Stay::AsService | Stay::ToStop => {
            Notifier::of_environment().map_err(|errno| Error::new(Code::Failed, "NOTIFY_SOCKET", "connect", errno))
        }
    }
}

fn role(stay: Stay) -> Role {
    match stay {
        Stay::WithContainers => Role::Supervisor,
        Stay::AsService | Stay::ToStop => Role::Service,
    }
}

fn supervise(
    file: &File,
    (orders, using): (Vec<Order>, Option<Using>),
    client: Client,
    ground: &Ground<'_>,
    signals: &OwnedFd,
    Terms { stay, notifier, hosts }: Terms,
) -> Result<(Client, Server, Ending), Error> {
    let directories = &ground.session.directories;
    let failed = |object: &Path, step| {
        let object = object.display().to_string();
        move |error: std::io::Error| Error::new(Code::Failed, object, step, error)
    };
    if stay != Stay::ToStop {
        revisions::apply(&directories.state, &file.text, file.spec.store.keep)
            .map_err(failed(&directories.state.join("revisions"), "keep the file"))?;
    }
    // From here on the applied file keeps its images.
    drop(using);
    let journals = directories.run.join("journals");
    match std::fs::DirBuilder::new().mode(0o700).create(&journals) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(failed(&journals, "make the directory")(error));
        }
        _ => {}
    }
    let socket = directories.control_socket();
    let server = Server::listen(ground.session.run_directory().as_fd(), &socket)
        .map_err(|errno| failed(&socket, "listen")(errno.into()))?;
    // Five descriptors a container.
    casemate_sys::resource::raise_descriptor_limit()
        .map_err(|error| Error::new(Code::Failed, "manager", "raise its descriptor limit", error))?;
    let names: Vec<_> = orders.iter().map(|order| &order.job.name).collect();
    let show = Show::new(&names).map_err(failed(Path::new("standard output"), "copy"))?;
    // A service's standard output is the journal of the service, and the containers have logs of their own.
    let mut show = if stay == Stay::WithContainers { show } else { show.notes_only() };
    show.connect(hosts);
    let supervisor = Supervisor::new(client, directories.clone(), orders, show)?;
    let mut attendance = Attendance::new(supervisor, server, Report::new(notifier));
    let mut collection: Option<collect::Collection> = None;
    loop {
        match attendance.run(signals, stay)? {
            Ending::Up if collection.as_ref().is_some_and(|collection| !collection.is_over()) => {}
            Ending::Up => collection = collect::start(&mut attendance, ground),
            Ending::Reload => reload::reload(&mut attendance, &file.path, ground)?,
            ending => {
                // A service is not kept from ending: what is left is for the next one.
                match collection.filter(|_| stay == Stay::WithContainers) {
                    Some(collection) if attendance.is_closing() => collection.end(),
                    Some(collection) => collection.finish(signals),
                    None => {}
                }
                let (client, server) = attendance.finish();
                return Ok((client, server, ending));
            }
        }
    }
}
