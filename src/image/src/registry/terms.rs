//! From the file's tables to the terms of casemate-fetch: for each registry that an image names, its mirrors and itself, each
//! with its own login; more than once where its repositories have different ones. The files that tables name are read here, with
//! the caller's rights.

use super::auth::{self, AuthError};
use casemate_error::Code;
use casemate_fetch_wire::{Endpoint, Login, Registry, Terms};
use casemate_spec::{ImagePin, LoginSource, Registry as Table, Spec, host_and_port};
use casemate_wire::Digest;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The longest file of certificate authorities.
const MAX_CA: usize = 1 << 20;
/// What an image calls docker's registry, and where it is.
const DOCKER: &str = "docker.io";
const DOCKER_HOST: &str = "registry-1.docker.io";

/// What a file wants, and whom it lets ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// For casemate-fetch.
    pub terms: Terms,
    /// The images, each once, in file order.
    pub wanted: Vec<Wanted>,
    places: Vec<Place>,
}

/// Where a repository is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// As images name both.
    registry: String,
    repository: String,
    /// In the order of the terms.
    number: usize,
}

impl Reached {
    /// Another image of one of these repositories.
    pub fn want(&self, pin: &ImagePin) -> Option<Wanted> {
        want(&self.terms, &self.places, pin)
    }
}

fn want(terms: &Terms, places: &[Place], pin: &ImagePin) -> Option<Wanted> {
    let place = places.iter().find(|place| (&place.registry, &place.repository) == (&pin.registry, &pin.repository))?;
    let place = place.number;
    let servers = terms.registries.get(place)?.endpoints.len();
    Some(Wanted {
        pin: pin.clone(),
        registry: u16::try_from(place).ok()?,
        servers: u16::try_from(servers).ok()?,
        repository: repository(pin),
    })
}

/// One image that a file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// As the file names it.
    pub pin: ImagePin,
    /// Place of its registry in the terms.
    pub registry: u16,
    /// How many servers that registry has there.
    pub servers: u16,
    /// The repository's path at the registry.
    pub repository: String,
}

impl Wanted {
    /// `registry/repository`, for messages.
    pub fn place(&self) -> String {
        format!("{}/{}", self.pin.registry, self.pin.repository)
    }
}

/// Why terms cannot be made of a file.
#[derive(Debug)]
pub enum TermsError {
    /// A file that a table names cannot be read.
    Io {
        /// The table's registry.
        registry: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There are no credentials: this is no unit, or one without any.
    NoCredentials {
        /// The table's registry.
        registry: String,
        /// The credential.
        name: String,
    },
    /// A file of logins has none for the registry.
    Auth {
        /// The registry.
        registry: String,
        /// The file.
        path: PathBuf,
        /// Why.
        error: AuthError,
    },
    /// A file of certificate authorities is longer than one could be.
    LongCa(PathBuf),
}

impl fmt::Display for TermsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { registry, path, source } => write!(f, "registry {registry}: read {}: {source}", path.display()),
            Self::NoCredentials { registry, name } => write!(
                f,
                "registry {registry}: read the credential {name}: CREDENTIALS_DIRECTORY is not set; start it in a unit with \
                 LoadCredential={name}:PATH, or give auth_file"
            ),
            Self::Auth { registry, path, error } => write!(f, "registry {registry}: read {}: {error}", path.display()),
            Self::LongCa(path) => write!(f, "read {}: longer than {MAX_CA} bytes", path.display()),
        }
    }
}

impl std::error::Error for TermsError {}

