//! The HTTP client of one server: requests with login and redirects.

mod agents;
mod push;

pub use agents::Clients;

use crate::challenge;
use crate::error::{Error, Retry};
use crate::login::{self, Logins, MAX_TOKEN, Scope, TokenRequest};
use crate::reach;
use crate::retry;
use crate::stream;
use crate::transport::Watch;
use crate::url::Url;
use casemate_fetch_wire::{Endpoint, Secret, Step};
use std::sync::Arc;
use ureq::http::{HeaderValue, Response, header};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

/// A registry redirects to its storage service, which can redirect again.
const MAX_REDIRECTS: usize = 5;

/// A request for a manifest or a blob.
#[derive(Debug, Clone, Copy)]
pub struct ObjectRequest<'a> {
    /// Path below the repository.
    pub path: &'a str,
    /// `Accept`.
    pub accept: &'a str,
    /// `Range`, from this byte on.
    pub from: u64,
}

/// A server's client.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    agent: Agent,
    watch: Arc<Watch>,
    logins: Logins,
}

impl Client {
    /// `host:port`.
    pub fn server(&self) -> String {
        format!("{}:{}", self.endpoint.host, self.endpoint.port)
    }

    /// Requests an object of a repository. Returns a successful response.
    pub fn get(&mut self, repository: &str, ask: ObjectRequest<'_>) -> Result<Response<Body>, Error> {
        let repository = self.prefixed(repository);
        let origin = self.origin(&repository, ask.path);
        let scope = Scope { repository: &repository, push: false };
        self.logged_in(scope, |client, login| client.follow(&origin, login, ask))
            .and_then(|response| accept(response).map_err(|error| error.with_server(&origin.server())))
    }

    /// The repository's path on this server, which can be a mirror with a path prefix.
    fn prefixed(&self, repository: &str) -> String {
        match self.endpoint.prefix.as_str() {
            "" => repository.to_owned(),
            prefix => format!("{prefix}/{repository}"),
        }
    }

    /// The URL of an object of a repository.
    fn origin(&self, repository: &str, path: &str) -> Url {
        let host = self.endpoint.host.to_ascii_lowercase();
        Url { secure: self.endpoint.secure, host, port: self.endpoint.port, path: format!("/v2/{repository}/{path}") }
    }

    /// Sends a request; after status 401, logs in and sends it again. A stored token can have expired, so the answer to a new token
    /// decides.
    fn logged_in(
        &mut self,
        scope: Scope<'_>,
        mut send: impl FnMut(&Self, Option<&Secret>) -> Result<Response<Body>, Error>,
    ) -> Result<Response<Body>, Error> {
        for attempt in 0..2 {
            let authorization = self.logins.header(&self.endpoint, scope);
            let response = send(self, authorization.as_ref())?;
            if response.status().as_u16() != 401 {
                return Ok(response);
            }
            self.logins.forget(scope);
            if attempt == 0 {
                let server = self.server();
                self.log_in(scope, response).map_err(|error| error.with_server(&server))?;
            }
        }
        let reason = match &self.endpoint.login {
            Some(_) => "it refuses the login that the file gives for it",
            None => "it wants a login, and the file gives none for it",
        };
        Err(Error::new(Step::LogIn, reason).status(401).with_server(&self.server()))
    }

