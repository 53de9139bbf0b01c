//! docker's config.json and podman's auth.json (containers-auth.json(5)): the credentials for one repository of one registry.
//! Credential helpers that such a file names are not run: casemate executes no other programs.
//!
//! Enters: the file's bytes. Leaves: a login, or why there is none. No error quotes the file, which holds secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use casemate_fetch_wire::{Login, Secret};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

/// The longest file.
pub const MAX_FILE: usize = 1 << 20;
/// The longest user, password or token.
const LONGEST: usize = 16 * 1024;

/// Why an auth file gives no login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// More than [`MAX_FILE`].
    TooLong,
    /// Not JSON of the format, from this position on.
    Shape {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// No entry for the registry or one of its repositories.
    None,
    /// The registry's login is kept by a credential helper.
    Helper,
    /// The registry's entry has no complete login.
    Entry,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "it is longer than {MAX_FILE} bytes"),
            Self::Shape { line, column } => {
                write!(f, "it is not of the format of docker's config.json, at line {line}, column {column}")
            }
            Self::None => f.write_str("it has no login for this registry"),
            Self::Helper => f.write_str(
                "it leaves the login to a credential helper, and helpers are not run; `skopeo login --authfile` writes a file with the login",
            ),
            Self::Entry => f.write_str("its entry for this registry is not a user and a password, nor an identity token"),
        }
    }
}

impl std::error::Error for Error {}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    creds_store: Option<IgnoredAny>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<Secret>,
    #[serde(default)]
    username: Option<Secret>,
    #[serde(default)]
    password: Option<Secret>,
    #[serde(default)]
    identitytoken: Option<Secret>,
}

/// The login for a repository: that of the entry with the longest matching path, else that of its registry. `None` where all entries
/// of the registry are for other repositories: then the repository is asked for without a login.
pub fn login(bytes: &[u8], registry: &str, repository: &str) -> Result<Option<Login>, Error> {
    if bytes.len() > MAX_FILE {
        return Err(Error::TooLong);
    }
    let file: File =
        serde_json::from_slice(bytes).map_err(|error| Error::Shape { line: error.line(), column: error.column() })?;
    let mut helpers = file.cred_helpers.keys().filter_map(|key| path_of_key(key, registry));
    let has_helper = file.creds_store.is_some() || helpers.any(|path| covers(path, repository));
    let has_others = file.auths.keys().any(|key| path_of_key(key, registry).is_some());
    let entries = file.auths.into_iter().filter_map(|(key, entry)| {
        let path = path_of_key(&key, registry).filter(|path| covers(path, repository))?;
        // The plain spelling of a registry wins over one with a scheme or the path of the API.
        Some(((path.len(), key == registry), entry))
    });
    let best = entries.reduce(|best, next| if next.0 > best.0 { next } else { best });
    match best.map(|(_, entry)| read(entry)).transpose()? {
        Some(Some(login)) => Ok(Some(login)),
        _ if has_helper => Err(Error::Helper),
        Some(None) => Err(Error::Entry),
        None if has_others => Ok(None),
        None => Err(Error::None),
    }
}

/// The path below which a key's repositories lie, empty for all of the registry; `None` where the key is for another registry. A key
/// with a scheme or with the path of the API is docker's, and stands for the whole registry.
fn path_of_key<'a>(key: &'a str, registry: &str) -> Option<&'a str> {
    let plain = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let rest = plain.unwrap_or(key);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_end_matches('/');
    let whole_registry = matches!(path, "" | "v1" | "v2");
    let docker = registry == "docker.io" && matches!(host, "index.docker.io" | "registry-1.docker.io");
    if whole_registry {
        (host.eq_ignore_ascii_case(registry) || docker).then_some("")
    } else {
        (plain.is_none() && host.eq_ignore_ascii_case(registry)).then_some(path)
    }
}

