//! Who we are to a server: the answer to its challenge, and the tokens that we got for it.
//!
//! A credential is bound to one server of the terms. It goes to that server, or, over TLS, to the token server that it named; over
//! plain HTTP anybody could have named one, so there it has to be on the same host.

use crate::challenge::Challenge;
use crate::error::Error;
use crate::reach;
use crate::url::{Url, encoded};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use casemate_fetch_wire::{Endpoint, Login, Secret, Step};
use serde::Deserialize;
use std::collections::HashMap;

/// A token server's answer is small.
pub const MAX_TOKEN: u64 = 64 * 1024;
/// The longest token that fits into a header.
const LONGEST: usize = 16 * 1024;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The repository's path.
    pub repository: &'a str,
    /// To send to it, too.
    pub push: bool,
}

impl std::fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "repository:{}:{}", self.repository, if self.push { "pull,push" } else { "pull" })
    }
}

/// What goes into `Authorization`, by scope.
#[derive(Debug, Default)]
pub struct Logins {
    basic: bool,
    tokens: HashMap<String, Secret>,
}

impl Logins {
    /// The authorization header for a repository, if the kind of login is known.
    pub fn header(&self, endpoint: &Endpoint, scope: Scope<'_>) -> Option<Secret> {
        if let Some(token) = self.tokens.get(&scope.to_string()) {
            return Some(Secret::new(format!("Bearer {}", token.expose())));
        }
        if self.basic { basic(endpoint) } else { None }
    }

    /// Forgets what was refused.
    pub fn forget(&mut self, scope: Scope<'_>) {
        self.tokens.remove(&scope.to_string());
        self.basic = false;
    }

    /// From now on user and password go with each request to this server.
    pub fn use_basic(&mut self) {
        self.basic = true;
    }

    /// From now on this token goes with each request about this repository.
    pub fn keep(&mut self, scope: Scope<'_>, token: Secret) {
        self.tokens.insert(scope.to_string(), token);
    }
}

/// `Basic …`, where the endpoint has a user and a password.
pub fn basic(endpoint: &Endpoint) -> Option<Secret> {
    match &endpoint.login {
        Some(Login::Password { user, password }) => {
            let pair = Secret::new(format!("{}:{}", user.expose(), password.expose()));
            let text = Secret::new(STANDARD.encode(pair.expose()));
            Some(Secret::new(format!("Basic {}", text.expose())))
        }
        _ => None,
    }
}

/// A request to a token server.
#[derive(Debug)]
pub struct TokenRequest {
    /// Where to.
    pub url: Url,
    /// `Authorization`, for a GET.
    pub authorization: Option<Secret>,
    /// The form, for a POST.
    pub form: Option<Secret>,
}

/// What to ask whom for a token for this (distribution's token specification; OAuth2 for refresh tokens).
pub fn token_request(endpoint: &Endpoint, scope: Scope<'_>, challenge: &Challenge) -> Result<TokenRequest, Error> {
    let Challenge::Bearer { realm, service } = challenge else {
        return Err(Error::new(Step::LogIn, "no token is asked for"));
    };
    let mut url = Url::parse(realm)
        .map_err(|reason| Error::new(Step::LogIn, format!("the realm of its challenge is {reason}")))?;
    reach::may_name(endpoint, &url)
        .map_err(|reason| Error::new(Step::LogIn, format!("it names {url} as its token server, {reason}")))?;
    if !endpoint.secure && url.host != endpoint.host.to_ascii_lowercase() {
        let reason = format!("it names {url} as its token server: without TLS that has to be on the same host");
        return Err(Error::new(Step::LogIn, reason));
    }
    let mut fields = vec![("scope", scope.to_string())];
    fields.extend(service.iter().map(|service| ("service", service.clone())));
    if let Some(Login::RefreshToken(token)) = &endpoint.login {
        fields.extend([("grant_type", "refresh_token".to_owned()), ("client_id", "casemate".to_owned())]);
        let form = Secret::new(format!("{}&refresh_token={}", query(&fields), encoded(token.expose())));
        return Ok(TokenRequest { url, authorization: None, form: Some(form) });
    }
    let separator = if url.path.contains('?') { '&' } else { '?' };
    url.path = format!("{}{separator}{}", url.path, query(&fields));
    Ok(TokenRequest { url, authorization: basic(endpoint), form: None })
}

