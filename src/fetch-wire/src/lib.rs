//! What the manager and casemate-fetch tell each other: terms once, then one request and one reply at a time.
//!
//! A message is one SOCK_SEQPACKET packet, encoded as those of casemate-wire are. The bytes of a document or blob never come in a
//! message: the request carries an end of a pipe, the writing one for what is brought and the reading one for what is sent, and closing
//! the writing end ends them. So casemate-fetch holds no file, and cannot change a byte that it brought after the manager has hashed
//! it. This crate does no I/O.
#![forbid(unsafe_code)]

mod secret;

pub use secret::Secret;

use casemate_wire::{Digest, Error};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where casemate-fetch finds its connection; systemd hands one over under the same number.
pub const SOCKET: i32 = 3;
/// The most bytes of encoded [`Terms`].
pub const MAX_TERMS: usize = 4 << 20;
/// The most bytes of a manifest, an index, or a config.
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// With whom this process may speak, and how. Comes in a memfd beside [`Request::Terms`], and is the first that comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Requests name one by its place in this list.
    pub registries: Vec<Registry>,
}

/// One registry of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// Its mirrors in their order, then itself.
    pub endpoints: Vec<Endpoint>,
}

/// One server that has a registry's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// TLS; without it only where the file says `insecure`.
    pub secure: bool,
    /// Name or address, an IPv6 address in brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// What stands before the repository's path, without slashes at its ends; mostly empty.
    pub prefix: String,
    /// More certificate authorities than the host's, PEM.
    pub authorities: Vec<u8>,
    /// Who we are to this server.
    pub login: Option<Login>,
    /// `http://HOST:PORT`.
    pub proxy: Option<String>,
    /// TCP ports that its token server or its redirects may use besides 443 and its own.
    pub ports: Vec<u16>,
}

/// How to log in.
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

/// What the manager asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Beside it: the memfd with [`Terms`]. Answered by [`Reply::Ready`] when this process has confined itself.
    Terms,
    /// Beside it: the reading end of a pipe. Answered by [`Reply::Done`] when the registry has it; what it has already is not read.
    Put(Put),
    /// Beside it: the writing end of a pipe. Answered by [`Reply::Done`] or [`Reply::Failed`] when all is written.
    Get(Get),
}

/// One thing to bring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// Place in [`Terms::registries`].
    pub registry: u16,
    /// The endpoint to begin with; those before it have given wrong bytes.
    pub first: u16,
    /// The repository's path.
    pub repository: String,
    /// What of it.
    pub object: Object,
}

/// One thing to send to a registry itself, never to a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// Place in [`Terms::registries`].
    pub registry: u16,
    /// The repository's path.
    pub repository: String,
    /// Bytes in the pipe.
    pub size: u64,
    /// What they are.
    pub what: Sent,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sent {
    /// A blob.
    Blob(Digest),
    /// A manifest, after all that it names.
    Manifest {
        /// Its digest.
        digest: Digest,
        /// The tag that is to name it.
        tag: Option<String>,
        /// Its type.
        media_type: String,
    },
}

/// A thing of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    /// The manifest or index that a tag names.
    Tag(String),
    /// A manifest or index.
    Manifest(Digest),
    /// A blob.
    Blob {
        /// Its digest.
        digest: Digest,
        /// Its bytes: not one more is passed on.
        size: u64,
        /// Where to begin.
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

/// What casemate-fetch answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is confined and has the terms.
    Ready,
    /// Everything is in the pipe.
    Done(Done),
    /// What is in the pipe is not all of it.
    Failed(Failure),
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The first endpoint that gave bytes of it.
    pub endpoint: u16,
    /// `Content-Type`, for a manifest or an index; empty where the server has none.
    pub media_type: String,
}

/// Why it did not come. Nothing in here is secret; texts may come from a hostile server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which step failed.
    pub step: Step,
    /// With which server, `host:port`; empty where it is none's.
    pub server: String,
    /// HTTP status, where there was one.
    pub status: Option<u16>,
    /// errno, where there was one.
    pub errno: Option<i32>,
    /// In words.
    pub reason: String,
}

/// A step on the way to the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// This process's own confinement.
    Confine,
    /// Understanding a request.
    Read,
    /// Name to address.
    Resolve,
    /// TCP, TLS, and the proxy's part in it.
    Connect,
    /// Getting a token.
    LogIn,
    /// A server sent us elsewhere.
    Redirect,
    /// Sending to a registry.
    Send,
    /// Asking and being answered.
    Request,
    /// The bytes themselves.
    Receive,
    /// Their number is not the promised one, or more than a document may have.
    Compare,
    /// Into the pipe.
    PassOn,
}

impl Step {
    /// As it stands in an error.
    pub const fn words(self) -> &'static str {
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
            Self::Compare => "compare with what was promised",
            Self::PassOn => "pass on",
        }
    }
}

/// The terms as they go into the memfd.
pub fn encode_terms(terms: &Terms) -> Result<Vec<u8>, TooLong> {
    match postcard::to_allocvec(terms) {
        Ok(bytes) if bytes.len() <= MAX_TERMS => Ok(bytes),
        _ => Err(TooLong),
    }
}

/// The terms of a connection are more than [`MAX_TERMS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "registries, mirrors and certificate authorities together are more than {MAX_TERMS} bytes")
    }
}

impl std::error::Error for TooLong {}

/// Reads terms back; every byte must be used.
pub fn decode_terms(bytes: &[u8]) -> Option<Terms> {
    match postcard::take_from_bytes(bytes) {
        Ok((terms, [])) if bytes.len() <= MAX_TERMS => Some(terms),
        _ => None,
    }
}

/// Encodes a request or a reply.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, Error> {
    casemate_wire::encode(message)
}

/// Reads a request.
pub fn decode_request(bytes: &[u8]) -> Result<Request, Error> {
    casemate_wire::decode(bytes)
}

/// Reads a reply.
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
    fn terms_come_back_whole_or_not_at_all() {
        let terms = Terms { registries: vec![Registry { endpoints: vec![endpoint()] }] };
        let bytes = encode_terms(&terms).unwrap();
        assert_eq!(decode_terms(&bytes), Some(terms));
        assert_eq!(decode_terms(&bytes[1..]), None);
        assert_eq!(decode_terms(&[&bytes[..], b"x"].concat()), None);
        let mut long = endpoint();
        long.authorities = vec![b'a'; MAX_TERMS];
        assert_eq!(encode_terms(&Terms { registries: vec![Registry { endpoints: vec![long] }] }), Err(TooLong));
    }

    #[test]
    fn threat_16_what_is_secret_is_not_shown() {
        let shown = format!("{:?}", endpoint());
        assert!(!shown.contains("p4ssw0rd"), "{shown}");
    }

    #[test]
    fn messages_come_back() {
        let digest = Digest::from_bytes([1; 32]);
        let object = Object::Blob { digest, size: 7, offset: 3 };
        let request = Request::Get(Get { registry: 0, first: 1, repository: "a/b".to_owned(), object });
        assert_eq!(decode_request(&encode(&request).unwrap()), Ok(request));
        let reply = Reply::Failed(Failure {
            step: Step::Request,
            server: "a:443".to_owned(),
            status: Some(404),
            errno: None,
            reason: "no".to_owned(),
        });
        assert_eq!(decode_reply(&encode(&reply).unwrap()), Ok(reply));
        assert!(decode_reply(b"\xff").is_err());
    }
}
