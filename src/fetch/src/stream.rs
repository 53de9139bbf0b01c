//! Copies the body of a response into the manager's pipe, with limits on its size and a minimum speed.

use crate::error::Error;
use crate::transport::{IDLE, Watch};
use casemate_fetch_wire::{MAX_DOCUMENT, Step};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;
use ureq::Body;
use ureq::http::{HeaderMap, Response, header};

/// Time over which the minimum speed is measured.
const WINDOW: Duration = Duration::from_secs(30);
/// Minimum number of bytes in [`WINDOW`].
pub const MIN_BYTES: u64 = 30 * 1024;
const CHUNK: usize = 128 * 1024;

/// The part of a blob that is still missing.
#[derive(Debug, Clone, Copy)]
pub struct Rest {
    /// Offset of the next byte.
    pub at: u64,
    /// Size of the blob in bytes.
    pub size: u64,
}

/// Copies the missing part of a blob, and advances `rest`.
pub fn blob(response: Response<Body>, rest: &mut Rest, pipe: &mut File, watch: &Watch) -> Result<(), Error> {
    let begin = begin(&response, rest)?;
    let expected = rest.size - begin;
    if let Some(length) = content_length(response.headers())
        && length != expected
    {
        return Err(Error::new(
            Step::Compare,
            format!("it sends {length} bytes of {}, {expected} are expected", rest.size),
        ));
    }
    let mut reader = Metered::new(response, watch);
    let mut position = begin;
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        let mut chunk = buffer.get(..count).unwrap_or_default();
        position += count as u64;
        if position > rest.size {
            return Err(Error::new(Step::Compare, format!("it sends more than the expected {} bytes", rest.size)));
        }
        // A server without range requests sends the blob from its start.
        let fresh = position.saturating_sub(rest.at).min(count as u64);
        chunk = chunk.get(count - usize::try_from(fresh).unwrap_or(0)..).unwrap_or_default();
        pass_on(pipe, chunk)?;
        rest.at = rest.at.max(position);
    }
    if position == rest.size {
        return Ok(());
    }
    let reason = format!("the connection ended after {position} of {} bytes", rest.size);
    Err(Error::new(Step::Receive, reason).retryable(None))
}

/// Offset of the first byte of a response.
fn begin(response: &Response<Body>, rest: &Rest) -> Result<u64, Error> {
    if response.status().as_u16() != 206 {
        return Ok(0);
    }
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    match range.and_then(content_range) {
        Some((first, last, total))
            if first == rest.at
                && last.checked_add(1) == Some(rest.size)
                && total.is_none_or(|total| total == rest.size) =>
        {
            Ok(first)
        }
        _ => Err(Error::new(Step::Receive, "it sends another range than the requested one").status(206)),
    }
}

/// `bytes 3-9/10` or `bytes 3-9/*` (RFC 9110, section 14.4).
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok())?;
    let total = if total == "*" { None } else { Some(number(total)?) };
    Some((number(first)?, number(last)?, total))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A whole document and its media type.
pub fn document(response: Response<Body>, watch: &Watch) -> Result<(Vec<u8>, String), Error> {
    let long =
        |length: &str| Error::new(Step::Compare, format!("a document of {length}; the limit is {MAX_DOCUMENT} bytes"));
    if let Some(length) = content_length(response.headers()).filter(|length| *length > MAX_DOCUMENT) {
        return Err(long(&format!("{length} bytes")));
    }
    let media_type =
        response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Parameters such as a charset do not matter.
    let media_type: String = media_type.split(';').next().unwrap_or_default().trim().chars().take(256).collect();
    let bytes = small(response, MAX_DOCUMENT, watch)?.ok_or_else(|| long("more"))?;
    Ok((bytes, media_type))
}

/// A whole body of up to `most` bytes; `None` if it is longer.
pub fn small(response: Response<Body>, most: u64, watch: &Watch) -> Result<Option<Vec<u8>>, Error> {
    let mut reader = Metered::new(response, watch);
    let mut bytes = Vec::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(Some(bytes)),
            count => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
        if bytes.len() as u64 > most {
            return Ok(None);
        }
    }
}

/// Writes all bytes to the manager's pipe.
pub fn pass_on(pipe: &mut File, bytes: &[u8]) -> Result<(), Error> {
    pipe.write_all(bytes).map_err(|error| {
        let error = Error::io(Step::PassOn, &error);
        Error { retry: crate::error::Retry::Stop, ..error }
    })
}

/// A body with a minimum speed. Waiting for the manager does not count, since it can limit the rate.
struct Metered<'a> {
    body: ureq::BodyReader<'static>,
    watch: &'a Watch,
    since: Duration,
    bytes: u64,
}

impl<'a> Metered<'a> {
    fn new(response: Response<Body>, watch: &'a Watch) -> Self {
        let body = response.into_body().into_with_config().limit(u64::MAX).reader();
        Self { body, watch, since: watch.waited(), bytes: 0 }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        // The HTTP client does not limit chunk headers and trailers; this limits them by time.
        self.watch.expect(IDLE);
        let count = loop {
            match self.body.read(buffer) {
                Ok(count) => break count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(Step::Receive, &error)),
            }
        };
        self.bytes += count as u64;
        let waited = self.watch.waited().saturating_sub(self.since);
        if waited >= WINDOW {
            if self.bytes < MIN_BYTES {
                let reason = format!("too slow: {} bytes in {} seconds", self.bytes, waited.as_secs());
                return Err(Error::new(Step::Receive, reason));
            }
            self.since = self.watch.waited();
            self.bytes = 0;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_range_is_parsed() {
        assert_eq!(content_range("bytes 3-9/10"), Some((3, 9, Some(10))));
        assert_eq!(content_range("bytes 0-0/*"), Some((0, 0, None)));
        for bad in [
            "", "bytes", "bytes 3-9", "bytes 3/10", "bytes -9/10", "bytes a-9/10", "bytes 3-9/x", "items 3-9/10",
            "bytes +3-9/10", "bytes 3-99999999999999999999/10",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
