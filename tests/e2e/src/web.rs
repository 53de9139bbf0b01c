//! A web server of the tests' own, with and without TLS: it answers as a test defines, right or wrong, and remembers what it was
//! asked.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A certificate authority of one test.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A server's certificate and key.
#[derive(Debug, Clone)]
pub struct Identity {
    /// DER.
    pub certificate: Vec<u8>,
    /// DER, PKCS 8.
    pub key: Vec<u8>,
    /// PEM.
    pub certificate_pem: String,
    /// PEM.
    pub key_pem: String,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this machine's loopback.
    pub fn identity(&self) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity {
            certificate: certificate.der().to_vec(),
            key: key.serialize_der(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// One request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `GET`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Everything up to the empty line.
    pub head: String,
}

impl Asked {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Where an answer is written to.
pub trait Out: Write {}
impl<T: Write> Out for T {}

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct Web {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    /// Starts one on loopback, with TLS if it has an authority. `answer` writes a whole answer; `false`: the connection ends.
    pub fn start(
        authority: Option<&Authority>,
        answer: impl Fn(&Asked, &mut dyn Write) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = authority.map(|authority| Arc::new(server_config(&authority.identity())));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let answer = Arc::new(answer);
        let list = Arc::clone(&asked);
        let end = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let tls = tls.clone();
                let list = Arc::clone(&list);
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || serve(stream, tls, &list, &*answer));
            }
        });
        Self { port, asked, over, thread: Some(thread) }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`.
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it was asked up to now.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // It is in accept.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn server_config(identity: &Identity) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.clone()));
    let chain = vec![CertificateDer::from(identity.certificate.clone())];
    builder.with_no_client_auth().with_single_cert(chain, key).unwrap()
}

type Answer = dyn Fn(&Asked, &mut dyn Write) -> bool + Send + Sync;

fn serve(stream: TcpStream, tls: Option<Arc<ServerConfig>>, list: &Mutex<Vec<Asked>>, answer: &Answer) {
    stream.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
    match tls {
        Some(config) => converse(StreamOwned::new(ServerConnection::new(config).unwrap(), stream), list, answer),
        None => converse(stream, list, answer),
    }
}

fn converse(mut stream: impl Read + Write, list: &Mutex<Vec<Asked>>, answer: &Answer) {
    while let Some(asked) = read_request(&mut stream) {
        list.lock().unwrap().push(asked.clone());
        if !answer(&asked, &mut stream) || stream.flush().is_err() {
            return;
        }
    }
}

fn read_request(stream: &mut impl Read) -> Option<Asked> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
        assert!(head.len() < 65_536);
    }
    let head = String::from_utf8(head).unwrap();
    let mut words = head.split(' ');
    let method = words.next()?.to_owned();
    let path = words.next()?.to_owned();
    let asked = Asked { method, path, head };
    if let Some(length) = asked.header("content-length") {
        stream.read_exact(&mut vec![0; length.parse().unwrap()]).ok()?;
    }
    Some(asked)
}

/// Writes a whole answer; the connection goes on.
pub fn answer(out: &mut dyn Write, status: &str, headers: &str, body: &[u8]) -> bool {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    out.write_all(head.as_bytes()).and_then(|()| out.write_all(body)).is_ok()
}

/// Answers as a registry that has all blobs of an OCI layout in each of its repositories, ranges included.
pub fn layout(layout: &Path, asked: &Asked, out: &mut dyn Write) -> bool {
    let digest = asked.path.rsplit_once("sha256:").map_or("", |(_, hex)| hex);
    let Ok(bytes) = fs::read(layout.join("blobs/sha256").join(digest)) else {
        return answer(out, "404 Not Found", "", b"{}");
    };
    if asked.path.contains("/manifests/") {
        let document: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let kind = document["mediaType"].as_str().unwrap_or("application/vnd.oci.image.index.v1+json").to_owned();
        return answer(out, "200 OK", &format!("Content-Type: {kind}\r\n"), &bytes);
    }
    let range = asked.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    match range {
        Some(from) if from < bytes.len() => {
            let range = format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
            answer(out, "206 Partial Content", &range, &bytes[from..])
        }
        _ => answer(out, "200 OK", "", &bytes),
    }
}