fn query(fields: &[(&str, String)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

/// The token of a token server's answer.
pub fn token(body: &[u8]) -> Result<Secret, Error> {
    // The parser's error could quote the token.
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| Error::new(Step::LogIn, "its answer is not a token's JSON"))?;
    let found = answer.token.filter(|token| !token.is_empty()).or(answer.access_token).map(Secret::new);
    let token = found.ok_or_else(|| Error::new(Step::LogIn, "its answer has no token in it"))?;
    let fits = token.expose().len() <= LONGEST && token.expose().bytes().all(|c| c.is_ascii_graphic());
    if fits && !token.expose().is_empty() {
        Ok(token)
    } else {
        Err(Error::new(Step::LogIn, "its token does not fit into a header"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(secure: bool, login: Option<Login>) -> Endpoint {
        Endpoint {
            secure,
            host: "registry.example".to_owned(),
            port: 443,
            prefix: String::new(),
            authorities: Vec::new(),
            login,
            proxy: None,
            ports: Vec::new(),
        }
    }

    fn password() -> Option<Login> {
        Some(Login::Password { user: Secret::new("u"), password: Secret::new("p:w") })
    }

    fn bearer(realm: &str) -> Challenge {
        Challenge::Bearer { realm: realm.to_owned(), service: Some("a service".to_owned()) }
    }

    #[test]
    fn threat_16_token_request_has_only_the_allowed_credentials() {
        let ask = |secure, login, realm: &str| {
            token_request(&endpoint(secure, login), Scope { repository: "a/b", push: false }, &bearer(realm))
        };
        let request = ask(true, password(), "https://auth.example/token?x=1").unwrap();
        let asked = "https://auth.example:443/token?x=1&scope=repository%3Aa%2Fb%3Apull&service=a%20service";
        assert_eq!(request.url.text(), asked);
        assert_eq!(request.authorization, Some(Secret::new("Basic dTpwOnc=")));
        let request = ask(true, Some(Login::RefreshToken(Secret::new("r&t"))), "https://auth.example/token").unwrap();
        assert!(request.authorization.is_none() && !request.url.text().contains("r%26t"));
        assert!(request.form.unwrap().expose().ends_with("&refresh_token=r%26t"));
        for (secure, realm) in [
            (true, "http://auth.example/token"),
            (true, "file:///etc/passwd"),
            (true, "https://u@auth.example/"),
            (true, ""),
            (false, "https://auth.example/token"),
            (false, "http://auth.example/token"),
        ] {
            assert!(ask(secure, password(), realm).is_err(), "{realm}");
            assert!(ask(secure, None, realm).is_err(), "{realm}");
        }
        assert!(ask(false, password(), "http://Registry.example:5001/token").is_ok());
        let proxied = Endpoint { proxy: Some("http://proxy.example:3128".to_owned()), ..endpoint(true, password()) };
        let realm = |realm: &str| token_request(&proxied, Scope { repository: "a/b", push: true }, &bearer(realm));
        assert!(realm("https://auth.example/token").is_ok());
        let error = realm("https://169.254.169.254/token").unwrap_err();
        assert!(error.failure.reason.contains("private network"), "{:?}", error.failure);
    }

    #[test]
    fn token_is_parsed_and_must_fit_into_a_header() {
        assert_eq!(token(b"{\"token\":\"abc\",\"expires_in\":3}").unwrap().expose(), "abc");
        assert_eq!(token(b"{\"token\":\"\",\"access_token\":\"x.y\"}").unwrap().expose(), "x.y");
        for bad in
            ["", "{}", "[]", "{\"token\":\"a b\"}", "{\"token\":\"a\\r\\nX: y\"}", "{\"token\":3}", "{\"token\":\"\"}"]
        {
            let error = token(bad.as_bytes()).unwrap_err();
            assert!(!error.failure.reason.contains("a b"), "{bad}");
        }
        assert!(token(format!("{{\"token\":\"{}\"}}", "a".repeat(20_000)).as_bytes()).is_err());
    }
}
