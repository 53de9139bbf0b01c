//! The event loop of A's root: connections, the closed table of requests, ends of containers and of unpacks.

use crate::cgroup::Tree;
use crate::containers::{self, Containers, Host};
use crate::fault::{At, Fault};
use crate::unpack::{self, Bench, Unpacking};
use crate::{layers, volumes};
use casemate_sys::process::SingleThreaded;
use casemate_sys::socket;
use casemate_wire::{
    Answer, Container, Event, Facts, Failure, Job, LayerReport, MAX_MESSAGE, Name, Packet, Reply, Request,
    State, UnpackLayer, decode, encode,
};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// What the realm is made of.
pub struct Realm {
    /// One thread, for ever.
    pub proof: SingleThreaded,
    /// The state directory.
    pub state: PathBuf,
    /// What this host can do.
    pub facts: Facts,
    /// The delegated cgroups.
    pub cgroups: Tree,
    /// The shared part of `/dev`.
    pub dev: OwnedFd,
    /// `casemate-unpack`.
    pub unpack: OwnedFd,
    /// `casemate-init`.
    pub init: OwnedFd,
}

/// At most this many unpacks at a time: each has its own memory.
const MOST_UNPACKS: usize = 4;
/// At most this many connections.
const MOST_CLIENTS: usize = 32;

/// What an event of the loop is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Door,
    Client(u64),
    Report(Name),
    Ended(Name),
    Unpack(u64),
}

/// A question whose answer comes later.
#[derive(Debug, Clone, Copy)]
struct Asker {
    client: u64,
    number: u32,
}

struct Server<'a> {
    realm: &'a Realm,
    epoll: OwnedFd,
    sources: BTreeMap<u64, Source>,
    next: u64,
    clients: BTreeMap<u64, OwnedFd>,
    supervisor: Option<u64>,
    containers: Containers,
    starting: BTreeMap<Name, Asker>,
    unpacking: BTreeMap<u64, (Unpacking, Asker)>,
    quit: bool,
}

/// Serves until a client says quit, or the doorman is gone.
pub fn serve(realm: &Realm, door: &OwnedFd) -> Result<(), Fault> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).at("epoll")?;
    let mut server = Server {
        realm,
        epoll,
        sources: BTreeMap::new(),
        next: 0,
        clients: BTreeMap::new(),
        supervisor: None,
        containers: Containers::new(),
        starting: BTreeMap::new(),
        unpacking: BTreeMap::new(),
        quit: false,
    };
    server.watch(door.as_fd(), Source::Door)?;
    let mut events = Vec::with_capacity(64);
    while !server.quit {
        events.clear();
        match epoll::wait(&server.epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).at("epoll"),
        }
        for event in &events {
            // A source that an earlier event of the same round took away has nothing to say.
            if let Some(source) = server.sources.get(&event.data.u64()).cloned() {
                server.handle(event.data.u64(), source, door)?;
            }
        }
    }
    Ok(())
}

