//! The configuration of casemate-fetch, made from the file's `[registries]` tables: for each registry that an image names, its
//! mirrors and itself, each with its own login. A registry stands there more than once where its repositories have different logins.
//! The files that tables name are read here, with the caller's rights.

use super::auth;
use casemate_error::Code;
use casemate_fetch_wire::{Endpoint, FetchConfig, Login, Registry};
use casemate_spec::{ImagePin, LoginSource, Registry as Table, Spec, host_and_port};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The longest file of certificate authorities.
const MAX_CA: usize = 1 << 20;
/// Docker's registry as images name it, and its host.
const DOCKER: &str = "docker.io";
const DOCKER_HOST: &str = "registry-1.docker.io";

/// The images of a file, and how their registries are accessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryAccess {
    /// For casemate-fetch.
    pub config: FetchConfig,
    /// The images, each once, in file order.
    pub images: Vec<ImageRequest>,
    repositories: Vec<Repository>,
}

/// A repository, and the registry of the configuration that serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Repository {
    /// The registry as images name it.
    registry: String,
    /// The repository as images name it.
    repository: String,
    /// Index in the configuration.
    index: usize,
}

impl RegistryAccess {
    /// Makes the configuration for the images of a file. `credentials`: the unit's directory of credentials.
    pub fn for_file(spec: &Spec, credentials: Option<&Path>) -> Result<Self, Error> {
        let mut repositories: Vec<Repository> = Vec::new();
        let mut config = FetchConfig { registries: Vec::new() };
        let mut images: Vec<ImageRequest> = Vec::new();
        for container in &spec.containers {
            let pin = &container.image;
            if images.iter().any(|other| is_same_image(&other.pin, pin)) {
                continue;
            }
            if request(&config, &repositories, pin).is_none() {
                let registry = registry(&spec.registries, pin, credentials)?;
                // Mostly all repositories of a registry share one entry.
                let known = config.registries.iter().position(|known| *known == registry);
                let index = known.unwrap_or(config.registries.len());
                if known.is_none() {
                    config.registries.push(registry);
                }
                let registry = pin.registry.clone();
                let repository = pin.repository.clone();
                repositories.push(Repository { registry, repository, index });
            }
            images.extend(request(&config, &repositories, pin));
        }
        Ok(Self { config, images, repositories })
    }

    /// A request for another image of one of these repositories; `None` for any other repository.
    pub fn request(&self, pin: &ImagePin) -> Option<ImageRequest> {
        request(&self.config, &self.repositories, pin)
    }
}

/// Makes the configuration for one image, with the tables of a file or none.
pub fn for_image(
    tables: &[Table],
    pin: &ImagePin,
    credentials: Option<&Path>,
) -> Result<(FetchConfig, ImageRequest), Error> {
    let registry = registry(tables, pin, credentials)?;
    let servers = u16::try_from(registry.endpoints.len()).unwrap_or(u16::MAX);
    let image = ImageRequest { pin: pin.clone(), registry: 0, servers, repository: repository(pin) };
    Ok((FetchConfig { registries: vec![registry] }, image))
}

fn request(config: &FetchConfig, repositories: &[Repository], pin: &ImagePin) -> Option<ImageRequest> {
    let is_repository = |it: &&Repository| it.registry == pin.registry && it.repository == pin.repository;
    let index = repositories.iter().find(is_repository)?.index;
    let servers = config.registries.get(index)?.endpoints.len();
    Some(ImageRequest {
        pin: pin.clone(),
        registry: u16::try_from(index).ok()?,
        servers: u16::try_from(servers).ok()?,
        repository: repository(pin),
    })
}

/// An image of a file, and where casemate-fetch finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRequest {
    /// The image as the file names it.
    pub pin: ImagePin,
    /// Index of its registry in the configuration.
    pub registry: u16,
    /// How many servers that registry has there.
    pub servers: u16,
    /// The repository's path at the registry.
    pub repository: String,
}

impl ImageRequest {
    /// `registry/repository`, for messages.
    pub fn repository_name(&self) -> String {
        format!("{}/{}", self.pin.registry, self.pin.repository)
    }
}

/// Why no configuration can be made of a file's tables.
#[derive(Debug)]
pub enum Error {
    /// A file that a table names cannot be read.
    Io {
        /// The table's registry.
        registry: String,
        /// The file.
        path: PathBuf,
        /// errno.
        source: io::Error,
    },
    /// A table names a credential, and the process is not in a unit with credentials.
    NoCredentials {
        /// The table's registry.
        registry: String,
        /// The credential.
        name: String,
    },
    /// An auth file has no login for the registry.
    Auth {
        /// The registry.
        registry: String,
        /// The file.
        path: PathBuf,
        /// Why.
        error: auth::Error,
    },
    /// A file of certificate authorities is longer than [`MAX_CA`].
    LongCa(PathBuf),
}

