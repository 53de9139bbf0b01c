//! The connection to the manager: the configuration, then requests, each answered before the next is read.

use crate::client::{Client, Clients, ObjectRequest};
use crate::confine;
use crate::error::{Error, Retry};
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

/// Maximum size of a request: a repository path and a digest.
const MAX_REQUEST: usize = 4096;
/// Media types of manifests and indexes.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
const ANYTHING: &str = "*/*";

/// Serves one connection to its end. An error is sent to the manager too.
pub fn serve(socket: &OwnedFd) -> Result<(), Failure> {
    let report = |error: Error| {
        let failure = error.failure;
        // Fails only if the connection is closed.
        let _ = reply(socket, &Reply::Failed(failure.clone()));
        failure
    };
    let (mut registries, watch) = prepare(socket).map_err(report)?;
    reply(socket, &Reply::Ready).map_err(report)?;
    let mut buffer = vec![0; MAX_REQUEST];
    loop {
        let Some((request, descriptor)) = receive(socket, &mut buffer).map_err(report)? else { return Ok(()) };
        let outcome = match (request, descriptor) {
            (Request::Get(get), Some(pipe)) => match registries.get_mut(usize::from(get.registry)) {
                Some(clients) => get_from_registry(clients, &get, File::from(pipe), &watch),
                None => Err(Error::stop(Step::Read, "no such registry in the configuration")),
            },
            // The last server is the registry itself.
            (Request::Put(put), Some(pipe)) => {
                match registries.get_mut(usize::from(put.registry)).and_then(|clients| clients.last_mut()) {
                    Some(client) => {
                        client.put(&put, File::from(pipe)).map(|()| Done { endpoint: 0, media_type: String::new() })
                    }
                    None => Err(Error::stop(Step::Read, "no such registry in the configuration")),
                }
            }
            _ => return Err(report(Error::stop(Step::Read, "not a request with a pipe"))),
        };
        let answer = match outcome {
            Ok(done) => Reply::Done(done),
            Err(error) => Reply::Failed(error.failure),
        };
        reply(socket, &answer).map_err(report)?;
    }
}

/// Reads the files of the host, confines this process, receives the configuration, restricts this process to its TCP ports.
fn prepare(socket: &OwnedFd) -> Result<(Vec<Vec<Client>>, Arc<Watch>), Error> {
    let host = Host::read();
    confine::at_first().map_err(|error| Error::stop(Step::Confine, error.to_string()))?;
    let config = match receive(socket, &mut [0; MAX_REQUEST])? {
        Some((Request::Configure, Some(memory))) => config(memory)?,
        _ => return Err(Error::stop(Step::Read, "the configuration does not come first")),
    };
    confine::to_ports(ports(&config)).map_err(|error| Error::stop(Step::Confine, error.to_string()))?;
    let copy = rustix::io::fcntl_dupfd_cloexec(socket, 3).map_err(|errno| Error::io(Step::Read, &errno.into()))?;
    let watch = Watch::new(copy);
    let mut clients = Clients::new(&host, &watch);
    let mut registries = Vec::new();
    for registry in config.registries {
        let endpoints = registry.endpoints.into_iter().map(|endpoint| clients.client(endpoint));
        registries.push(endpoints.collect::<Result<_, _>>()?);
    }
    Ok((registries, watch))
}

fn config(memory: OwnedFd) -> Result<FetchConfig, Error> {
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    let mut file = File::from(memory).take(MAX_CONFIG as u64 + 1);
    file.read_to_end(&mut bytes).map_err(|error| Error::io(Step::Read, &error))?;
    decode_config(&bytes).ok_or_else(|| Error::stop(Step::Read, "the configuration is malformed"))
}

/// The TCP ports that may be connected to: those of servers and proxies, 443 for redirects, and `ports` of the file.
fn ports(config: &FetchConfig) -> Vec<u16> {
    let endpoints = config.registries.iter().flat_map(|registry| &registry.endpoints);
    let own = endpoints.flat_map(|endpoint| {
        let proxy = endpoint.proxy.as_ref().and_then(|proxy| ureq::Proxy::new(proxy).ok()).map(|proxy| proxy.port());
        endpoint.ports.iter().copied().chain([endpoint.port]).chain(proxy)
    });
    own.chain([443]).collect()
}

