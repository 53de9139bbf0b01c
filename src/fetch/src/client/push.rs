//! Uploads to a registry (OCI distribution-spec, "Pushing"): a blob in one request, a manifest by digest or tag.

use super::{Client, Url, accept, sensitive};
use crate::error::{Error, Refused};
use crate::login::Scope;
use crate::reach;
use crate::transport::Watch;
use casemate_fetch_wire::{PushObject, Put, Secret, Step};
use std::fs::File;
use std::io::{self, Read};
use ureq::http::{Response, header};
use ureq::{Body, SendBody};

impl Client {
    /// Uploads the content of the pipe, unless the registry has it.
    pub fn put(&mut self, put: &Put, pipe: File) -> Result<(), Error> {
        let server = self.server();
        self.send_it(put, pipe).map_err(|error| error.with_server(&server))
    }

    fn send_it(&mut self, put: &Put, pipe: File) -> Result<(), Error> {
        let scope = Scope { repository: &put.repository, push: true };
        let digest = match &put.object {
            PushObject::Blob(digest) => digest,
            PushObject::Manifest { digest, tag, media_type } => {
                let name = tag.clone().unwrap_or_else(|| digest.to_string());
                let existing = self.origin(&put.repository, &format!("manifests/{digest}"));
                // This request logs in if needed, before the content of the pipe is consumed.
                self.logged_in(scope, |client, login| client.bodiless("HEAD", &existing, login, media_type))?;
                let url = self.origin(&put.repository, &format!("manifests/{name}"));
                let login = self.logins.header(&self.endpoint, scope);
                return self.body(&url, login.as_ref(), media_type, put.size, pipe);
            }
        };
        let existing = self.origin(&put.repository, &format!("blobs/{digest}"));
        let found = self.logged_in(scope, |client, login| client.bodiless("HEAD", &existing, login, "*/*"))?;
        // A registry over an object storage sends us there for what it has, and answers 404 for what it has not (distribution does so).
        // It is not followed: the storage's link may be for GET alone, and no answer of its would weigh more than the registry's own,
        // which looks for every blob again when the manifest comes.
        if matches!(found.status().as_u16(), 200 | 302 | 303 | 307) {
            return Ok(());
        }
        let begin = self.origin(&put.repository, "blobs/uploads/");
        let response = self.logged_in(scope, |client, login| client.bodiless("POST", &begin, login, "*/*"))?;
        if response.status() != 202 {
            return Err(refused(response));
        }
        let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        let mut url = location
            .ok_or("it does not say where to")
            .and_then(|location| begin.join(location))
            .map_err(|reason| Error::new(Step::Send, format!("where it wants the bytes is {reason}")))?;
        reach::may_name(&self.endpoint, &url)
            .map_err(|reason| Error::new(Step::Send, format!("it wants the bytes at {url}, {reason}")))?;
        let separator = if url.path.contains('?') { '&' } else { '?' };
        url.path = format!("{}{separator}digest={}", url.path, crate::url::encoded(&digest.to_string()));
        // What identifies us goes to its own server alone.
        let login = self.logins.header(&self.endpoint, scope).filter(|_| url.same_origin(&begin));
        self.body(&url, login.as_ref(), "application/octet-stream", put.size, pipe)
    }

    /// A request without a body.
    fn bodiless(&self, method: &str, url: &Url, login: Option<&Secret>, accept: &str) -> Result<Response<Body>, Error> {
        self.watch.begin();
        let answer = if method == "HEAD" {
            let mut request = self.agent.head(url.text()).header(header::ACCEPT, accept);
            if let Some(login) = login {
                request = request.header(header::AUTHORIZATION, sensitive(login)?);
            }
            request.call()
        } else {
            let mut request = self.agent.post(url.text());
            if let Some(login) = login {
                request = request.header(header::AUTHORIZATION, sensitive(login)?);
            }
            request.send_empty()
        };
        answer.map_err(|error| self.error(&error))
    }

    fn body(&self, url: &Url, login: Option<&Secret>, kind: &str, size: u64, pipe: File) -> Result<(), Error> {
        self.watch.begin();
        let mut request = self.agent.put(url.text()).header(header::CONTENT_TYPE, kind);
        request = request.header(header::CONTENT_LENGTH, size.to_string());
        if let Some(login) = login {
            request = request.header(header::AUTHORIZATION, sensitive(login)?);
        }
        let mut exact = Exactly { pipe, left: size, watch: &self.watch };
        let response = request.send(SendBody::from_reader(&mut exact)).map_err(|error| {
            let error = self.error(&error);
            if error.failure.step == Step::Request { error.at(Step::Send) } else { error }
        })?;
        if response.status() == 201 { Ok(()) } else { Err(refused(response)) }
    }
}

/// Reads exactly the announced number of bytes. The HTTP client would wait for missing ones without end.
struct Exactly<'a> {
    pipe: File,
    left: u64,
    watch: &'a Watch,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.watch.sending();
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.pipe.read(buffer.get_mut(..length).unwrap_or_default())?;
        if count == 0 && length > 0 {
            let reason = format!("what is to be sent has ended {} bytes early", self.left);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, Refused(reason)));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// The error of a refused upload. Only the status is reported, since the registry's text is untrusted.
fn refused(response: Response<Body>) -> Error {
    let status = response.status().as_u16();
    let error = match status {
        200..=299 => Error::new(Step::Send, "it answers with a status that means something else"),
        _ => match accept(response) {
            Err(error) => Error::new(Step::Send, error.failure.reason),
            Ok(_) => Error::new(Step::Send, "it does not take it"),
        },
    };
    error.status(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn pipe_that_ends_early_is_an_error() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let watch = Watch::new(ours.into());
        let sent = |left: u64| {
            let (read, mut write) = io::pipe().unwrap();
            write.write_all(b"12345").unwrap();
            drop(write);
            let mut bytes = Vec::new();
            let pipe = File::from(std::os::fd::OwnedFd::from(read));
            Exactly { pipe, left, watch: &watch }.read_to_end(&mut bytes).map(|_| bytes)
        };
        assert_eq!(sent(5).unwrap(), b"12345");
        assert_eq!(sent(3).unwrap(), b"123");
        let error = sent(7).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(Error::io(Step::Send, &error).failure.reason, "what is to be sent has ended 2 bytes early");
    }
}
