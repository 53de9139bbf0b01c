//! The messages between the manager and casemate-fetch: the configuration once, then one request and one reply at a time.
//!
//! A message is one SOCK_SEQPACKET packet, encoded like those of casemate-wire. The bytes of a document or blob are never part of
//! a message. They go through a pipe whose one end comes with the request: the write end for a download, the read end for an
//! upload. Closing the write end ends the bytes. So casemate-fetch has no file open, and cannot change a byte after the manager
//! has hashed it. This crate does no I/O.
#![forbid(unsafe_code)]

mod secret;

pub use secret::Secret;

use casemate_wire::{Digest, Error};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The descriptor of the connection to the manager; systemd passes one under the same number.
pub const SOCKET: i32 = 3;
/// The most bytes of an encoded [`FetchConfig`].
pub const MAX_CONFIG: usize = 4 << 20;
/// The most bytes of a manifest, an index, or a config.
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// The servers that casemate-fetch may connect to, and how. It comes in a memfd with [`Request::Configure`], the first request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchConfig {
    /// Requests refer to a registry by its index in this list.
    pub registries: Vec<Registry>,
}

/// A registry of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// The servers to try in this order: its mirrors, then the registry itself.
    pub endpoints: Vec<Endpoint>,
}

/// A server with a registry's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Use TLS. False only where the file says `insecure`.
    pub secure: bool,
    /// Host name or address; an IPv6 address in brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Prefix of repository paths, without slashes at its ends; mostly empty.
    pub prefix: String,
    /// Certificate authorities besides the host's, PEM.
    pub authorities: Vec<u8>,
    /// Credentials for this server.
    pub login: Option<Login>,
    /// `http://HOST:PORT`.
    pub proxy: Option<String>,
    /// TCP ports of its token server and redirect targets, besides 443 and its own.
    pub ports: Vec<u16>,
}

/// Credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Login {
    /// User and password.
    Password {
        /// User.
        user: Secret,
        /// Password.
        password: Secret,
    },
    /// An OAuth2 refresh token (docker's `identitytoken`).
    RefreshToken(Secret),
}

/// A request of the manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// With it: the memfd with the [`FetchConfig`]. Reply: [`Reply::Ready`] once casemate-fetch is confined to it.
    Configure,
    /// With it: the read end of a pipe. Reply: [`Reply::Done`] once the registry has the object. The pipe is not read if the registry
    /// had it before.
    Put(Put),
    /// With it: the write end of a pipe. Reply: [`Reply::Done`] or [`Reply::Failed`], after the last byte.
    Get(Get),
}

/// A download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// Index in [`FetchConfig::registries`].
    pub registry: u16,
    /// The first endpoint to try; those before it have sent wrong bytes.
    pub first: u16,
    /// The repository's path.
    pub repository: String,
    /// The object to download.
    pub object: Object,
}

/// An upload to the registry itself, never to a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// Index in [`FetchConfig::registries`].
    pub registry: u16,
    /// The repository's path.
    pub repository: String,
    /// Bytes that come through the pipe.
    pub size: u64,
    /// The object to upload.
    pub object: PushObject,
}

/// An object to upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PushObject {
    /// A blob.
    Blob(Digest),
    /// A manifest, after all blobs that it refers to.
    Manifest {
        /// The manifest's digest.
        digest: Digest,
        /// The tag to give it.
        tag: Option<String>,
        /// The manifest's media type.
        media_type: String,
    },
}

/// An object of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    /// The manifest or index that a tag names.
    Tag(String),
    /// A manifest or index.
    Manifest(Digest),
    /// A blob.
    Blob {
        /// The blob's digest.
        digest: Digest,
        /// The blob's size in bytes; no more are passed on.
        size: u64,
        /// The first byte to download.
        offset: u64,
    },
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, "{tag}"),
            Self::Manifest(digest) | Self::Blob { digest, .. } => write!(f, "{digest}"),
        }
    }
}

/// A reply of casemate-fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// casemate-fetch has its configuration and is confined to it.
    Ready,
    /// The transfer is complete.
    Done(Done),
    /// The transfer failed; bytes that were passed on are incomplete.
    Failed(Failure),
}

/// A complete transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Index of the first endpoint that sent bytes of the object.
    pub endpoint: u16,
    /// `Content-Type` of a manifest or an index; empty where the server sent none.
    pub media_type: String,
}

