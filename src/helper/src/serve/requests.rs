//! The closed table of requests: what each may ask, and what it is refused.

use super::{Asker, Server, Start};
use crate::containers::{self, Container};
use crate::outcome::{kill, signal};
use crate::realm::Realm;
use crate::unpack::Unpacking;
use crate::{layers, unpack};
use casemate_confine::Fault;
use casemate_wire::{Container as Listed, Digest, Failure, Job, Name, PROTOCOL, Reply, Request, State};
use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// At most this many unpacks at a time: each has its own memory. Whoever changes the store has two, whoever looks one.
const MOST_UNPACKS: usize = 8;

/// The reply, or `None` where it was sent or comes later.
type Answered = Result<Option<Reply>, Failure>;

fn refused<T>(step: &str, reason: impl Display) -> Result<T, Failure> {
    Err(Fault::refused(reason).in_step(step))
}

fn in_step(step: &'static str) -> impl Fn(Fault) -> Failure {
    move |fault| fault.in_step(step)
}

impl Server<'_> {
    /// The table.
    pub(super) fn answer(&mut self, asker: Asker, request: Request, descriptors: &[OwnedFd]) -> Answered {
        let greeted = self.clients.get(&asker.client).is_some_and(|client| client.greeted);
        if greeted == matches!(request, Request::Hello { .. }) {
            return refused("greet", "hello comes first, once, in this protocol");
        }
        let unpacker = matches!(request, Request::Unpack(_) | Request::List(_) | Request::Measure(_));
        if descriptors.len() != usize::from(unpacker) {
            return refused("descriptors", "what starts casemate-unpack takes one descriptor, other requests none");
        }
        match request {
            Request::Hello { protocol, supervise } => self.greet(asker.client, protocol, supervise),
            Request::Layers => layers::list(&self.realm.state).map(Reply::Layers).map(Some).map_err(in_step("layers")),
            Request::Unpack(layer) => self.unpack(asker, descriptors, |realm, blob| unpack::start(realm, &layer, blob)),
            Request::List(layer) => self.unpack(asker, descriptors, |realm, list| {
                unpack::walk(realm, &layers::content(&realm.state, &layer), Some(layer), list)
            }),
            Request::Measure(name) => self.unpack(asker, descriptors, |realm, list| {
                unpack::walk(realm, &realm.state.join("volumes").join(name.as_str()), None, list)
            }),
            Request::RemoveLayer(layer) => self.remove_layer(asker, &layer),
            Request::Start(job) => self.start(asker, &job),
            Request::Attach(name) => {
                self.reply(asker, Reply::Attached, &self.find(&name)?.descriptors());
                Ok(None)
            }
            Request::Signal { name, signal: number @ 1..=64 } => {
                let sent = signal(&self.find(&name)?.pidfd, number);
                sent.map(|()| Some(Reply::Done)).map_err(in_step("signal"))
            }
            Request::Signal { signal, .. } => refused("signal", format_args!("signal {signal}")),
            Request::Kill(name) => {
                let sent = kill(&self.find(&name)?.pidfd);
                sent.map(|()| Some(Reply::Done)).map_err(in_step("kill"))
            }
            Request::Containers => Ok(Some(Reply::Containers(self.list()))),
            Request::Forget(name) => {
                if self.find(&name)?.exit.is_none() {
                    return refused("forget", format_args!("{name} runs"));
                }
                self.containers.remove(&name).into_iter().for_each(Container::forget);
                Ok(Some(Reply::Done))
            }
            Request::Quit => {
                if !self.starts.is_empty() || self.containers.values().any(|c| c.exit.is_none()) {
                    return refused("quit", "a container runs");
                }
                self.quit = true;
                Ok(Some(Reply::Done))
            }
        }
    }

    /// A client of another protocol is told ours, and no more.
    fn greet(&mut self, client: u64, protocol: u16, supervise: bool) -> Answered {
        if protocol == PROTOCOL {
            self.clients.entry(client).and_modify(|client| client.greeted = true);
            self.supervisor = if supervise { Some(client) } else { self.supervisor };
        }
        Ok(Some(Reply::Facts(self.realm.facts.clone())))
    }

    fn find(&self, name: &Name) -> Result<&Container, Failure> {
        self.containers.get(name).map_or_else(|| refused("find", format_args!("no container {name}")), Ok)
    }

    fn list(&self) -> Vec<Listed> {
        let listed = |(name, container): (&Name, &Container)| Listed {
            name: name.clone(),
            digest: container.digest,
            started: container.started,
            state: container.exit.map_or(State::Running, State::Exited),
        };
        self.containers.iter().map(listed).collect()
    }

    fn start(&mut self, asker: Asker, job: &Job) -> Answered {
        if self.containers.contains_key(&job.name) || self.starts.contains_key(&job.name) {
            return refused("start", format_args!("{} is there already", job.name));
        }
        let container = containers::start(self.realm, job)?;
        self.starts.insert(job.name.clone(), Start { container, asker, failed: None });
        Ok(None)
    }

    fn unpack(
        &mut self,
        asker: Asker,
        descriptors: &[OwnedFd],
        start: impl FnOnce(&Realm, BorrowedFd<'_>) -> Result<Unpacking, Fault>,
    ) -> Answered {
        let Some(input) = descriptors.first() else { return refused("unpack", "no descriptor") };
        if self.unpacks.len() >= MOST_UNPACKS {
            return refused("unpack", "too many unpacks at a time");
        }
        let unpacking = start(self.realm, input.as_fd()).map_err(in_step("unpack"))?;
        let id = self.number();
        self.unpacks.insert(id, (unpacking, asker));
        Ok(None)
    }

    fn remove_layer(&mut self, asker: Asker, layer: &Digest) -> Answered {
        let starts = self.starts.values().map(|start| &start.container);
        let containers = self.containers.values().chain(starts).map(|container| &container.layers);
        let unpacks = self.unpacks.values().map(|(unpacking, _)| &unpacking.layers);
        if containers.chain(unpacks).any(|layers| layers.contains(layer)) {
            return refused("remove-layer", format_args!("{layer} is in use"));
        }
        let gone = layers::retire(&self.realm.state, layer).map_err(in_step("remove-layer"))?;
        self.discard(&gone, asker, Reply::Done);
        Ok(None)
    }
}