/// Serves one request from the servers of a registry, in order.
fn get_from_registry(clients: &mut [Client], get: &Get, mut pipe: File, watch: &Watch) -> Result<Done, Error> {
    let mut rest = match get.object {
        Object::Blob { size, offset, .. } => Rest { at: offset, size },
        Object::Tag(_) | Object::Manifest(_) => Rest { at: 0, size: 0 },
    };
    let start = rest.at;
    let mut endpoint = None;
    let mut before = String::new();
    let mut last = Error::stop(Step::Read, "no such server of this registry");
    let servers = clients.iter_mut().enumerate().skip(usize::from(get.first));
    for (number, client) in servers {
        let at = rest.at;
        let outcome = get_from_server(client, get, &mut rest, &mut pipe, watch);
        if outcome.is_ok() || rest.at > at {
            endpoint = endpoint.or(u16::try_from(number).ok());
        }
        match outcome {
            Ok(media_type) => return Ok(Done { endpoint: endpoint.unwrap_or(0), media_type }),
            Err(error) => last = error.with_server(&client.server()),
        }
        if last.retry == Retry::Stop {
            break;
        }
        before = format!("{before}; {}: {}{}", last.failure.server, last.failure.step.as_str(), detail(&last.failure));
    }
    // The failure is that of the registry itself, with the reasons of its mirrors.
    let earlier = before.rsplit_once("; ").map_or("", |(earlier, _)| earlier).trim_start_matches("; ");
    if !earlier.is_empty() {
        last.failure.reason = format!("{} (before that {earlier})", last.failure.reason).chars().take(1000).collect();
    }
    debug_assert!(rest.at >= start);
    Err(last)
}

/// Status, errno and reason of a failure, as text.
fn detail(failure: &Failure) -> String {
    let status = failure.status.map(|status| format!(": HTTP status {status}"));
    let errno = failure.errno.map(|errno| format!(": {}", rustix::io::Errno::from_raw_os_error(errno)));
    let reason = Some(&failure.reason).filter(|reason| !reason.is_empty()).map(|reason| format!(": {reason}"));
    [status, errno, reason].into_iter().flatten().collect()
}

/// Serves one request from one server, with retries.
fn get_from_server(
    client: &mut Client,
    get: &Get,
    rest: &mut Rest,
    pipe: &mut File,
    watch: &Watch,
) -> Result<String, Error> {
    let mut attempts = Attempts::new(rest.at);
    loop {
        let error = match get_once(client, get, rest, pipe, watch) {
            Ok(media_type) => return Ok(media_type),
            Err(error) => error,
        };
        let number = attempts.failed(rest.at);
        let mut chance = [0; 4];
        let _ = rustix::rand::getrandom(&mut chance, rustix::rand::GetRandomFlags::empty());
        match retry::pause(error.retry, number, u32::from_ne_bytes(chance)) {
            Some(time) => watch.pause(time).map_err(|error| Error::io(Step::PassOn, &error))?,
            None => return Err(error),
        }
    }
}

fn get_once(client: &mut Client, get: &Get, rest: &mut Rest, pipe: &mut File, watch: &Watch) -> Result<String, Error> {
    let object = &get.object;
    match object {
        Object::Blob { .. } if rest.at == rest.size && rest.size > 0 => Ok(String::new()),
        Object::Blob { .. } => {
            let path = format!("blobs/{object}");
            let response =
                client.get(&get.repository, ObjectRequest { path: &path, accept: ANYTHING, from: rest.at })?;
            stream::blob(response, rest, pipe, watch)?;
            Ok(String::new())
        }
        Object::Tag(_) | Object::Manifest(_) => {
            let path = format!("manifests/{object}");
            let response = client.get(&get.repository, ObjectRequest { path: &path, accept: MANIFESTS, from: 0 })?;
            let (bytes, media_type) = stream::document(response, watch)?;
            stream::pass_on(pipe, &bytes)?;
            Ok(media_type)
        }
    }
}

/// A request with its descriptor; `None` at the end of the connection.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Result<Option<(Request, Option<OwnedFd>)>, Error> {
    let received = socket::receive(socket, buffer).map_err(|errno| Error::io(Step::Read, &errno.into()))?;
    let Some((length, mut descriptors)) = received else { return Ok(None) };
    let request = decode_request(buffer.get(..length).unwrap_or_default())
        .map_err(|_| Error::stop(Step::Read, "the request is malformed"))?;
    Ok(Some((request, descriptors.pop())))
}

fn reply(socket: &OwnedFd, reply: &Reply) -> Result<(), Error> {
    let bytes = encode(reply).map_err(|error| Error::stop(Step::Read, error.to_string()))?;
    socket::send(socket, &bytes, &[]).map_err(|errno| Error::io(Step::Read, &errno.into()))
}
