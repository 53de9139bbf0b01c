//! An answer's bytes on their way into the manager's pipe: as many as were promised, not one more, and not too slowly.

use crate::fault::Fault;
use crate::transport::{IDLE, Watch};
use casemate_fetch_wire::{MAX_DOCUMENT, Step};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;
use ureq::Body;
use ureq::http::{HeaderMap, Response, header};

/// In so much time of waiting,
const WINDOW: Duration = Duration::from_secs(30);
/// less than this is a server that will never be done.
pub const LEAST: u64 = 30 * 1024;
const CHUNK: usize = 128 * 1024;

/// What is left of a blob.
#[derive(Debug, Clone, Copy)]
pub struct Rest {
    /// The next byte.
    pub at: u64,
    /// The blob's size.
    pub size: u64,
}

/// Passes on what is left of a blob; `rest` says afterwards how far it got.
pub fn blob(response: Response<Body>, rest: &mut Rest, pipe: &mut File, watch: &Watch) -> Result<(), Fault> {
    let begin = begin(&response, rest)?;
    let expected = rest.size - begin;
    if let Some(length) = content_length(response.headers())
        && length != expected
    {
        return Err(Fault::new(
            Step::Compare,
            format!("it sends {length} bytes of {}, {expected} were promised", rest.size),
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
            return Err(Fault::new(
                Step::Compare,
                format!("it sends more than the {} bytes that were promised", rest.size),
            ));
        }
        // A server that knows no ranges begins at the beginning.
        let news = position.saturating_sub(rest.at).min(count as u64);
        chunk = chunk.get(count - usize::try_from(news).unwrap_or(0)..).unwrap_or_default();
        pass_on(pipe, chunk)?;
        rest.at = rest.at.max(position);
    }
    if position == rest.size {
        return Ok(());
    }
    let reason = format!("the connection ended after {position} of {} bytes", rest.size);
    Err(Fault::new(Step::Receive, reason).again(None))
}

/// Where an answer begins.
fn begin(response: &Response<Body>, rest: &Rest) -> Result<u64, Fault> {
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
        _ => Err(Fault::new(Step::Receive, "it sends another range than the one that was asked for").status(206)),
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

/// A whole document and what it is called.
pub fn document(response: Response<Body>, watch: &Watch) -> Result<(Vec<u8>, String), Fault> {
    let long = |length: &str| {
        Fault::new(Step::Compare, format!("a document of {length}, {MAX_DOCUMENT} bytes are read at the most"))
    };
    if let Some(length) = content_length(response.headers()).filter(|length| *length > MAX_DOCUMENT) {
        return Err(long(&format!("{length} bytes")));
    }
    let media_type =
        response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Parameters such as a charset say nothing about a manifest.
    let media_type: String = media_type.split(';').next().unwrap_or_default().trim().chars().take(256).collect();
    let bytes = small(response, MAX_DOCUMENT, watch)?.ok_or_else(|| long("more"))?;
    Ok((bytes, media_type))
}

/// A whole body that may have so many bytes; `None` where it has more.
pub fn small(response: Response<Body>, most: u64, watch: &Watch) -> Result<Option<Vec<u8>>, Fault> {
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

/// Writes all of it; the manager may have lost interest.
pub fn pass_on(pipe: &mut File, bytes: &[u8]) -> Result<(), Fault> {
    pipe.write_all(bytes).map_err(|error| {
        let fault = Fault::io(Step::PassOn, &error);
        Fault { then: crate::fault::Then::Stop, ..fault }
    })
}

/// A body whose speed is watched. What waits for the manager does not count: it may be told to be slow.
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

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        // What lies between the pieces of a body, and behind its end, has no end of its own.
        self.watch.expect(IDLE);
        let count = loop {
            match self.body.read(buffer) {
                Ok(count) => break count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::io(Step::Receive, &error)),
            }
        };
        self.bytes += count as u64;
        let waited = self.watch.waited().saturating_sub(self.since);
        if waited >= WINDOW {
            if self.bytes < LEAST {
                let reason = format!("too slow: {} bytes in {} seconds", self.bytes, waited.as_secs());
                return Err(Fault::new(Step::Receive, reason));
            }
            (self.since, self.bytes) = (self.watch.waited(), 0);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_what_it_says() {
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
