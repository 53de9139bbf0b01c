//! Debian's docker-registry on loopback, filled by skopeo: what a real registry does with what we ask.

use crate::poll;
use crate::web::{Asked, Authority, Identity, Web, answer};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{KeyPair, SigningKey};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// The programs that are needed.
pub const PROGRAMS: [&str; 3] = ["/usr/bin/docker-registry", "/usr/bin/skopeo", "/usr/bin/htpasswd"];
/// Who may log in.
pub const USER: &str = "puller";
/// With what.
pub const PASSWORD: &str = "pa55:word-of-a-test";

/// How a registry lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// User and password.
    Basic,
    /// A token of a token server, which wants user and password.
    Token,
}

/// A running registry with TLS; it ends when it is dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    directory: PathBuf,
    port: u16,
    /// The token server, where there is one.
    pub tokens: Option<Web>,
}

impl Registry {
    /// Starts one with its files in a directory that exists.
    pub fn start(directory: &Path, authority: &Authority, access: Access) -> Self {
        let identity = authority.identity();
        let path = |name: &str| directory.join(name).display().to_string();
        fs::write(path("cert.pem"), &identity.certificate_pem).unwrap();
        fs::write(path("key.pem"), &identity.key_pem).unwrap();
        fs::write(path("ca.pem"), authority.pem()).unwrap();
        // Between these two lines only another test can take the port; then this one fails with the reason.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let tokens = (access == Access::Token).then(|| token_server(authority, identity.clone()));
        let auth = match (access, &tokens) {
            (Access::Basic, _) => {
                let output = Command::new(PROGRAMS[2]).args(["-Bbn", USER, PASSWORD]).output().unwrap();
                fs::write(path("htpasswd"), output.stdout).unwrap();
                format!("auth: {{htpasswd: {{realm: \"a realm\", path: {}}}}}\n", path("htpasswd"))
            }
            (_, Some(tokens)) => format!(
                "auth: {{token: {{realm: \"https://{}/token\", service: test, issuer: tests, rootcertbundle: {}}}}}\n",
                tokens.name(),
                path("ca.pem")
            ),
            _ => String::new(),
        };
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"127.0.0.1:{port}\", tls: {{certificate: {}, key: {}}}}}\n{auth}",
            path("data"),
            path("cert.pem"),
            path("key.pem")
        );
        fs::write(path("config.yml"), config).unwrap();
        let log = fs::File::create(path("log")).unwrap();
        let child = Command::new(PROGRAMS[0])
            .args(["serve", &path("config.yml")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let registry = Self { child, directory: directory.to_owned(), port, tokens };
        poll::until("the registry", || TcpStream::connect(("127.0.0.1", port)).ok());
        registry
    }

    /// `127.0.0.1:PORT`.
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Has skopeo put an OCI layout's only image into it.
    pub fn push(&self, layout: &Path, repository: &str, tag: &str) {
        let output = Command::new(PROGRAMS[1])
            .args([
                "copy",
                "--quiet",
                "--preserve-digests",
                "--dest-creds",
                &format!("{USER}:{PASSWORD}"),
                "--dest-cert-dir",
            ])
            .arg(self.certificates())
            .arg(format!("oci:{}", layout.display()))
            .arg(format!("docker://{}/{repository}:{tag}", self.name()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The digest that skopeo finds behind a tag.
    pub fn digest(&self, repository: &str, tag: &str) -> String {
        let output = Command::new(PROGRAMS[1])
            .args(["inspect", "--format", "{{.Digest}}", "--creds", &format!("{USER}:{PASSWORD}"), "--cert-dir"])
            .arg(self.certificates())
            .arg(format!("docker://{}/{repository}:{tag}", self.name()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The architectures of the index behind a tag, as skopeo reads it.
    pub fn architectures(&self, repository: &str, tag: &str) -> Vec<String> {
        let output = Command::new(PROGRAMS[1])
            .args(["inspect", "--raw", "--creds", &format!("{USER}:{PASSWORD}"), "--cert-dir"])
            .arg(self.certificates())
            .arg(format!("docker://{}/{repository}:{tag}", self.name()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let index: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let manifests = index["manifests"].as_array().unwrap().iter();
        manifests.map(|entry| entry["platform"]["architecture"].as_str().unwrap().to_owned()).collect()
    }

    /// What its access log says, one line a request.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap()
    }

    /// skopeo takes a directory of certificate authorities.
    fn certificates(&self) -> PathBuf {
        let directory = self.directory.join("certs");
        fs::create_dir_all(&directory).unwrap();
        fs::copy(self.directory.join("ca.pem"), directory.join("ca.crt")).unwrap();
        directory
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file of logins in docker's format.
pub fn auth_file(registry: &str, user: &str, password: &str) -> String {
    let auth = STANDARD.encode(format!("{user}:{password}"));
    json!({ "auths": { registry: { "auth": auth } } }).to_string()
}

/// A token server: returns a token for the requested scope if the password is right (distribution's token specification).
fn token_server(authority: &Authority, signer: Identity) -> Web {
    let expected = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    Web::start(Some(authority), move |asked, out| give_token(asked, &expected, &signer, out))
}

fn give_token(asked: &Asked, expected: &str, signer: &Identity, out: &mut dyn Write) -> bool {
    if asked.header("authorization") != Some(expected) {
        return answer(out, "401 Unauthorized", "", b"{}");
    }
    let query = asked.path.split_once('?').map_or("", |(_, query)| query);
    let scope = query.split('&').find_map(|pair| pair.strip_prefix("scope=")).unwrap_or_default();
    let scope = scope.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
    let parts: Vec<&str> = scope.split(':').collect();
    let access = match parts.as_slice() {
        [kind, name, actions] => {
            json!([{ "type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>() }])
        }
        _ => json!([]),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(&signer.certificate)] });
    let claims = json!({
        "iss": "tests", "sub": USER, "aud": "test", "exp": now + 300, "nbf": now - 60, "iat": now,
        "jti": format!("{now}"), "access": access,
    });
    let encoded = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let key = KeyPair::from_pem(&signer.key_pem).unwrap();
    let signature = URL_SAFE_NO_PAD.encode(raw(&key.sign(signed.as_bytes()).unwrap()));
    let body = json!({ "token": format!("{signed}.{signature}"), "expires_in": 300 });
    answer(out, "200 OK", "Content-Type: application/json\r\n", body.to_string().as_bytes())
}

/// The two numbers of an ECDSA signature, which JOSE wants side by side (RFC 7518) and X.509 in ASN.1.
fn raw(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut out = Vec::new();
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        let number = &number[number.len().saturating_sub(32)..];
        out.resize(out.len() + 32 - number.len(), 0);
        out.extend_from_slice(number);
        rest = &rest[2 + length..];
    }
    out
}
