//! The conversation with the manager: terms, then requests, each answered in full before the next.

use crate::client::{Ask, Client, Clients};
use crate::confine;
use crate::fault::{Fault, Then};
use crate::host::Host;
use crate::retry::{self, Attempts};
use crate::stream::{self, Rest};
use crate::transport::Watch;
use casemate_fetch_wire::{
    Done, Failure, FetchConfig, Get, MAX_CONFIG, Object, Reply, Request, Step, decode_config, decode_request, encode,
};
use casemate_sys::socket;
use rustix::fd::OwnedFd;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

/// A request is small: a repository's path and a digest.
const MAX_REQUEST: usize = 4096;
/// What a manifest or an index may be.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
const ANYTHING: &str = "*/*";

/// Serves one connection to its end. The error is told to the manager as well.
pub fn serve(socket: &OwnedFd) -> Result<(), Failure> {
    let told = |fault: Fault| {
        let failure = fault.failure;
        // Without a connection there is nobody to tell.
        let _ = reply(socket, &Reply::Failed(failure.clone()));
        failure
    };
    let (mut registries, watch) = prepare(socket).map_err(told)?;
    reply(socket, &Reply::Ready).map_err(told)?;
    let mut buffer = vec![0; MAX_REQUEST];
    loop {
        let Some((request, descriptor)) = receive(socket, &mut buffer).map_err(told)? else { return Ok(()) };
        let outcome = match (request, descriptor) {
            (Request::Get(get), Some(pipe)) => match registries.get_mut(usize::from(get.registry)) {
                Some(clients) => bring(clients, &get, File::from(pipe), &watch),
                None => Err(Fault::stop(Step::Read, "no such registry in the configuration")),
            },
            // The last is the registry itself.
            (Request::Put(put), Some(pipe)) => {
                match registries.get_mut(usize::from(put.registry)).and_then(|clients| clients.last_mut()) {
                    Some(client) => {
                        client.put(&put, File::from(pipe)).map(|()| Done { endpoint: 0, media_type: String::new() })
                    }
                    None => Err(Fault::stop(Step::Read, "no such registry in the configuration")),
                }
            }
            _ => return Err(told(Fault::stop(Step::Read, "not a request with a pipe"))),
        };
        let answer = match outcome {
            Ok(done) => Reply::Done(done),
            Err(fault) => Reply::Failed(fault.failure),
        };
        reply(socket, &answer).map_err(told)?;
    }
}

/// Reads the host, confines itself, reads the terms, confines itself to their ports.
fn prepare(socket: &OwnedFd) -> Result<(Vec<Vec<Client>>, Arc<Watch>), Fault> {
    let host = Host::read();
    confine::at_first().map_err(|fault| Fault::stop(Step::Confine, fault.to_string()))?;
    let config = match receive(socket, &mut [0; MAX_REQUEST])? {
        Some((Request::Configure, Some(memory))) => config(memory)?,
        _ => return Err(Fault::stop(Step::Read, "the configuration does not come first")),
    };
    confine::to_ports(ports(&config)).map_err(|fault| Fault::stop(Step::Confine, fault.to_string()))?;
    let copy = rustix::io::fcntl_dupfd_cloexec(socket, 3).map_err(|errno| Fault::io(Step::Read, &errno.into()))?;
    let watch = Watch::new(copy);
    let mut clients = Clients::new(&host, &watch);
    let mut registries = Vec::new();
    for registry in config.registries {
        let endpoints = registry.endpoints.into_iter().map(|endpoint| clients.client(endpoint));
        registries.push(endpoints.collect::<Result<_, _>>()?);
    }
    Ok((registries, watch))
}

fn config(memory: OwnedFd) -> Result<FetchConfig, Fault> {
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    let mut file = File::from(memory).take(MAX_CONFIG as u64 + 1);
    file.read_to_end(&mut bytes).map_err(|error| Fault::io(Step::Read, &error))?;
    decode_config(&bytes).ok_or_else(|| Fault::stop(Step::Read, "the configuration is malformed"))
}

/// Every TCP port that is in use: those of the servers and proxies, 443 for what they send us to, and what the file adds.
fn ports(config: &FetchConfig) -> Vec<u16> {
    let endpoints = config.registries.iter().flat_map(|registry| &registry.endpoints);
    let own = endpoints.flat_map(|endpoint| {
        let proxy = endpoint.proxy.as_ref().and_then(|proxy| ureq::Proxy::new(proxy).ok()).map(|proxy| proxy.port());
        endpoint.ports.iter().copied().chain([endpoint.port]).chain(proxy)
    });
    own.chain([443]).collect()
}