/// Makes the terms. `credentials`: the unit's directory of them.
pub fn reach(spec: &Spec, credentials: Option<&Path>) -> Result<Reached, TermsError> {
    let mut places: Vec<Place> = Vec::new();
    let mut terms = Terms { registries: Vec::new() };
    let mut wanted: Vec<Wanted> = Vec::new();
    for container in &spec.containers {
        let pin = &container.image;
        if wanted.iter().any(|other| same(&other.pin, pin)) {
            continue;
        }
        if want(&terms, &places, pin).is_none() {
            let registry = registry(&spec.registries, pin, credentials)?;
            // Mostly all repositories of a registry are reached as one.
            let known = terms.registries.iter().position(|known| *known == registry);
            let number = known.unwrap_or(terms.registries.len());
            if known.is_none() {
                terms.registries.push(registry);
            }
            let (registry, repository) = (pin.registry.clone(), pin.repository.clone());
            places.push(Place { registry, repository, number });
        }
        wanted.extend(want(&terms, &places, pin));
    }
    Ok(Reached { terms, wanted, places })
}

/// Makes the terms for one place, by the tables of a file or by none.
pub fn reach_one(tables: &[Table], pin: &ImagePin, credentials: Option<&Path>) -> Result<(Terms, Wanted), TermsError> {
    let registry = registry(tables, pin, credentials)?;
    let servers = u16::try_from(registry.endpoints.len()).unwrap_or(u16::MAX);
    let wanted = Wanted { pin: pin.clone(), registry: 0, servers, repository: repository(pin) };
    Ok((Terms { registries: vec![registry] }, wanted))
}

/// Only the digest and the place decide; a tag is for people.
fn same(one: &ImagePin, other: &ImagePin) -> bool {
    let parts =
        |pin: &ImagePin| -> (String, String, Digest) { (pin.registry.clone(), pin.repository.clone(), pin.digest) };
    parts(one) == parts(other)
}

/// What docker's registry calls `library` is left out in the names of its own images.
fn repository(pin: &ImagePin) -> String {
    if pin.registry == DOCKER && !pin.repository.contains('/') {
        format!("library/{}", pin.repository)
    } else {
        pin.repository.clone()
    }
}

fn registry(tables: &[Table], pin: &ImagePin, credentials: Option<&Path>) -> Result<Registry, TermsError> {
    let (name, repository) = (&pin.registry, repository(pin));
    let table = |name: &str| tables.iter().find(|table| table.name == name);
    let own = table(name);
    let mut endpoints = Vec::new();
    for mirror in own.map(|own| own.mirrors.as_slice()).unwrap_or_default() {
        let place = Server { name: &mirror.registry, secure: mirror.secure, prefix: &mirror.prefix };
        endpoints.push(endpoint(&place, &repository, table(&mirror.registry), credentials)?);
    }
    let place = Server { name, secure: !own.is_some_and(|own| own.insecure), prefix: "" };
    endpoints.push(endpoint(&place, &repository, own, credentials)?);
    Ok(Registry { endpoints })
}

/// A registry or a mirror.
struct Server<'a> {
    name: &'a str,
    secure: bool,
    prefix: &'a str,
}

fn endpoint(
    &Server { name, secure, prefix }: &Server<'_>,
    repository: &str,
    table: Option<&Table>,
    credentials: Option<&Path>,
) -> Result<Endpoint, TermsError> {
    let (host, port) = host_and_port(name).unwrap_or((name, None));
    let authorities = match table.and_then(|table| table.ca.as_ref()) {
        Some(ca) => authorities(name, Path::new(ca.as_str()))?,
        None => Vec::new(),
    };
    let login = match table.and_then(|table| table.login.as_ref()) {
        Some(source) => {
            let repository = if prefix.is_empty() { repository.to_owned() } else { format!("{prefix}/{repository}") };
            login((name, &repository), source, credentials)?
        }
        None => None,
    };
    Ok(Endpoint {
        secure,
        host: if name == DOCKER { DOCKER_HOST } else { host }.to_owned(),
        port: port.unwrap_or(if secure { 443 } else { 80 }),
        prefix: prefix.to_owned(),
        authorities,
        login,
        proxy: table.and_then(|table| Some(table.proxy.as_ref()?.to_string())),
        ports: table.map(|table| table.ports.clone()).unwrap_or_default(),
    })
}

