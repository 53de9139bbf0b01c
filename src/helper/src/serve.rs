//! The event loop of A's root: the descriptors that it waits for, and what follows when one is ready. The requests of clients are in
//! [`requests`].
//!
//! The loop never blocks on one peer: sockets are non-blocking, reports of children are collected as they come.

mod requests;
mod running;

use crate::container::Container;
use crate::context::Context;
use crate::entered::Entered;
use crate::layers;
use crate::unpack::Unpacking;
use casemate_confine::{At, Error};
use casemate_container::child::{kill, reap};
use casemate_sys::socket;
use casemate_wire::{
    self as wire, Descriptors, DiskUsage, Envelope, Event, Exited, Failure, LayerReport, MAX_MESSAGE, Name,
    ProcessExited, Reply, Request,
};
use running::Running;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// At most this many connections.
const MOST_CLIENTS: usize = 32;

/// A descriptor that the loop waits for.
enum Source {
    Listener,
    Client(u64),
    Start(Name),
    Running,
    Entered(u64),
    Unpack(u64),
    Removal(u64),
}

struct Client {
    socket: OwnedFd,
    /// It has sent `hello`.
    greeted: bool,
}

/// The request that an answer is for.
#[derive(Debug, Clone, Copy)]
struct Origin {
    client: u64,
    number: u32,
}

/// A container whose payload is not executed yet.
struct Start {
    container: Container,
    origin: Origin,
    /// Its start has failed; its first process has yet to be reaped.
    failed: Option<Failure>,
}

struct Server<'a> {
    context: &'a Context,
    /// The last number that was given to a client, an unpack, a removal or a process.
    last_id: u64,
    clients: BTreeMap<u64, Client>,
    supervisor: Option<u64>,
    starts: BTreeMap<Name, Start>,
    containers: BTreeMap<Name, Container>,
    running: Running,
    /// Processes that enter, or have entered, a container.
    entered: BTreeMap<u64, (Entered, Origin)>,
    unpacks: BTreeMap<u64, (Unpacking, Origin)>,
    /// Children that remove layers which are not visible any more, and the answer when they have ended.
    removals: BTreeMap<u64, (OwnedFd, Origin, Reply)>,
    quit: bool,
}

/// Serves until a client quits or the listener has ended. Accepted connections come over the socket to the listener.
pub fn serve(context: &Context, listener: &OwnedFd) -> Result<(), Error> {
    let mut server = Server {
        context,
        last_id: 0,
        clients: BTreeMap::new(),
        supervisor: None,
        starts: BTreeMap::new(),
        containers: BTreeMap::new(),
        running: Running::new()?,
        entered: BTreeMap::new(),
        unpacks: BTreeMap::new(),
        removals: BTreeMap::new(),
        quit: false,
    };
    socket::send(listener, b"!", &[]).at("connection to the listener")?;
    // Kept: new pages for each packet would be the dearest part of a small request.
    let mut buffer = vec![0; MAX_MESSAGE];
    while !server.quit {
        for source in server.ready(listener)? {
            server.handle(source, listener, &mut buffer)?;
        }
    }
    Ok(())
}

