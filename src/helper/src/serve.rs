//! The event loop of A's root: what is waited for, and what happens then. What a client may ask is in [`requests`].
//!
//! Nothing here waits for one peer: sockets do not block, a child's words are collected as they come, and what the state says
//! is what the next round waits for.

mod requests;

use crate::containers::Container;
use crate::layers;
use crate::outcome::{kill, reap};
use crate::realm::Realm;
use crate::unpack::Unpacking;
use casemate_confine::{At, Fault};
use casemate_sys::socket;
use casemate_wire::{
    Descriptors, DiskUsage, Envelope, Event, Exited, Failure, LayerReport, MAX_MESSAGE, Name, Reply, Request,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// At most this many connections.
const MOST_CLIENTS: usize = 32;

/// What is waited for.
enum Source {
    Door,
    Client(u64),
    Start(Name),
    Container(Name),
    Unpack(u64),
    Removal(u64),
}

struct Client {
    socket: OwnedFd,
    /// It said hello.
    greeted: bool,
}

/// A question whose answer comes later.
#[derive(Debug, Clone, Copy)]
struct Asker {
    client: u64,
    number: u32,
}

/// A container whose payload was not executed yet, or never will be.
struct Start {
    container: Container,
    asker: Asker,
    failed: Option<Failure>,
}

struct Server<'a> {
    realm: &'a Realm,
    /// Numbers clients and unpacks.
    next: u64,
    clients: BTreeMap<u64, Client>,
    supervisor: Option<u64>,
    starts: BTreeMap<Name, Start>,
    containers: BTreeMap<Name, Container>,
    unpacks: BTreeMap<u64, (Unpacking, Asker)>,
    /// Children that remove what nobody can see any more, and what is answered when they have.
    removals: BTreeMap<u64, (OwnedFd, Asker, Reply)>,
    quit: bool,
}

/// Serves until a client says quit, or the doorman is gone.
pub fn serve(realm: &Realm, door: &OwnedFd) -> Result<(), Fault> {
    let mut server = Server {
        realm,
        next: 0,
        clients: BTreeMap::new(),
        supervisor: None,
        starts: BTreeMap::new(),
        containers: BTreeMap::new(),
        unpacks: BTreeMap::new(),
        removals: BTreeMap::new(),
        quit: false,
    };
    socket::send(door, b"!", &[]).at("door")?;
    while !server.quit {
        for source in server.ready(door)? {
            server.handle(source, door)?;
        }
    }
    Ok(())
}