fn authorities(registry: &str, path: &Path) -> Result<Vec<u8>, TermsError> {
    let bytes = read(registry, path, MAX_CA)?;
    if bytes.len() > MAX_CA { Err(TermsError::LongCa(path.to_owned())) } else { Ok(bytes.to_vec()) }
}

fn login(
    (registry, repository): (&str, &str),
    source: &LoginSource,
    credentials: Option<&Path>,
) -> Result<Option<Login>, TermsError> {
    let path = match source {
        LoginSource::File(path) => PathBuf::from(path.as_str()),
        LoginSource::Credential(name) => credentials
            .map(|directory| directory.join(name))
            .ok_or_else(|| TermsError::NoCredentials { registry: registry.to_owned(), name: name.clone() })?,
    };
    let bytes = read(registry, &path, auth::MAX_FILE)?;
    auth::login(&bytes, registry, repository).map_err(|error| TermsError::Auth {
        registry: registry.to_owned(),
        path,
        error,
    })
}

/// One byte more than allowed is enough to see that it is too long. What is read may be secret.
fn read(registry: &str, path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, TermsError> {
    let failed = |source| TermsError::Io { registry: registry.to_owned(), path: path.to_owned(), source };
    // Room for all of it: a vector that grew would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 1));
    File::open(path).map_err(failed)?.take(most as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

impl From<TermsError> for casemate_error::Error {
    fn from(error: TermsError) -> Self {
        let code = match &error {
            TermsError::Auth { .. } | TermsError::LongCa(_) => Code::Spec,
            TermsError::Io { .. } | TermsError::NoCredentials { .. } => Code::Failed,
        };
        Self::told(code, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use casemate_fetch_wire::Secret;
    use casemate_spec::{self as spec, Date};

    fn spec(tables: &str, images: &[&str]) -> Spec {
        let digest = "0a".repeat(32);
        let container = |(number, image): (usize, &&str)| {
            format!(
                "[containers.c{number}]\nimage = \"{image}@sha256:{digest}\"\nuser = \"{}\"\nresources = {{ memory = 1, pids = 1 }}\n",
                number + 1
            )
        };
        let containers: String = images.iter().enumerate().map(container).collect();
        let text = format!("schema = 1\n[appliance]\nname = \"a\"\n{tables}{containers}");
        spec::parse(&text, Date::new(2026, 11, 21).unwrap()).unwrap().0
    }

    #[test]
    fn each_server_is_reached_as_its_own_table_says() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(path("ca"), "PEM").unwrap();
        std::fs::write(path("auth"), r#"{"auths":{"mirror.example:8443":{"username":"m","password":"w"}}}"#).unwrap();
        let tables = format!(
            "[registries.\"docker.io\"]\nmirrors = [\"https://mirror.example:8443/hub\", \"http://10.0.0.1:5000\"]\n\
             [registries.\"mirror.example:8443\"]\nca = \"{}\"\nauth_file = \"{}\"\nports = [5001]\nproxy = \"http://proxy.example:3128\"\n\
             [registries.\"10.0.0.1:5000\"]\ninsecure = true\n",
            path("ca"),
            path("auth")
        );
        let images = ["docker.io/nginx:1", "quay.io/a/b", "docker.io/nginx:2", "docker.io/team/app"];
        let reached = reach(&spec(&tables, &images), None).unwrap();
        let names: Vec<_> = reached.wanted.iter().map(|w| (w.registry, w.servers, w.repository.as_str())).collect();
        assert_eq!(names, [(0, 3, "library/nginx"), (1, 1, "a/b"), (0, 3, "team/app")]);
        let [docker, quay] = reached.terms.registries.as_slice() else { panic!() };
        let [mirror, plain, own] = docker.endpoints.as_slice() else { panic!() };
        assert_eq!((mirror.host.as_str(), mirror.port, mirror.prefix.as_str()), ("mirror.example", 8443, "hub"));
        assert_eq!(
            (mirror.authorities.as_slice(), mirror.ports.as_slice(), mirror.secure),
            (&b"PEM"[..], &[5001][..], true)
        );
        assert_eq!(mirror.login, Some(Login::Password { user: Secret::new("m"), password: Secret::new("w") }));
        assert_eq!(mirror.proxy.as_deref(), Some("http://proxy.example:3128"));
        assert_eq!((plain.secure, plain.port, &plain.login), (false, 5000, &None));
        assert_eq!((own.host.as_str(), own.port, own.secure), ("registry-1.docker.io", 443, true));
        assert!(own.login.is_none() && own.authorities.is_empty() && own.proxy.is_none());
        assert_eq!((quay.endpoints[0].host.as_str(), quay.endpoints[0].port), ("quay.io", 443));
    }

    #[test]
    fn threat_16_each_repository_is_asked_for_with_its_own_login() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth").display().to_string();
        let entry = |name: &str| format!("\"{name}\":{{\"username\":\"{name}\",\"password\":\"w\"}}");
        let entries = ["quay.io/team", "mirror.example/hub/library"].map(entry).join(",");
        std::fs::write(&path, format!("{{\"auths\":{{{entries}}}}}")).unwrap();
        let tables = format!(
            "[registries.\"quay.io\"]\nauth_file = \"{path}\"\n[registries.\"docker.io\"]\n\
             mirrors = [\"https://mirror.example/hub\"]\n[registries.\"mirror.example\"]\nauth_file = \"{path}\"\n"
        );
        let images =
            ["quay.io/a/b", "quay.io/team/a", "quay.io/c", "quay.io/team/b", "docker.io/nginx", "docker.io/team/app"];
        let reached = reach(&spec(&tables, &images), None).unwrap();
        let numbers: Vec<_> = reached.wanted.iter().map(|wanted| wanted.registry).collect();
        assert_eq!(numbers, [0, 1, 0, 1, 2, 3]);
        let logins: Vec<_> = reached.terms.registries.iter().map(|registry| &registry.endpoints[0].login).collect();
        let user = |name: &str| Some(Login::Password { user: Secret::new(name), password: Secret::new("w") });
        assert_eq!(logins, [&None, &user("quay.io/team"), &user("mirror.example/hub/library"), &None]);
        let other = |image: &str| ImagePin::parse(&format!("{image}@sha256:{}", "0b".repeat(32))).unwrap();
        assert_eq!(reached.want(&other("quay.io/team/b")).unwrap().registry, 1);
        assert_eq!(reached.want(&other("quay.io/team/third")), None, "nobody has looked for its login");
        for (image, login) in [("quay.io/team/third", user("quay.io/team")), ("quay.io/third", None)] {
            let spec = spec(&tables, &images);
            let (terms, _) = reach_one(&spec.registries, &other(image), None).unwrap();
            assert_eq!(terms.registries[0].endpoints[0].login, login);
        }
    }

    #[test]
    fn a_login_that_is_not_there_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let file = |text: &str| {
            std::fs::write(directory.path().join("auth"), text).unwrap();
            format!("[registries.\"quay.io\"]\nauth_file = \"{}\"\n", directory.path().join("auth").display())
        };
        let reached = |tables: &str, credentials| reach(&spec(tables, &["quay.io/a/b"]), credentials);
        assert!(matches!(reached(&file("{}"), None), Err(TermsError::Auth { .. })));
        assert!(matches!(
            reached("[registries.\"quay.io\"]\nca = \"/nonexistent\"\n", None),
            Err(TermsError::Io { .. })
        ));
        let credential = "[registries.\"quay.io\"]\ncredential = \"auth\"\n";
        assert!(matches!(reached(credential, None), Err(TermsError::NoCredentials { .. })));
        std::fs::write(directory.path().join("auth"), r#"{"auths":{"quay.io":{"auth":"dTpw"}}}"#).unwrap();
        let reached = reached(credential, Some(directory.path())).unwrap();
        assert!(reached.terms.registries[0].endpoints[0].login.is_some());
    }
}