impl Server<'_> {
    /// Waits until something is ready.
    fn ready(&self, listener: &OwnedFd) -> Result<Vec<Source>, Error> {
        let mut waiting = vec![(Source::Listener, listener.as_fd())];
        waiting.extend(self.clients.iter().map(|(&id, client)| (Source::Client(id), client.socket.as_fd())));
        for (name, start) in &self.starts {
            let running = start.failed.is_none();
            let fd = if running { start.container.report() } else { start.container.descriptors.pidfd.as_fd() };
            waiting.push((Source::Start(name.clone()), fd));
        }
        waiting.push((Source::Running, self.running.as_fd()));
        waiting.extend(self.entered.iter().map(|(&id, (entered, _))| (Source::Entered(id), entered.as_fd())));
        waiting.extend(self.unpacks.iter().map(|(&id, (unpack, _))| (Source::Unpack(id), unpack.as_fd())));
        waiting.extend(self.removals.iter().map(|(&id, (child, ..))| (Source::Removal(id), child.as_fd())));
        let mut fds: Vec<PollFd<'_>> =
            waiting.iter().map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).at("poll")?;
        let ready = waiting.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|((source, _), _)| source).collect())
    }

    /// An earlier source of the same round may have removed this one: then there is nothing to do.
    fn handle(&mut self, source: Source, listener: &OwnedFd, buffer: &mut [u8]) -> Result<(), Error> {
        match source {
            Source::Listener => self.take_connection(listener)?,
            Source::Client(client) => self.receive(client, buffer),
            Source::Start(name) => self.started(name),
            Source::Running => self.running.ended().iter().for_each(|(id, name)| self.ended(*id, name)),
            Source::Entered(id) => self.entered(id),
            Source::Unpack(id) => self.unpacked(id),
            Source::Removal(id) => self.removed(id),
        }
        Ok(())
    }

    fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn take_connection(&mut self, listener: &OwnedFd) -> Result<(), Error> {
        let descriptors = match socket::receive(listener, &mut [0; 8]) {
            Ok(Some((_, descriptors))) => descriptors,
            Ok(None) => {
                self.quit = true;
                return Ok(());
            }
            // No descriptor is left for it: the client finds the connection closed, and the containers run on.
            Err(Errno::MSGSIZE) => return Ok(()),
            Err(errno) => return Err(errno).at("connection to the listener"),
        };
        // The loop turns: the listener sends the watchdog ping.
        socket::send(listener, b"!", &[]).at("connection to the listener")?;
        for socket in descriptors {
            if self.clients.len() < MOST_CLIENTS {
                let id = self.new_id();
                self.clients.insert(id, Client { socket, greeted: false });
            }
        }
        Ok(())
    }

    fn receive(&mut self, client: u64, buffer: &mut [u8]) {
        let Some(from) = self.clients.get(&client) else { return };
        let received = match socket::receive(&from.socket, buffer) {
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
                let origin = Origin { client, number };
                let answer = request.and_then(|request| self.answer(origin, request, descriptors));
                if let Some(reply) = answer.unwrap_or_else(|failure| Some(Reply::Failed(failure))) {
                    self.reply(origin, &reply, &[]);
                }
            }
            // Closed, or its packet is no envelope: no further request can be read.
            None => {
                self.entered
                    .values()
                    .filter(|(_, origin)| origin.client == client)
                    .for_each(|(entered, _)| entered.kill());
                self.clients.remove(&client);
                self.supervisor = self.supervisor.filter(|&supervisor| supervisor != client);
            }
        }
    }

    /// A report is readable: the payload was executed, or a step failed; then the cgroup can be removed when the process has ended.
    fn started(&mut self, name: Name) {
        let Some(mut start) = self.starts.remove(&name) else { return };
        if start.failed.is_none() {
            let id = self.new_id();
            let report = start.container.started();
            let pidfd = &start.container.descriptors.pidfd;
            match report.map(|executed| executed.and_then(|()| self.running.add(id, &name, pidfd))) {
                None => {}
                Some(Ok(())) => {
                    self.reply(start.origin, &Reply::Started(()), &start.container.descriptors.as_fds().named());
                    self.containers.insert(name, start.container);
                    return;
                }
                Some(Err(failure)) => {
                    let _ = kill(&start.container.descriptors.pidfd);
                    start.failed = Some(failure);
                }
            }
        } else if start.container.reap().is_some() {
            self.reply(start.origin, &start.failed.map_or(Reply::Done(()), Reply::Failed), &[]);
            start.container.forget();
            return;
        }
        self.starts.insert(name, start);
    }

    fn ended(&mut self, id: u64, name: &Name) {
        let Some(container) = self.containers.get_mut(name) else { return };
        let Some(exit) = container.reap() else { return };
        self.running.remove(id, &container.descriptors.pidfd);
        if let Some(supervisor) = self.supervisor {
            let event = Event::Exited(Exited { name: name.clone(), exit });
            self.send(supervisor, event.packet(0, &[]), &[]);
        }
    }

    /// A report is readable, or a process has ended.
    fn entered(&mut self, id: u64) {
        let Some((mut entered, origin)) = self.entered.remove(&id) else { return };
        match entered.started() {
            Some(Ok(())) => {
                let reply = Reply::Entered(wire::Entered { process: id });
                self.reply(origin, &reply, &entered.descriptors().named());
                if !self.clients.contains_key(&origin.client) {
                    entered.kill();
                }
            }
            Some(Err(failure)) => return self.reply(origin, &Reply::Failed(failure), &[]),
            None => {
                if let Some(exit) = entered.reap() {
                    let event = Event::ProcessExited(ProcessExited { process: id, exit });
                    return self.send(origin.client, event.packet(0, &[]), &[]);
                }
            }
        }
        self.entered.insert(id, (entered, origin));
    }

    fn unpacked(&mut self, id: u64) {
        let Some((unpack, origin)) = self.unpacks.get_mut(&id) else { return };
        let (origin, Some(result)) = (*origin, unpack.advance(&self.context.shared.state)) else { return };
        let made = self.unpacks.remove(&id).and_then(|(unpack, _)| unpack.made);
        match (result, made) {
            (Err(failure), Some((_, directory))) => self.discard(&directory, origin, Reply::Failed(failure)),
            (Err(failure), None) => self.reply(origin, &Reply::Failed(failure), &[]),
            (Ok(report), Some(_)) => self.reply(origin, &Reply::Unpacked(report), &[]),
            (Ok(LayerReport { entries, bytes, .. }), None) => {
                self.reply(origin, &Reply::DiskUsage(DiskUsage { entries, bytes }), &[]);
            }
        }
    }

    /// Removes a directory of the store that is not visible any more, then replies.
    fn discard(&mut self, directory: &Path, origin: Origin, reply: Reply) {
        match layers::abandon_in_child(&self.context.shared.proof, directory) {
            Some(child) => {
                let id = self.new_id();
                self.removals.insert(id, (child, origin, reply));
            }
            None => self.reply(origin, &reply, &[]),
        }
    }

    fn removed(&mut self, id: u64) {
        if self.removals.get(&id).and_then(|(child, ..)| reap(child)).is_none() {
            return;
        }
        if let Some((_, origin, reply)) = self.removals.remove(&id) {
            self.reply(origin, &reply, &[]);
        }
    }

    fn reply(&self, origin: Origin, reply: &Reply, descriptors: &[(&str, BorrowedFd<'_>)]) {
        let (names, descriptors): (Vec<_>, Vec<_>) = descriptors.iter().copied().unzip();
        self.send(origin.client, reply.packet(origin.number, &names), &descriptors);
    }

    /// A client that does not read its answers loses the connection: the loop does not wait for it.
    fn send(&self, client: u64, packet: Result<Vec<u8>, casemate_wire::Error>, descriptors: &[BorrowedFd<'_>]) {
        let Some(Client { socket, .. }) = self.clients.get(&client) else { return };
        let packet = packet.map_err(|_| Errno::MSGSIZE);
        if packet.and_then(|bytes| socket::send(socket, &bytes, descriptors)).is_err() {
            let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
        }
    }
}