    /// Follows redirects. Credentials are never sent to another origin.
    fn follow(
        &self,
        origin: &Url,
        authorization: Option<&Secret>,
        ask: ObjectRequest<'_>,
    ) -> Result<Response<Body>, Error> {
        let mut at = origin.clone();
        for _ in 0..=MAX_REDIRECTS {
            let own = at.same_origin(origin);
            let response =
                self.send(&at, authorization.filter(|_| own), ask).map_err(|error| error.with_server(&at.server()))?;
            let status = response.status().as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                if status == 401 && !own {
                    let reason = "a redirect led to this server, which asks for a login";
                    return Err(Error::new(Step::Redirect, reason).status(status).with_server(&at.server()));
                }
                return if own {
                    Ok(response)
                } else {
                    accept(response).map_err(|error| error.with_server(&at.server()))
                };
            }
            let refused = |reason: &str| Error::new(Step::Redirect, reason).status(status).with_server(&at.server());
            let location =
                response.headers().get(header::LOCATION).ok_or_else(|| refused("the redirect has no location"))?;
            let location = location.to_str().map_err(|_| refused("the location is not a URL"))?;
            let next = at.join(location).map_err(|reason| refused(&format!("it leads to {reason}")))?;
            reach::may_name(&self.endpoint, &next)
                .map_err(|reason| refused(&format!("it leads to {next}, {reason}")))?;
            at = next;
        }
        let reason = format!("more than {MAX_REDIRECTS} redirects");
        Err(Error::new(Step::Redirect, reason).with_server(&at.server()))
    }

    fn send(&self, url: &Url, authorization: Option<&Secret>, ask: ObjectRequest<'_>) -> Result<Response<Body>, Error> {
        let mut request = self.agent.get(url.text()).header(header::ACCEPT, ask.accept);
        if ask.from > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", ask.from));
        }
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, sensitive(authorization)?);
        }
        self.watch.begin();
        request.call().map_err(|error| self.error(&error))
    }

    fn error(&self, error: &ureq::Error) -> Error {
        let step = if self.watch.is_connected() { Step::Request } else { Step::Connect };
        Error::http(step, error)
    }

    fn log_in(&mut self, scope: Scope<'_>, response: Response<Body>) -> Result<(), Error> {
        let headers = response.headers().get_all(header::WWW_AUTHENTICATE);
        let challenge = challenge::choose(headers.iter().map(HeaderValue::as_bytes));
        // Reading a small body to its end keeps the connection open for the next request.
        let _ = stream::small(response, MAX_TOKEN, &self.watch);
        match challenge {
            None => Err(Error::new(Step::LogIn, "it asks for an unsupported kind of login").status(401)),
            Some(challenge::Challenge::Basic) => {
                self.logins.use_basic();
                Ok(())
            }
            Some(bearer) => {
                let request = login::token_request(&self.endpoint, scope, &bearer)?;
                let server = request.url.server();
                let token = self.token(&request).map_err(|error| error.with_server(&server))?;
                self.logins.keep(scope, token);
                Ok(())
            }
        }
    }

    fn token(&self, TokenRequest { url, authorization, form }: &TokenRequest) -> Result<Secret, Error> {
        self.watch.begin();
        let answer = match form {
            Some(form) => {
                let request = self.agent.post(url.text());
                request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").send(form.expose())
            }
            None => {
                let mut request = self.agent.get(url.text()).header(header::ACCEPT, "application/json");
                if let Some(authorization) = authorization {
                    request = request.header(header::AUTHORIZATION, sensitive(authorization)?);
                }
                request.call()
            }
        };
        let response = answer.map_err(|error| {
            let error = self.error(&error);
            if error.failure.step == Step::Request { error.at(Step::LogIn) } else { error }
        })?;
        let status = response.status().as_u16();
        if status != 200 {
            let error = match status {
                401 | 403 => Error::new(Step::LogIn, "the token server refuses the login"),
                _ => Error::new(Step::LogIn, "the token server gives no token"),
            };
            return Err(retry::classify(error.status(status), response.headers()));
        }
        let long = || Error::new(Step::LogIn, "the token server's answer has more than 64 KiB");
        let body = stream::small(response, MAX_TOKEN, &self.watch).map_err(|error| error.at(Step::LogIn))?;
        let body = Zeroizing::new(body.ok_or_else(long)?);
        login::token(&body)
    }
}

/// Returns a response with content, or the error of its status.
fn accept(response: Response<Body>) -> Result<Response<Body>, Error> {
    let status = response.status().as_u16();
    if matches!(status, 200 | 206) {
        return Ok(response);
    }
    let reason = match status {
        403 => "access is denied",
        404 => "it is not there",
        416 => "it is shorter than expected",
        429 => "too many requests",
        _ => "",
    };
    let error = retry::classify(Error::new(Step::Request, reason).status(status), response.headers());
    debug_assert!(error.retry != Retry::Stop);
    Err(error)
}

/// A header that the HTTP client does not log.
fn sensitive(secret: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(secret.expose())
        .map_err(|_| Error::new(Step::LogIn, "the login does not fit into a header"))?;
    value.set_sensitive(true);
    Ok(value)
}