/// Whether a path is a repository's own or one above it.
fn covers(path: &str, repository: &str) -> bool {
    path.is_empty() || repository.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An entry without any field belongs to a credential helper.
fn read(entry: Entry) -> Result<Option<Login>, Error> {
    let not_empty = |secret: &Secret| !secret.expose().is_empty();
    let valid = |secret: &Secret| secret.expose().len() <= LONGEST && !secret.expose().chars().any(char::is_control);
    if let Some(token) = entry.identitytoken.filter(not_empty) {
        return if valid(&token) { Ok(Some(Login::RefreshToken(token))) } else { Err(Error::Entry) };
    }
    let (user, password) = match (entry.auth.filter(not_empty), entry.username, entry.password) {
        (Some(auth), _, _) => pair(&auth)?,
        (None, Some(user), Some(password)) => (user, password),
        (None, None, None) => return Ok(None),
        _ => return Err(Error::Entry),
    };
    let complete = not_empty(&user) && valid(&user) && valid(&password) && !user.expose().contains(':');
    if complete { Ok(Some(Login::Password { user, password })) } else { Err(Error::Entry) }
}

/// base64 of `user:password`.
fn pair(auth: &Secret) -> Result<(Secret, Secret), Error> {
    let bytes = Zeroizing::new(STANDARD.decode(auth.expose().trim()).map_err(|_| Error::Entry)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::Entry)?;
    // Old versions of docker wrote NULs behind the password.
    let (user, password) = text.trim_end_matches('\0').split_once(':').ok_or(Error::Entry)?;
    Ok((Secret::new(user), Secret::new(password)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Result<Option<Login>, Error> {
        Ok(Some(Login::Password { user: Secret::new(user), password: Secret::new(password) }))
    }

    fn login(bytes: &[u8], registry: &str) -> Result<Option<Login>, Error> {
        super::login(bytes, registry, "a/b")
    }

    #[test]
    fn login_reads_files_of_docker_and_podman() {
        let file = br#"{ "auths": {
            "https://index.docker.io/v1/": { "auth": "aHViOnA6dw==" },
            "registry.site.example:5000": { "auth": "dXNlcjpwdw==", "email": "x" },
            "quay.io": { "username": "q", "password": "pw" },
            "quay.io/team": { "auth": "dDp0" },
            "ghcr.io": { "auth": "dTo=", "identitytoken": "idt" },
            "helped.example": {}
        }, "HttpHeaders": {} }"#;
        assert_eq!(login(file, "docker.io"), password("hub", "p:w"));
        assert_eq!(login(file, "registry.site.example:5000"), password("user", "pw"));
        assert_eq!(login(file, "quay.io"), password("q", "pw"));
        assert_eq!(login(file, "ghcr.io"), Ok(Some(Login::RefreshToken(Secret::new("idt")))));
        assert_eq!(login(file, "registry.site.example"), Err(Error::None));
        assert_eq!(login(file, "helped.example"), Err(Error::Entry));
        let helper = br#"{"auths":{"a.example":{}},"credsStore":"desktop"}"#;
        assert_eq!(login(helper, "a.example"), Err(Error::Helper));
        assert_eq!(login(br#"{"credHelpers":{"a.example":"gcr"}}"#, "a.example"), Err(Error::Helper));
        assert_eq!(login(br#"{"credHelpers":{"b.example":"gcr"}}"#, "a.example"), Err(Error::None));
    }

    #[test]
    fn threat_16_login_prefers_the_longest_path_and_never_another_repository() {
        let file = br#"{ "auths": {
            "quay.io": { "username": "host", "password": "pw" },
            "quay.io/team": { "username": "team", "password": "pw" },
            "Quay.io/team/app/": { "username": "app", "password": "pw" },
            "https://quay.io/other": { "username": "no", "password": "pw" },
            "quay.io:5000/team": { "username": "no", "password": "pw" },
            "quay.io/broken": { "username": "no" },
            "ghcr.io/team": { "username": "gh", "password": "pw" },
            "docker.io/library": { "username": "lib", "password": "pw" },
            "https://index.docker.io/v1/": { "username": "hub", "password": "pw" }
        } }"#;
        for (registry, repository, user) in [
            ("quay.io", "a/b", "host"),
            ("quay.io", "team", "team"),
            ("quay.io", "team/b", "team"),
            ("quay.io", "team/apple", "team"),
            ("quay.io", "teams/app", "host"),
            ("quay.io", "team/app", "app"),
            ("quay.io", "team/app/x/y", "app"),
            ("quay.io", "Team/app", "host"),
            ("quay.io", "other", "host"),
            ("ghcr.io", "team/x", "gh"),
            ("docker.io", "library/nginx", "lib"),
            ("docker.io", "team/app", "hub"),
        ] {
            assert_eq!(super::login(file, registry, repository), password(user, "pw"), "{registry}/{repository}");
        }
        assert_eq!(super::login(file, "quay.io", "broken/x"), Err(Error::Entry), "no other entry takes its place");
        assert_eq!(super::login(file, "ghcr.io", "other/x"), Ok(None));
        assert_eq!(super::login(file, "gcr.io", "team/x"), Err(Error::None));
        let helper = br#"{"auths":{"a.example/other":{}},"credHelpers":{"a.example/team":"gcr"}}"#;
        assert_eq!(super::login(helper, "a.example", "team/x"), Err(Error::Helper));
        assert_eq!(super::login(helper, "a.example", "third/x"), Ok(None));
    }

    #[test]
    fn threat_16_malformed_auth_file_is_refused_and_not_quoted() {
        for bad in [
            "",
            "[]",
            "{\"auths\":3}",
            "{\"auths\":{\"a.example\":{\"auth\":\"dXNlcjpwdw\"}}}",
            "{\"auths\":{\"a.example\":{\"auth\":\"!!!\"}}}",
            "{\"auths\":{\"a.example\":{\"auth\":\"/w==\"}}}",
            "{\"auths\":{\"a.example\":{\"auth\":\"dXNlcg==\"}}}",
            "{\"auths\":{\"a.example\":{\"username\":\"hunter2\"}}}",
            "{\"auths\":{\"a.example\":{\"username\":\"a\\nb\",\"password\":\"hunter2\"}}}",
            "{\"auths\":{\"a.example\":{\"username\":\"a:b\",\"password\":\"hunter2\"}}}",
            "{\"auths\":{\"a.example\":{\"auth\":[\"hunter2\"]}}}",
            "{\"auths\":{\"a.example\":\"hunter2\"}}",
        ] {
            let error = login(bad.as_bytes(), "a.example").unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{bad}: {error}");
        }
        assert_eq!(login(&vec![b' '; MAX_FILE + 1], "a"), Err(Error::TooLong));
    }
}
