//! `casemate up`: the story of one start, from the file to the last container's end.

use super::file::{Faulty, File};
use super::image::progress::progress;
use super::{Code, Error, Global, host_log};
use crate::control::Server;
use crate::helper_client::Client;
use crate::image::{Image, Limits, Store, unpack_missing};
use crate::launch::{self, Directories, Role, Session};
use crate::logs::{Bounds, Host, Kind};
use crate::notify::Notifier;
use crate::plan::{self, Outside};
use crate::spec::{self, ContainerSpec};
use crate::supervise::{self, Ending, Order, Report, Show, Stay, Supervisor, revisions};
use casemate_sys::signal;
use casemate_wire::Facts;
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
pub(super) fn attend(file: &Path, directories: Directories, stay: Stay) -> Result<ExitCode, Error> {
    let file = File::read(file, Some(&directories.state))?.map_err(Faulty::tell)?;
    file.tell();
    let outside = outside(&file)?;
    launch::close_inherited()?;
    let notifier = notifier(stay)?;
    let terms = Terms { stay, notifier: notifier.clone(), hosts: host_log::connect(&file.spec)? };
    let session = launch::enter(directories, role(stay))?;
    let signals = signal::descriptor(&[signal::INT, signal::TERM, signal::HUP])
        .map_err(|error| Error::new(Code::Failed, "manager", "take signals", error))?;
    let (mut client, facts) = session.connect(true)?;
    session.confine()?;
    client.interrupt_on(&signals)?;
    client.meanwhile(notifier);
    let orders = match stay {
        // Whatever the file has become: what runs is to end, and what it does not name ends without an order of its own.
        Stay::ToStop => Ok(planned(&file, &outside, &facts, &session).map(|(orders, _)| orders).unwrap_or_default()),
        Stay::WithContainers | Stay::AsService => orders(&file, &outside, &facts, &mut client, &session),
    };
    client.interrupt_never();
    match orders.and_then(|orders| supervise(&file, orders, client, &session, &signals, terms)) {
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
                let _ = writeln!(std::io::stderr(), "casemate: {left}");
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

/// What the plan needs of the host, read with the caller's rights.
fn outside(file: &File) -> Result<Vec<Outside>, Error> {
    let directory = file.path.parent().unwrap_or(Path::new("."));
    file.spec.containers.iter().map(|container| Outside::read(container, directory).map_err(Error::from)).collect()
}

/// Every container planned, every layer there, before anything is started or stopped.
fn orders(
    file: &File,
    outside: &[Outside],
    facts: &Facts,
    client: &mut Client,
    session: &Session,
) -> Result<Vec<Order>, Error> {
    let (orders, mut images) = planned(file, outside, facts, session)?;
    let store = Store::open(&session.directories.state)?;
    images.sort_by_key(|image| image.manifest);
    images.dedup_by_key(|image| image.manifest);
    for image in images {
        unpack_missing(client, &store, &image, &Limits::default(), progress().as_mut())?;
    }
    Ok(orders)
}

/// What is to be started, and from which images.
fn planned(
    file: &File,
    outside: &[Outside],
    facts: &Facts,
    session: &Session,
) -> Result<(Vec<Order>, Vec<Image>), Error> {
    let store = Store::open(&session.directories.state)?;
    let mut orders = Vec::new();
    let mut images = Vec::new();
    let mut errors = Vec::new();
    for (container, outside) in file.spec.containers.iter().zip(outside) {
        let unresolved =
            |error| Error::from(error).about(format_args!("container `{}`: {}", container.name, container.image));
        let planned = store.resolve(&container.image.digest).map_err(unresolved).and_then(|image| {
            let job = plan::job(&file.spec, container, &image, facts, outside)?;
            orders.push(order(container, job, image.config.stop_signal.as_deref()));
            images.push(image);
            Ok(())
        });
        errors.extend(planned.err());
    }
    if let Some(last) = errors.pop() {
        for error in errors {
            let _ = writeln!(std::io::stderr(), "casemate: {error}");
        }
        return Err(last);
    }
    Ok((orders, images))
}

fn order(container: &ContainerSpec, job: casemate_wire::Job, image_signal: Option<&str>) -> Order {
    let image_signal = image_signal.and_then(spec::signal);
    Order {
        job,
        restart: container.restart,
        stop_signal: container.stop_signal.or(image_signal).unwrap_or(signal::TERM),
        grace: container.stop_grace_period,
        bounds: Bounds { size: container.logging.max_size.bytes(), count: container.logging.max_file.into() },
        image: container.image.to_string(),
    }
}

fn supervise(
    file: &File,
    orders: Vec<Order>,
    client: Client,
    session: &Session,
    signals: &OwnedFd,
    Terms { stay, notifier, hosts }: Terms,
) -> Result<(Client, Server, Ending), Error> {
    let directories = &session.directories;
    let failed = |object: &Path, step| {
        let object = object.display().to_string();
        move |error: std::io::Error| Error::new(Code::Failed, object, step, error)
    };
    if stay != Stay::ToStop {
        revisions::apply(&directories.state, &file.text)
            .map_err(failed(&directories.state.join("revisions"), "keep the file"))?;
    }
    let journals = directories.run.join("journals");
    match std::fs::DirBuilder::new().mode(0o700).create(&journals) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(failed(&journals, "make the directory")(error));
        }
        _ => {}
    }
    let socket = directories.control_socket();
    let server = Server::listen(session.run_directory().as_fd(), &socket)
        .map_err(|errno| failed(&socket, "listen")(errno.into()))?;
    // Five descriptors a container.
    casemate_sys::resource::raise_descriptor_limit()
        .map_err(|error| Error::new(Code::Failed, "manager", "raise its descriptor limit", error))?;
    let names: Vec<_> = orders.iter().map(|order| &order.job.name).collect();
    let show = Show::new(&names).map_err(failed(Path::new("standard output"), "copy"))?;
    // A service's standard output is the journal of the service, and the containers have logs of their own.
    let show = if stay == Stay::WithContainers { show } else { show.notes_only() };
    let show = show.with_hosts(hosts, host_log::origins(file));
    let supervisor = Supervisor::new(client, directories.clone(), orders, show)?;
    Ok(supervise::run(supervisor, server, signals, stay, Report::new(notifier))?)
}