impl Server<'_> {
    fn watch(&mut self, fd: BorrowedFd<'_>, source: Source) -> Result<u64, Fault> {
        self.next += 1;
        epoll::add(&self.epoll, fd, EventData::new_u64(self.next), EventFlags::IN).at("epoll")?;
        self.sources.insert(self.next, source);
        Ok(self.next)
    }

    fn unwatch(&mut self, token: u64, fd: BorrowedFd<'_>) {
        self.sources.remove(&token);
        // A child that was forked meanwhile holds a copy, so closing alone would not end the watch.
        let _ = epoll::delete(&self.epoll, fd);
    }

    fn handle(&mut self, token: u64, source: Source, door: &OwnedFd) -> Result<(), Fault> {
        match source {
            Source::Door => self.admit(door)?,
            Source::Client(client) => self.listen(token, client),
            Source::Report(name) => self.reported(token, &name)?,
            Source::Ended(name) => self.ended(token, &name),
            Source::Unpack(id) => self.unpacked(token, id),
        }
        Ok(())
    }

    fn admit(&mut self, door: &OwnedFd) -> Result<(), Fault> {
        let Some((_, descriptors)) = socket::receive(door, &mut [0; 8]).at("door")? else {
            self.quit = true;
            return Ok(());
        };
        for client in descriptors {
            if self.clients.len() < MOST_CLIENTS {
                let id = self.next + 1;
                self.watch(client.as_fd(), Source::Client(id))?;
                self.clients.insert(id, client);
            }
        }
        Ok(())
    }

    fn listen(&mut self, token: u64, client: u64) {
        let mut buffer = vec![0; MAX_MESSAGE];
        let received = self.clients.get(&client).map(|fd| socket::receive(fd, &mut buffer));
        let packet = match &received {
            Some(Ok(Some((length, _)))) => decode::<Packet>(buffer.get(..*length).unwrap_or_default()).ok(),
            _ => None,
        };
        match (packet, received) {
            (Some(packet), Some(Ok(Some((_, descriptors))))) => {
                self.serve_packet(client, packet, descriptors)
            }
            // Gone, or speaking another language: either way there is no more to hear.
            _ => self.dismiss(token, client),
        }
    }

    fn dismiss(&mut self, token: u64, client: u64) {
        if let Some(fd) = self.clients.remove(&client) {
            self.unwatch(token, fd.as_fd());
        }
        if self.supervisor == Some(client) {
            self.supervisor = None;
        }
    }

    fn serve_packet(&mut self, client: u64, packet: Packet, descriptors: Vec<OwnedFd>) {
        let asker = Asker { client, number: packet.number };
        match self.answer(asker, packet.request, descriptors) {
            Ok(Some(reply)) => self.reply(asker, &reply),
            Ok(None) => {}
            Err(failure) => self.reply(asker, &Reply::Failed(failure)),
        }
    }

    /// The table. `None`: the answer was sent, or comes later.
    fn answer(
        &mut self,
        asker: Asker,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Option<Reply>, Failure> {
        let state = &self.realm.state;
        let done = |fault: Result<(), Fault>, step: &str| {
            fault.map(|()| Some(Reply::Done)).map_err(|fault| fault.in_step(step))
        };
        match request {
            Request::Hello { supervise, .. } => {
                if supervise {
                    self.supervisor = Some(asker.client);
                }
                Ok(Some(Reply::Facts(self.realm.facts.clone())))
            }
            Request::Layers => {
                layers::list(state).map(Reply::Layers).map(Some).map_err(|fault| fault.in_step("layers"))
            }
            Request::Unpack(layer) => self.unpack(asker, &layer, descriptors),
            Request::RemoveLayer(layer) => {
                if self.containers.values().any(|container| container.layers.contains(&layer)) {
                    return Err(Fault::refused(format_args!("{layer} is in use")).in_step("remove-layer"));
                }
                let removed = layers::retire(state, &layer).map(|gone| layers::abandon(&gone));
                done(removed, "remove-layer")
            }
            Request::Volumes => {
                volumes::list(state).map(Reply::Volumes).map(Some).map_err(|fault| fault.in_step("volumes"))
            }
            Request::RemoveVolume(name) => {
                if self.containers.values().any(|container| container.volumes.contains(&name)) {
                    return Err(Fault::refused(format_args!("{name} is in use")).in_step("remove-volume"));
                }
                done(volumes::remove(state, &name), "remove-volume")
            }
            Request::Start(job) => self.start(asker, &job),
            Request::Attach(name) => {
                let container = self.find(&name)?;
                self.send(
                    asker.client,
                    &Answer::Reply { number: asker.number, reply: Reply::Attached },
                    &container.descriptors(),
                );
                Ok(None)
            }
            Request::Signal { name, signal } => {
                let signal = Signal::from_named_raw(signal.into())
                    .ok_or_else(|| Fault::refused(format_args!("signal {signal}")).in_step("signal"))?;
                done(self.find(&name)?.signal(signal), "signal")
            }
            Request::Kill(name) => done(self.find(&name)?.signal(Signal::KILL), "kill"),
            Request::Containers => Ok(Some(Reply::Containers(self.list()))),
            Request::Stats(name) => Ok(Some(Reply::Stats(self.find(&name)?.stats()))),
            Request::Forget(name) => {
                if self.find(&name)?.exit.is_none() {
                    return Err(Fault::refused(format_args!("{name} runs")).in_step("forget"));
                }
                if let Some(container) = self.containers.remove(&name) {
                    container.forget();
                }
                Ok(Some(Reply::Done))
            }
            Request::Quit => {
                if self.containers.values().any(|container| container.exit.is_none()) {
                    return Err(Fault::refused("a container runs").in_step("quit"));
                }
                self.quit = true;
                Ok(Some(Reply::Done))
            }
        }
    }

    fn find(&self, name: &Name) -> Result<&containers::Container, Failure> {
        self.containers
            .get(name)
            .ok_or_else(|| Fault::refused(format_args!("no container {name}")).in_step("find"))
    }

    fn list(&self) -> Vec<Container> {
        let state = |exit| match exit {
            Some(exit) => State::Exited(exit),
            None => State::Running,
        };
        let running = self.containers.iter().filter(|(name, _)| !self.starting.contains_key(name));
        running
            .map(|(name, c)| Container {
                name: name.clone(),
                digest: c.digest,
                started: c.started,
                state: state(c.exit),
            })
            .collect()
    }

    fn start(&mut self, asker: Asker, job: &Job) -> Result<Option<Reply>, Failure> {
        if self.containers.contains_key(&job.name) {
            return Err(Fault::refused(format_args!("{} is there already", job.name)).in_step("start"));
        }
        let realm = self.realm;
        let host = Host {
            proof: &realm.proof,
            state: &realm.state,
            space: realm.facts.ids,
            cgroups: &realm.cgroups,
            dev: realm.dev.as_fd(),
            init: realm.init.as_fd(),
        };
        let container = containers::start(&host, job)?;
        let watched = container
            .report
            .as_ref()
            .map_or(Ok(0), |report| self.watch(report.as_fd(), Source::Report(job.name.clone())));
        watched.map_err(|fault| fault.in_step("start"))?;
        self.starting.insert(job.name.clone(), asker);
        self.containers.insert(job.name.clone(), container);
        Ok(None)
    }

    /// The start is decided: a failure was written, or the payload's execve closed the pipe.
    fn reported(&mut self, token: u64, name: &Name) -> Result<(), Fault> {
        let Some(asker) = self.starting.remove(name) else { return Ok(()) };
        let Some(mut container) = self.containers.remove(name) else { return Ok(()) };
        if let Some(report) = &container.report {
            self.unwatch(token, report.as_fd());
        }
        if let Some(failure) = container.read_report() {
            // It ends by itself; waiting for it keeps its cgroup empty when that is removed.
            let _ = rustix::process::waitid(
                rustix::process::WaitId::PidFd(container.pidfd.as_fd()),
                rustix::process::WaitIdOptions::EXITED,
            );
            container.forget();
            self.reply(asker, &Reply::Failed(failure));
            return Ok(());
        }
        self.watch(container.pidfd.as_fd(), Source::Ended(name.clone()))?;
        let answer = Answer::Reply { number: asker.number, reply: Reply::Started };
        self.send(asker.client, &answer, &container.descriptors());
        self.containers.insert(name.clone(), container);
        Ok(())
    }

    fn ended(&mut self, token: u64, name: &Name) {
        let Some(mut container) = self.containers.remove(name) else { return };
        if let Some(exit) = container.reap() {
            self.unwatch(token, container.pidfd.as_fd());
            if let Some(supervisor) = self.supervisor {
                self.send(supervisor, &Answer::Event(Event::Exited { name: name.clone(), exit }), &[]);
            }
        }
        self.containers.insert(name.clone(), container);
    }

    fn unpack(
        &mut self,
        asker: Asker,
        layer: &UnpackLayer,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Option<Reply>, Failure> {
        let state = &self.realm.state;
        if layers::exists(state, &layer.chain_id) {
            let report = layers::report(state, &layer.chain_id).map_err(|fault| fault.in_step("layer"))?;
            return Ok(Some(Reply::Unpacked(report)));
        }
        let Some(blob) = descriptors.into_iter().next() else {
            return Err(Fault::refused("no descriptor of the blob").in_step("unpack"));
        };
        if self.unpacking.len() >= MOST_UNPACKS {
            return Err(Fault::refused("too many unpacks at a time").in_step("unpack"));
        }
        let realm = self.realm;
        let bench =
            Bench { proof: &realm.proof, state, space: realm.facts.ids, program: realm.unpack.as_fd() };
        let unpacking =
            unpack::start(&bench, layer, blob.as_fd()).map_err(|fault| fault.in_step("unpack"))?;
        let id = self.next + 1;
        self.watch(unpacking.outcome.as_fd(), Source::Unpack(id)).map_err(|fault| fault.in_step("unpack"))?;
        self.unpacking.insert(id, (unpacking, asker));
        Ok(None)
    }

    fn unpacked(&mut self, token: u64, id: u64) {
        let Some((unpacking, asker)) = self.unpacking.remove(&id) else { return };
        self.unwatch(token, unpacking.outcome.as_fd());
        let reply: Result<LayerReport, Failure> = unpacking.finish(&self.realm.state);
        self.reply(asker, &reply.map_or_else(Reply::Failed, Reply::Unpacked));
    }

    fn reply(&mut self, asker: Asker, reply: &Reply) {
        self.send(asker.client, &Answer::Reply { number: asker.number, reply: reply.clone() }, &[]);
    }

    /// A client that does not take its answers is not waited for: its next request finds the connection closed.
    fn send(&self, client: u64, answer: &Answer, descriptors: &[BorrowedFd<'_>]) {
        let Some(fd) = self.clients.get(&client) else { return };
        let sent = encode(answer)
            .map_err(|_| Errno::MSGSIZE)
            .and_then(|bytes| socket::send(fd, &bytes, descriptors));
        if sent.is_err() {
            let _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Both);
        }
    }
}
