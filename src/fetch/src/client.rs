//! One server of the terms: its HTTP client, and how a request to it goes: logged in if it asks, redirected where that is allowed.

mod agents;
mod push;

pub use agents::Clients;

use crate::challenge;
use crate::fault::{Fault, Then};
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

/// A registry sends its clients to a storage, and a storage may send them on.
const MAX_REDIRECTS: usize = 5;

/// What is asked of a server.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
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

    /// Asks for something of a repository; gives the answer that has it.
    pub fn get(&mut self, repository: &str, ask: Ask<'_>) -> Result<Response<Body>, Fault> {
        let repository = self.prefixed(repository);
        let origin = self.origin(&repository, ask.path);
        let scope = Scope { repository: &repository, push: false };
        self.logged_in(scope, |client, login| client.follow(&origin, login, ask))
            .and_then(|response| accept(response).map_err(|fault| fault.with(&origin.server())))
    }

    /// As the server's mirrors and caches call it.
    fn prefixed(&self, repository: &str) -> String {
        match self.endpoint.prefix.as_str() {
            "" => repository.to_owned(),
            prefix => format!("{prefix}/{repository}"),
        }
    }

    /// The URL of something of a repository.
    fn origin(&self, repository: &str, path: &str) -> Url {
        let host = self.endpoint.host.to_ascii_lowercase();
        Url { secure: self.endpoint.secure, host, port: self.endpoint.port, path: format!("/v2/{repository}/{path}") }
    }

    /// Sends a request, and once more when the server has said how to log in. A token may have expired: what the server says to a
    /// new one counts.
    fn logged_in(
        &mut self,
        scope: Scope<'_>,
        mut send: impl FnMut(&Self, Option<&Secret>) -> Result<Response<Body>, Fault>,
    ) -> Result<Response<Body>, Fault> {
        for attempt in 0..2 {
            let authorization = self.logins.header(&self.endpoint, scope);
            let response = send(self, authorization.as_ref())?;
            if response.status().as_u16() != 401 {
                return Ok(response);
            }
            self.logins.forget(scope);
            if attempt == 0 {
                let server = self.server();
                self.log_in(scope, response).map_err(|fault| fault.with(&server))?;
            }
        }
        let reason = match &self.endpoint.login {
            Some(_) => "it refuses the login that the file gives for it",
            None => "it wants a login, and the file gives none for it",
        };
        Err(Fault::new(Step::LogIn, reason).status(401).with(&self.server()))
    }

    /// Follows redirects. What identifies us never goes to another origin.
    fn follow(&self, origin: &Url, authorization: Option<&Secret>, ask: Ask<'_>) -> Result<Response<Body>, Fault> {
        let mut at = origin.clone();
        for _ in 0..=MAX_REDIRECTS {
            let own = at.same_origin(origin);
            let response =
                self.send(&at, authorization.filter(|_| own), ask).map_err(|fault| fault.with(&at.server()))?;
            let status = response.status().as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                if status == 401 && !own {
                    let reason = "a redirect led here, where no login is given to";
                    return Err(Fault::new(Step::Redirect, reason).status(status).with(&at.server()));
                }
                return if own { Ok(response) } else { accept(response).map_err(|fault| fault.with(&at.server())) };
            }
            let refused = |reason: &str| Fault::new(Step::Redirect, reason).status(status).with(&at.server());
            let location =
                response.headers().get(header::LOCATION).ok_or_else(|| refused("it does not say where to"))?;
            let location = location.to_str().map_err(|_| refused("it leads to what is no URL"))?;
            let next = at.join(location).map_err(|reason| refused(&format!("it leads to {reason}")))?;
            reach::may_name(&self.endpoint, &next)
                .map_err(|reason| refused(&format!("it leads to {next}, {reason}")))?;
            at = next;
        }
        let reason = format!("more than {MAX_REDIRECTS} redirects");
        Err(Fault::new(Step::Redirect, reason).with(&at.server()))
    }

    fn send(&self, url: &Url, authorization: Option<&Secret>, ask: Ask<'_>) -> Result<Response<Body>, Fault> {
        let mut request = self.agent.get(url.text()).header(header::ACCEPT, ask.accept);
        if ask.from > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", ask.from));
        }
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, sensitive(authorization)?);
        }
        self.watch.begin();
        request.call().map_err(|error| self.fault(&error))
    }

    fn fault(&self, error: &ureq::Error) -> Fault {
        let step = if self.watch.is_connected() { Step::Request } else { Step::Connect };
        Fault::http(step, error)
    }

    fn log_in(&mut self, scope: Scope<'_>, response: Response<Body>) -> Result<(), Fault> {
        let headers = response.headers().get_all(header::WWW_AUTHENTICATE);
        let challenge = challenge::choose(headers.iter().map(HeaderValue::as_bytes));
        // Reading the rest of a small body keeps the connection; of a large one, the connection is not worth it.
        let _ = stream::small(response, MAX_TOKEN, &self.watch);
        match challenge {
            None => Err(Fault::new(Step::LogIn, "it asks for a login of a kind that is not known here").status(401)),
            Some(challenge::Challenge::Basic) => {
                self.logins.use_basic();
                Ok(())
            }
            Some(bearer) => {
                let request = login::token_request(&self.endpoint, scope, &bearer)?;
                let server = request.url.server();
                let token = self.token(&request).map_err(|fault| fault.with(&server))?;
                self.logins.keep(scope, token);
                Ok(())
            }
        }
    }

    fn token(&self, TokenRequest { url, authorization, form }: &TokenRequest) -> Result<Secret, Fault> {
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
            let fault = self.fault(&error);
            if fault.failure.step == Step::Request { fault.at(Step::LogIn) } else { fault }
        })?;
        let status = response.status().as_u16();
        if status != 200 {
            let fault = match status {
                401 | 403 => Fault::new(Step::LogIn, "the token server refuses the login"),
                _ => Fault::new(Step::LogIn, "the token server gives no token"),
            };
            return Err(retry::judge(fault.status(status), response.headers()));
        }
        let long = || Fault::new(Step::LogIn, "the token server's answer has more than 64 KiB");
        let body = stream::small(response, MAX_TOKEN, &self.watch).map_err(|fault| fault.at(Step::LogIn))?;
        let body = Zeroizing::new(body.ok_or_else(long)?);
        login::token(&body)
    }
}

/// An answer that has content, or why not.
fn accept(response: Response<Body>) -> Result<Response<Body>, Fault> {
    let status = response.status().as_u16();
    if matches!(status, 200 | 206) {
        return Ok(response);
    }
    let reason = match status {
        403 => "it does not let us",
        404 => "it does not have it",
        416 => "it has less than was promised",
        429 => "it has had too many requests",
        _ => "",
    };
    let fault = retry::judge(Fault::new(Step::Request, reason).status(status), response.headers());
    debug_assert!(fault.then != Then::Stop);
    Err(fault)
}

/// A header that the client shows to nobody.
fn sensitive(secret: &Secret) -> Result<HeaderValue, Fault> {
    let mut value = HeaderValue::from_str(secret.expose())
        .map_err(|_| Fault::new(Step::LogIn, "the login does not fit into a header"))?;
    value.set_sensitive(true);
    Ok(value)
}