impl fmt::Display for Error {
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

impl std::error::Error for Error {}

/// Whether two pins name the same content of the same repository. A tag does not matter beside a digest.
fn is_same_image(one: &ImagePin, other: &ImagePin) -> bool {
    one.registry == other.registry && one.repository == other.repository && one.digest == other.digest
}

/// Docker's registry keeps official images in `library`, which names like `docker.io/nginx` leave out.
fn repository(pin: &ImagePin) -> String {
    if pin.registry == DOCKER && !pin.repository.contains('/') {
        format!("library/{}", pin.repository)
    } else {
        pin.repository.clone()
    }
}

fn registry(tables: &[Table], pin: &ImagePin, credentials: Option<&Path>) -> Result<Registry, Error> {
    let name = &pin.registry;
    let repository = repository(pin);
    let table = |name: &str| tables.iter().find(|table| table.name == name);
    let own = table(name);
    let mut endpoints = Vec::new();
    for mirror in own.map(|own| own.mirrors.as_slice()).unwrap_or_default() {
        let server = Server { name: &mirror.registry, secure: mirror.secure, prefix: &mirror.prefix };
        endpoints.push(endpoint(&server, &repository, table(&mirror.registry), credentials)?);
    }
    let server = Server { name, secure: !own.is_some_and(|own| own.insecure), prefix: "" };
    endpoints.push(endpoint(&server, &repository, own, credentials)?);
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
) -> Result<Endpoint, Error> {
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

fn authorities(registry: &str, path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = read(registry, path, MAX_CA)?;
    if bytes.len() > MAX_CA { Err(Error::LongCa(path.to_owned())) } else { Ok(bytes.to_vec()) }
}

fn login(
    (registry, repository): (&str, &str),
    source: &LoginSource,
    credentials: Option<&Path>,
) -> Result<Option<Login>, Error> {
    let path = match source {
        LoginSource::File(path) => PathBuf::from(path.as_str()),
        LoginSource::Credential(name) => credentials
            .map(|directory| directory.join(name))
            .ok_or_else(|| Error::NoCredentials { registry: registry.to_owned(), name: name.clone() })?,
    };
    let bytes = read(registry, &path, auth::MAX_FILE)?;
    auth::login(&bytes, registry, repository).map_err(|error| Error::Auth {
        registry: registry.to_owned(),
        path,
        error,
    })
}

/// Reads at most one byte more than `most`, so that a longer file is detected. The content may be secret.
fn read(registry: &str, path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let failed = |source| Error::Io { registry: registry.to_owned(), path: path.to_owned(), source };
    // Allocated at its full size, because a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 1));
    File::open(path).map_err(failed)?.take(most as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

impl From<Error> for casemate_error::Error {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Auth { .. } | Error::LongCa(_) => Code::Spec,
            Error::Io { .. } | Error::NoCredentials { .. } => Code::Failed,
        };
        Self::from_display(code, error)
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
    fn each_server_is_configured_by_its_own_table() {
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
        let access = RegistryAccess::for_file(&spec(&tables, &images), None).unwrap();
        let names: Vec<_> =
            access.images.iter().map(|image| (image.registry, image.servers, image.repository.as_str())).collect();
        assert_eq!(names, [(0, 3, "library/nginx"), (1, 1, "a/b"), (0, 3, "team/app")]);
        let [docker, quay] = access.config.registries.as_slice() else { panic!() };
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
    fn threat_16_each_repository_has_its_own_login() {
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
        let access = RegistryAccess::for_file(&spec(&tables, &images), None).unwrap();
        let numbers: Vec<_> = access.images.iter().map(|image| image.registry).collect();
        assert_eq!(numbers, [0, 1, 0, 1, 2, 3]);
        let logins: Vec<_> = access.config.registries.iter().map(|registry| &registry.endpoints[0].login).collect();
        let user = |name: &str| Some(Login::Password { user: Secret::new(name), password: Secret::new("w") });
        assert_eq!(logins, [&None, &user("quay.io/team"), &user("mirror.example/hub/library"), &None]);
        let other = |image: &str| ImagePin::parse(&format!("{image}@sha256:{}", "0b".repeat(32))).unwrap();
        assert_eq!(access.request(&other("quay.io/team/b")).unwrap().registry, 1);
        assert_eq!(access.request(&other("quay.io/team/third")), None, "its login was not looked up");
        for (image, login) in [("quay.io/team/third", user("quay.io/team")), ("quay.io/third", None)] {
            let spec = spec(&tables, &images);
            let (config, _) = for_image(&spec.registries, &other(image), None).unwrap();
            assert_eq!(config.registries[0].endpoints[0].login, login);
        }
    }

    #[test]
    fn missing_login_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let file = |text: &str| {
            std::fs::write(directory.path().join("auth"), text).unwrap();
            format!("[registries.\"quay.io\"]\nauth_file = \"{}\"\n", directory.path().join("auth").display())
        };
        let access = |tables: &str, credentials| RegistryAccess::for_file(&spec(tables, &["quay.io/a/b"]), credentials);
        assert!(matches!(access(&file("{}"), None), Err(Error::Auth { .. })));
        assert!(matches!(access("[registries.\"quay.io\"]\nca = \"/nonexistent\"\n", None), Err(Error::Io { .. })));
        let credential = "[registries.\"quay.io\"]\ncredential = \"auth\"\n";
        assert!(matches!(access(credential, None), Err(Error::NoCredentials { .. })));
        std::fs::write(directory.path().join("auth"), r#"{"auths":{"quay.io":{"auth":"dTpw"}}}"#).unwrap();
        let access = access(credential, Some(directory.path())).unwrap();
        assert!(access.config.registries[0].endpoints[0].login.is_some());
    }
}
