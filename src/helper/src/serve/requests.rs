//! The closed table of requests: what each does, and when it is refused.

use super::{Origin, Server, Start};
use crate::container::Container;
use crate::context::Context;
use crate::unpack::Unpacking;
use crate::{layers, unpack};
use casemate_confine::Error;
use casemate_container::child::{kill, signal};
use casemate_wire::frozen::{Containers, Hello, ListContainers, Signal, Welcome};
use casemate_wire::{
    self as wire, Container as Listed, Descriptors, Digest, Failure, JOB_VERSION, Job, ListLayers, Name, PROTOCOL,
    Reply, Request, State, descriptor,
};
use std::fmt::Display;
use std::ops::Bound;
use std::os::fd::AsFd;

/// Containers in one answer: at most 160 bytes each.
const CONTAINERS_PAGE: usize = 500;
/// Layers in one answer: 33 bytes each.
const LAYERS_PAGE: usize = 2000;

/// At most this many unpacks at a time: each has its own memory.
const MOST_UNPACKS: usize = 8;
/// At most this many processes besides pid 1 in all containers: each has three descriptors here.
const MOST_ENTERED: usize = 256;

/// The reply, or `None` where it was sent or comes later.
type Answered = Result<Option<Reply>, Failure>;

fn refused<T>(step: &str, reason: impl Display) -> Result<T, Failure> {
    Err(Error::refused(reason).in_step(step))
}

fn in_step(step: &'static str) -> impl Fn(Error) -> Failure {
    move |error| error.in_step(step)
}