/// One request over all servers of the registry from its first on.
fn bring(clients: &mut [Client], get: &Get, mut pipe: File, watch: &Watch) -> Result<Done, Fault> {
    let mut rest = match get.object {
        Object::Blob { size, offset, .. } => Rest { at: offset, size },
        Object::Tag(_) | Object::Manifest(_) => Rest { at: 0, size: 0 },
    };
    let start = rest.at;
    let mut giver = None;
    let mut before = String::new();
    let mut last = Fault::stop(Step::Read, "no such server of this registry");
    let servers = clients.iter_mut().enumerate().skip(usize::from(get.first));
    for (number, client) in servers {
        let at = rest.at;
        let outcome = insist(client, get, &mut rest, &mut pipe, watch);
        if outcome.is_ok() || rest.at > at {
            giver = giver.or(u16::try_from(number).ok());
        }
        match outcome {
            Ok(media_type) => return Ok(Done { endpoint: giver.unwrap_or(0), media_type }),
            Err(fault) => last = fault.with(&client.server()),
        }
        if last.then == Then::Stop {
            break;
        }
        before = format!("{before}; {}: {}{}", last.failure.server, last.failure.step.as_str(), words(&last.failure));
    }
    // The last is the registry itself, and the others' reasons belong to it.
    let earlier = before.rsplit_once("; ").map_or("", |(earlier, _)| earlier).trim_start_matches("; ");
    if !earlier.is_empty() {
        last.failure.reason = format!("{} (before it {earlier})", last.failure.reason).chars().take(1000).collect();
    }
    debug_assert!(rest.at >= start);
    Err(last)
}

/// What a failure says behind its step.
fn words(failure: &Failure) -> String {
    let status = failure.status.map(|status| format!(": HTTP status {status}"));
    let errno = failure.errno.map(|errno| format!(": {}", rustix::io::Errno::from_raw_os_error(errno)));
    let reason = Some(&failure.reason).filter(|reason| !reason.is_empty()).map(|reason| format!(": {reason}"));
    [status, errno, reason].into_iter().flatten().collect()
}

/// One server, again and again while that makes sense.
fn insist(client: &mut Client, get: &Get, rest: &mut Rest, pipe: &mut File, watch: &Watch) -> Result<String, Fault> {
    let mut attempts = Attempts::new(rest.at);
    loop {
        let fault = match once(client, get, rest, pipe, watch) {
            Ok(media_type) => return Ok(media_type),
            Err(fault) => fault,
        };
        let number = attempts.failed(rest.at);
        let mut chance = [0; 4];
        let _ = rustix::rand::getrandom(&mut chance, rustix::rand::GetRandomFlags::empty());
        match retry::pause(fault.then, number, u32::from_ne_bytes(chance)) {
            Some(time) => watch.pause(time).map_err(|error| Fault::io(Step::PassOn, &error))?,
            None => return Err(fault),
        }
    }
}

fn once(client: &mut Client, get: &Get, rest: &mut Rest, pipe: &mut File, watch: &Watch) -> Result<String, Fault> {
    let object = &get.object;
    match object {
        Object::Blob { .. } if rest.at == rest.size && rest.size > 0 => Ok(String::new()),
        Object::Blob { .. } => {
            let path = format!("blobs/{object}");
            let response = client.get(&get.repository, Ask { path: &path, accept: ANYTHING, from: rest.at })?;
            stream::blob(response, rest, pipe, watch)?;
            Ok(String::new())
        }
        Object::Tag(_) | Object::Manifest(_) => {
            let path = format!("manifests/{object}");
            let response = client.get(&get.repository, Ask { path: &path, accept: MANIFESTS, from: 0 })?;
            let (bytes, media_type) = stream::document(response, watch)?;
            stream::pass_on(pipe, &bytes)?;
            Ok(media_type)
        }
    }
}

/// A request and the descriptor beside it; `None` at the end of the connection.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Result<Option<(Request, Option<OwnedFd>)>, Fault> {
    let received = socket::receive(socket, buffer).map_err(|errno| Fault::io(Step::Read, &errno.into()))?;
    let Some((length, mut descriptors)) = received else { return Ok(None) };
    let request = decode_request(buffer.get(..length).unwrap_or_default())
        .map_err(|_| Fault::stop(Step::Read, "the request is malformed"))?;
    Ok(Some((request, descriptors.pop())))
}

fn reply(socket: &OwnedFd, reply: &Reply) -> Result<(), Fault> {
    let bytes = encode(reply).map_err(|error| Fault::stop(Step::Read, error.to_string()))?;
    socket::send(socket, &bytes, &[]).map_err(|errno| Fault::io(Step::Read, &errno.into()))
}