/// Why a transfer failed. Holds no secrets; texts may come from a hostile server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step that failed.
    pub step: Step,
    /// The server of the step, `host:port`; empty where the step has none.
    pub server: String,
    /// HTTP status, where there was one.
    pub status: Option<u16>,
    /// errno, where there was one.
    pub errno: Option<i32>,
    /// The cause, where the user can remove it.
    pub cause: Option<Cause>,
    /// The reason as text.
    pub reason: String,
}

/// A cause of a failure that a key of the file removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The server's certificate was not issued by a known certificate authority.
    UnknownIssuer,
    /// The server does not speak TLS.
    NoTls,
}

/// A step of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Confining casemate-fetch.
    Confine,
    /// Reading a request.
    Read,
    /// Resolving a host name.
    Resolve,
    /// Connecting by TCP, the proxy and TLS.
    Connect,
    /// Getting a token.
    LogIn,
    /// Following a redirect.
    Redirect,
    /// Sending to a registry.
    Send,
    /// The HTTP request and its response header.
    Request,
    /// Receiving the body.
    Receive,
    /// Comparing the body's size with the descriptor's, or with the limit of a document.
    Compare,
    /// Writing to the pipe.
    PassOn,
}

impl Step {
    /// The step's name in error messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confine => "confine itself",
            Self::Read => "read the request",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::LogIn => "log in",
            Self::Redirect => "follow a redirect",
            Self::Send => "send",
            Self::Request => "request",
            Self::Receive => "receive",
            Self::Compare => "compare the size",
            Self::PassOn => "write to the pipe",
        }
    }
}

/// Encodes a configuration for the memfd.
pub fn encode_config(config: &FetchConfig) -> Result<Vec<u8>, TooLong> {
    match postcard::to_allocvec(config) {
        Ok(bytes) if bytes.len() <= MAX_CONFIG => Ok(bytes),
        _ => Err(TooLong),
    }
}

/// The encoded configuration is longer than [`MAX_CONFIG`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "registries, mirrors and certificate authorities together are more than {MAX_CONFIG} bytes")
    }
}

impl std::error::Error for TooLong {}

/// Decodes a configuration; every byte has to belong to it.
pub fn decode_config(bytes: &[u8]) -> Option<FetchConfig> {
    match postcard::take_from_bytes(bytes) {
        Ok((config, [])) if bytes.len() <= MAX_CONFIG => Some(config),
        _ => None,
    }
}

/// Encodes a request or a reply.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, Error> {
    casemate_wire::encode(message)
}

/// Decodes a request.
pub fn decode_request(bytes: &[u8]) -> Result<Request, Error> {
    casemate_wire::decode(bytes)
}

/// Decodes a reply.
pub fn decode_reply(bytes: &[u8]) -> Result<Reply, Error> {
    casemate_wire::decode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint {
            secure: true,
            host: "registry.site.example".to_owned(),
            port: 443,
            prefix: String::new(),
            authorities: b"-----BEGIN".to_vec(),
            login: Some(Login::Password { user: Secret::new("u"), password: Secret::new("p4ssw0rd") }),
            proxy: None,
            ports: vec![5001],
        }
    }

    #[test]
    fn config_round_trips_or_is_refused() {
        let config = FetchConfig { registries: vec![Registry { endpoints: vec![endpoint()] }] };
        let bytes = encode_config(&config).unwrap();
        assert_eq!(decode_config(&bytes), Some(config));
        assert_eq!(decode_config(&bytes[1..]), None);
        assert_eq!(decode_config(&[&bytes[..], b"x"].concat()), None);
        let mut long = endpoint();
        long.authorities = vec![b'a'; MAX_CONFIG];
        assert_eq!(encode_config(&FetchConfig { registries: vec![Registry { endpoints: vec![long] }] }), Err(TooLong));
    }

    #[test]
    fn threat_16_debug_output_hides_secrets() {
        let shown = format!("{:?}", endpoint());
        assert!(!shown.contains("p4ssw0rd"), "{shown}");
    }

    #[test]
    fn messages_round_trip() {
        let digest = Digest::from_bytes([1; 32]);
        let object = Object::Blob { digest, size: 7, offset: 3 };
        let request = Request::Get(Get { registry: 0, first: 1, repository: "a/b".to_owned(), object });
        assert_eq!(decode_request(&encode(&request).unwrap()), Ok(request));
        let reply = Reply::Failed(Failure {
            step: Step::Request,
            server: "a:443".to_owned(),
            status: Some(404),
            errno: None,
            cause: None,
            reason: "no".to_owned(),
        });
        assert_eq!(decode_reply(&encode(&reply).unwrap()), Ok(reply));
        assert!(decode_reply(b"\xff").is_err());
    }
}