impl Server<'_> {
    /// The table.
    pub(super) fn answer(&mut self, origin: Origin, request: Request, mut descriptors: Descriptors) -> Answered {
        let greeted = self.clients.get(&origin.client).is_some_and(|client| client.greeted);
        if greeted == matches!(request, Request::Hello(_)) {
            return refused(request.name(), "hello comes first, and once");
        }
        match request {
            Request::Hello(hello) => Ok(Some(self.greet(origin.client, hello))),
            Request::Containers(list) => Ok(Some(Reply::Containers(self.list(&list)))),
            Request::Attach(name) => {
                self.reply(origin, &Reply::Attached(()), &self.find("attach", &name)?.descriptors.as_fds().named());
                Ok(None)
            }
            Request::Signal(Signal { name, signal: number @ 1..=64 }) => {
                signal(&self.find("signal", &name)?.descriptors.pidfd, number).map_err(in_step("signal"))?;
                Ok(Some(Reply::Done(())))
            }
            Request::Signal(Signal { signal, .. }) => refused("signal", format_args!("signal {signal}")),
            Request::Kill(name) => {
                kill(&self.find("kill", &name)?.descriptors.pidfd).map_err(in_step("kill"))?;
                Ok(Some(Reply::Done(())))
            }
            Request::Forget(name) => {
                if self.find("forget", &name)?.exit.is_none() {
                    return refused("forget", format_args!("{name} runs"));
                }
                self.containers.remove(&name).into_iter().for_each(Container::forget);
                Ok(Some(Reply::Done(())))
            }
            Request::Facts(()) => Ok(Some(Reply::Facts(self.context.shared.facts.clone()))),
            Request::Layers(ListLayers { after }) => {
                let layers = layers::list(&self.context.shared.state, after, LAYERS_PAGE).map_err(in_step("layers"))?;
                Ok(Some(Reply::Layers(layers)))
            }
            Request::Unpack(layer) => {
                let blob = descriptors.take(descriptor::BLOB)?;
                self.unpack(origin, "unpack", |context| unpack::start(context, &layer, blob.as_fd()))
            }
            Request::Inventory(layer) => {
                let inventory = descriptors.take(descriptor::INVENTORY)?;
                self.unpack(origin, "inventory", |context| unpack::list(context, layer, inventory.as_fd()))
            }
            Request::DiskUsage(volume) => {
                self.unpack(origin, "disk-usage", |context| unpack::measure(context, &volume))
            }
            Request::RemoveLayer(layer) => self.remove_layer(origin, &layer),
            Request::Start(start) => self.start(origin, &start),
            Request::Enter(enter) => self.enter(origin, enter),
            Request::Quit(()) => {
                if !self.starts.is_empty() || self.containers.values().any(|c| c.exit.is_none()) {
                    return refused("quit", "a container runs");
                }
                self.quit = true;
                Ok(Some(Reply::Done(())))
            }
        }
    }

    /// A client of any protocol is welcome.
    fn greet(&mut self, client: u64, hello: Hello) -> Reply {
        self.clients.entry(client).and_modify(|client| client.greeted = true);
        if hello.supervise {
            self.supervisor = Some(client);
        }
        Reply::Welcome(Welcome { protocol: PROTOCOL })
    }

    fn find(&self, step: &str, name: &Name) -> Result<&Container, Failure> {
        self.containers.get(name).map_or_else(|| refused(step, format_args!("no container {name}")), Ok)
    }

    /// One page.
    fn list(&self, list: &ListContainers) -> Containers {
        let listed = |(name, container): (&Name, &Container)| Listed {
            name: name.clone(),
            digest: container.digest,
            started: container.started,
            state: container.exit.map_or(State::Running, State::Exited),
        };
        let from = list.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut behind = self.containers.range::<Name, _>((from, Bound::Unbounded)).map(listed);
        let containers = behind.by_ref().take(CONTAINERS_PAGE).collect();
        Containers { containers, more: behind.next().is_some() }
    }

    fn start(&mut self, origin: Origin, start: &wire::Start) -> Answered {
        if start.version != JOB_VERSION {
            return refused(
                "start",
                format_args!(
                    "this helper starts jobs of version {JOB_VERSION}, not {}: restart the helper, which ends its containers",
                    start.version
                ),
            );
        }
        let job = Job::decode(&start.job).or_else(|error| refused("start", error))?;
        if self.containers.contains_key(&job.name) || self.starts.contains_key(&job.name) {
            return refused("start", format_args!("{} is there already", job.name));
        }
        let name = job.name.clone();
        let container = Container::start(&self.context.shared, job)?;
        self.starts.insert(name, Start { container, origin, failed: None });
        Ok(None)
    }

    fn enter(&mut self, origin: Origin, enter: wire::Enter) -> Answered {
        if self.entered.len() >= MOST_ENTERED {
            return refused("enter", "too many processes have entered containers");
        }
        let entered = self.find("enter", &enter.container)?.enter(&self.context.shared, enter)?;
        let id = self.new_id();
        self.entered.insert(id, (entered, origin));
        Ok(None)
    }

    fn unpack(
        &mut self,
        origin: Origin,
        step: &'static str,
        start: impl FnOnce(&Context) -> Result<Unpacking, Error>,
    ) -> Answered {
        if self.unpacks.len() >= MOST_UNPACKS {
            return refused(step, "too many unpacks at a time");
        }
        let unpacking = start(self.context).map_err(in_step(step))?;
        let id = self.new_id();
        self.unpacks.insert(id, (unpacking, origin));
        Ok(None)
    }

    fn remove_layer(&mut self, origin: Origin, layer: &Digest) -> Answered {
        let starts = self.starts.values().map(|start| &start.container);
        let containers = self.containers.values().chain(starts).map(|container| &container.layers);
        let unpacks = self.unpacks.values().map(|(unpacking, _)| &unpacking.layers);
        if containers.chain(unpacks).any(|layers| layers.contains(layer)) {
            return refused("remove-layer", format_args!("{layer} is in use"));
        }
        let gone = layers::retire(&self.context.shared.state, layer).map_err(in_step("remove-layer"))?;
        self.discard(&gone, origin, Reply::Done(()));
        Ok(None)
    }
}