impl Server<'_> {
    /// Waits until something is ready.
    fn ready(&self, door: &OwnedFd) -> Result<Vec<Source>, Fault> {
        let mut waiting = vec![(Source::Door, door.as_fd())];
        waiting.extend(self.clients.iter().map(|(&id, client)| (Source::Client(id), client.socket.as_fd())));
        for (name, start) in &self.starts {
            let running = start.failed.is_none();
            let fd = if running { start.container.report() } else { start.container.pidfd.as_fd() };
            waiting.push((Source::Start(name.clone()), fd));
        }
        let running = self.containers.iter().filter(|(_, container)| container.exit.is_none());
        waiting.extend(running.map(|(name, c)| (Source::Container(name.clone()), c.pidfd.as_fd())));
        waiting.extend(self.unpacks.iter().map(|(&id, (unpack, _))| (Source::Unpack(id), unpack.as_fd())));
        waiting.extend(self.removals.iter().map(|(&id, (child, ..))| (Source::Removal(id), child.as_fd())));
        let mut fds: Vec<PollFd<'_>> =
            waiting.iter().map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).at("poll")?;
        let ready = waiting.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|((source, _), _)| source).collect())
    }

    /// What an earlier source of the same round took away has nothing to say.
    fn handle(&mut self, source: Source, door: &OwnedFd) -> Result<(), Fault> {
        match source {
            Source::Door => self.admit(door)?,
            Source::Client(client) => self.listen(client),
            Source::Start(name) => self.started(name),
            Source::Container(name) => self.ended(&name),
            Source::Unpack(id) => self.unpacked(id),
            Source::Removal(id) => self.removed(id),
        }
        Ok(())
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn admit(&mut self, door: &OwnedFd) -> Result<(), Fault> {
        let descriptors = match socket::receive(door, &mut [0; 8]) {
            Ok(Some((_, descriptors))) => descriptors,
            Ok(None) => {
                self.quit = true;
                return Ok(());
            }
            // There is no descriptor left for it: its caller finds the connection closed, and the containers run on.
            Err(Errno::MSGSIZE) => return Ok(()),
            Err(errno) => return Err(errno).at("door"),
        };
        // This loop turns: the doorman tells the service manager.
        socket::send(door, b"!", &[]).at("door")?;
        for socket in descriptors {
            if self.clients.len() < MOST_CLIENTS {
                let id = self.number();
                self.clients.insert(id, Client { socket, greeted: false });
            }
        }
        Ok(())
    }

    fn listen(&mut self, client: u64) {
        let Some(asking) = self.clients.get(&client) else { return };
        let mut buffer = vec![0; MAX_MESSAGE];
        let received = match socket::receive(&asking.socket, &mut buffer) {
            Err(Errno::AGAIN) => return,
            received => received.ok().flatten(),
        };
        let packet = received.and_then(|(length, descriptors)| {
            let envelope = Envelope::decode(buffer.get(..length)?).ok()?;
            let descriptors = Descriptors::new(&envelope.descriptors, descriptors)?;
            Some((envelope.number, Request::read(&envelope), descriptors))
        });
        match packet {
            Some((number, request, descriptors)) => {
                let asker = Asker { client, number };
                let answer = request.and_then(|request| self.answer(asker, request, descriptors));
                if let Some(reply) = answer.unwrap_or_else(|failure| Some(Reply::Failed(failure))) {
                    self.reply(asker, &reply, &[]);
                }
            }
            // Gone, or what it sends is no envelope: no further request can be read.
            None => {
                self.clients.remove(&client);
                self.supervisor = self.supervisor.filter(|&supervisor| supervisor != client);
            }
        }
    }

    /// The start is decided: the payload was executed, or a step failed; then its cgroup is empty once it has ended.
    fn started(&mut self, name: Name) {
        let Some(mut start) = self.starts.remove(&name) else { return };
        if start.failed.is_none() {
            match start.container.started() {
                None => {}
                Some(Ok(())) => {
                    self.reply(start.asker, &Reply::Started(()), &start.container.descriptors().named());
                    self.containers.insert(name, start.container);
                    return;
                }
                Some(Err(failure)) => {
                    let _ = kill(&start.container.pidfd);
                    start.failed = Some(failure);
                }
            }
        } else if start.container.reap().is_some() {
            self.reply(start.asker, &start.failed.map_or(Reply::Done(()), Reply::Failed), &[]);
            start.container.forget();
            return;
        }
        self.starts.insert(name, start);
    }

    fn ended(&mut self, name: &Name) {
        let exit = self.containers.get_mut(name).and_then(Container::reap);
        if let (Some(exit), Some(supervisor)) = (exit, self.supervisor) {
            let event = Event::Exited(Exited { name: name.clone(), exit });
            self.send(supervisor, event.packet(0, &[]), &[]);
        }
    }

    fn unpacked(&mut self, id: u64) {
        let Some((unpack, asker)) = self.unpacks.get_mut(&id) else { return };
        let (asker, Some(result)) = (*asker, unpack.advance(&self.realm.state)) else { return };
        let made = self.unpacks.remove(&id).and_then(|(unpack, _)| unpack.made);
        match (result, made) {
            (Err(failure), Some((_, directory))) => self.discard(&directory, asker, Reply::Failed(failure)),
            (Err(failure), None) => self.reply(asker, &Reply::Failed(failure), &[]),
            (Ok(report), Some(_)) => self.reply(asker, &Reply::Unpacked(report), &[]),
            (Ok(LayerReport { entries, bytes, .. }), None) => {
                self.reply(asker, &Reply::DiskUsage(DiskUsage { entries, bytes }), &[]);
            }
        }
    }

    /// Removes a directory of the store that nobody can see any more, then replies.
    fn discard(&mut self, directory: &Path, asker: Asker, reply: Reply) {
        match layers::abandon_aside(&self.realm.proof, directory) {
            Some(child) => {
                let id = self.number();
                self.removals.insert(id, (child, asker, reply));
            }
            None => self.reply(asker, &reply, &[]),
        }
    }

    fn removed(&mut self, id: u64) {
        if self.removals.get(&id).and_then(|(child, ..)| reap(child)).is_none() {
            return;
        }
        if let Some((_, asker, reply)) = self.removals.remove(&id) {
            self.reply(asker, &reply, &[]);
        }
    }

    fn reply(&self, asker: Asker, reply: &Reply, descriptors: &[(&str, BorrowedFd<'_>)]) {
        let (names, descriptors): (Vec<_>, Vec<_>) = descriptors.iter().copied().unzip();
        self.send(asker.client, reply.packet(asker.number, &names), &descriptors);
    }

    /// A client that does not take its answers is not waited for: its next request finds the connection closed.
    fn send(&self, client: u64, packet: Result<Vec<u8>, casemate_wire::Error>, descriptors: &[BorrowedFd<'_>]) {
        let Some(Client { socket, .. }) = self.clients.get(&client) else { return };
        let packet = packet.map_err(|_| Errno::MSGSIZE);
        if packet.and_then(|bytes| socket::send(socket, &bytes, descriptors)).is_err() {
            let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
        }
    }
}
