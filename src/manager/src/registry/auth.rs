//! docker's config.json and podman's auth.json: the login of one registry. Helpers that such a file names are not run: nothing is
//! executed but our own programs.
//!
//! Enters: the file's bytes. Leaves: one login, or why there is none. No error quotes the file: what it holds is secret.

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

/// Why a file gives no login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthError {
    /// More than [`MAX_FILE`].
    TooLong,
    /// Not JSON of the format; where it breaks off.
    Shape {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The registry has no entry.
    None,
    /// The registry's login is in a program.
    Helper,
    /// The registry's entry is no login.
    Entry,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "it is longer than {MAX_FILE} bytes"),
            Self::Shape { line, column } => {
                write!(f, "it is not of the format of docker's config.json, at line {line}, column {column}")
            }
            Self::None => f.write_str("it has no login for this registry"),
            Self::Helper => f.write_str(
                "it keeps the login in a helper, and helpers are not run; `skopeo login --authfile` writes one that keeps it itself",
            ),
            Self::Entry => f.write_str("its entry for this registry is not a user and a password, nor an identity token"),
        }
    }
}

impl std::error::Error for AuthError {}

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

/// The login for a registry, named as an image names it.
pub fn login(bytes: &[u8], registry: &str) -> Result<Login, AuthError> {
    if bytes.len() > MAX_FILE {
        return Err(AuthError::TooLong);
    }
    let file: File = serde_json::from_slice(bytes)
        .map_err(|error| AuthError::Shape { line: error.line(), column: error.column() })?;
    let names = |key: &&String| names(key, registry);
    let helped = file.creds_store.is_some() || file.cred_helpers.keys().any(|key| names(&key));
    let missing = if helped { AuthError::Helper } else { AuthError::None };
    // The plain spelling counts more than one with a scheme or a path.
    let exact = file.auths.get_key_value(registry);
    let key = exact.map(|(key, _)| key.clone()).or_else(|| file.auths.keys().find(names).cloned());
    let entry = key.and_then(|key| file.auths.into_iter().find(|(name, _)| *name == key));
    match entry {
        None => Err(missing),
        Some((_, entry)) => match read(entry)? {
            Some(login) => Ok(login),
            None => Err(if helped { AuthError::Helper } else { AuthError::Entry }),
        },
    }
}

/// Whether a key means this registry: with or without scheme, with or without the API's path. Keys of single repositories do not.
fn names(key: &str, registry: &str) -> bool {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let whole = matches!(path.trim_end_matches('/'), "" | "v1" | "v2");
    let docker = registry == "docker.io" && matches!(host, "index.docker.io" | "registry-1.docker.io");
    whole && (host.eq_ignore_ascii_case(registry) || docker)
}

/// An entry without any field is one that a helper has.
fn read(entry: Entry) -> Result<Option<Login>, AuthError> {
    let given = |secret: &Secret| !secret.expose().is_empty();
    let sound = |secret: &Secret| secret.expose().len() <= LONGEST && !secret.expose().chars().any(char::is_control);
    if let Some(token) = entry.identitytoken.filter(given) {
        return if sound(&token) { Ok(Some(Login::RefreshToken(token))) } else { Err(AuthError::Entry) };
    }
    let (user, password) = match (entry.auth.filter(given), entry.username, entry.password) {
        (Some(auth), _, _) => pair(&auth)?,
        (None, Some(user), Some(password)) => (user, password),
        (None, None, None) => return Ok(None),
        _ => return Err(AuthError::Entry),
    };
    let whole = given(&user) && sound(&user) && sound(&password) && !user.expose().contains(':');
    if whole { Ok(Some(Login::Password { user, password })) } else { Err(AuthError::Entry) }
}

/// base64 of `user:password`.
fn pair(auth: &Secret) -> Result<(Secret, Secret), AuthError> {
    let bytes = Zeroizing::new(STANDARD.decode(auth.expose().trim()).map_err(|_| AuthError::Entry)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| AuthError::Entry)?;
    // docker has written NULs behind the password.
    let (user, password) = text.trim_end_matches('\0').split_once(':').ok_or(AuthError::Entry)?;
    Ok((Secret::new(user), Secret::new(password)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Result<Login, AuthError> {
        Ok(Login::Password { user: Secret::new(user), password: Secret::new(password) })
    }

    #[test]
    fn what_docker_and_podman_write() {
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
        assert_eq!(login(file, "ghcr.io"), Ok(Login::RefreshToken(Secret::new("idt"))));
        assert_eq!(login(file, "registry.site.example"), Err(AuthError::None));
        assert_eq!(login(file, "helped.example"), Err(AuthError::Entry));
        let helper = br#"{"auths":{"a.example":{}},"credsStore":"desktop"}"#;
        assert_eq!(login(helper, "a.example"), Err(AuthError::Helper));
        assert_eq!(login(br#"{"credHelpers":{"a.example":"gcr"}}"#, "a.example"), Err(AuthError::Helper));
        assert_eq!(login(br#"{"credHelpers":{"b.example":"gcr"}}"#, "a.example"), Err(AuthError::None));
    }

    #[test]
    fn threat_16_a_file_that_is_none_is_refused_and_not_quoted() {
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
        assert_eq!(login(&vec![b' '; MAX_FILE + 1], "a"), Err(AuthError::TooLong));
    }
}
