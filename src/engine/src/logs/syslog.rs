//! Records by RFC 5424, formatted by the `syslog` crate, as bounded datagrams without control bytes: a payload cannot begin another
//! record, even for a daemon that reads line by line (threat row 29).

use super::record::Record;
use casemate_error::printable;
use std::collections::BTreeMap;
use syslog::{Facility, Formatter5424, LogFormat, Severity};

/// Bytes of text in one record. With its header a record stays below 8 KiB, the default limit of daemons (rsyslog, `maxMessageSize`). A
/// longer text becomes several records.
const MAX_TEXT: usize = 7 * 1024;
/// Bytes of APP-NAME (RFC 5424, section 6.2.5).
const MAX_NAME: usize = 48;
/// SD-ID of the fields: without a registered enterprise number, the one for examples is used (RFC 5612).
const FIELDS: &str = "casemate@32473";

/// The datagrams of a record.
pub fn datagrams(record: &Record<'_>) -> Vec<Vec<u8>> {
    let mut text = String::with_capacity(record.text.len());
    printable(record.text, &mut text);
    let formatter = Formatter5424 {
        facility: Facility::LOG_DAEMON,
        hostname: Some(host()),
        process: record.identifier.chars().take(MAX_NAME).collect(),
        pid: std::process::id(),
    };
    let fields: BTreeMap<_, _> =
        record.fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let fields: BTreeMap<_, _> = [(FIELDS.to_owned(), fields)].into();
    let format = |piece: &str| {
        let mut datagram = Vec::with_capacity(piece.len() + 512);
        // Writing to a vector does not fail.
        let _ = formatter.format(&mut datagram, severity(record.priority), (0, fields.clone(), piece));
        datagram
    };
    pieces(&text).map(format).collect()
}

/// Pieces of at most [`MAX_TEXT`], cut between characters; an empty text is one piece.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let cut = (0..=MAX_TEXT.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let (piece, more) = text.split_at(cut);
        rest = (!more.is_empty()).then_some(more);
        Some(piece)
    })
}

fn severity(priority: u8) -> Severity {
    match priority {
        0 => Severity::LOG_EMERG,
        1 => Severity::LOG_ALERT,
        2 => Severity::LOG_CRIT,
        3 => Severity::LOG_ERR,
        4 => Severity::LOG_WARNING,
        5 => Severity::LOG_NOTICE,
        6 => Severity::LOG_INFO,
        _ => Severity::LOG_DEBUG,
    }
}

/// The host name if it is valid in a header (PRINTUSASCII), else the NILVALUE.
fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let valid = !name.is_empty() && name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic());
    if valid { name } else { "-".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &[u8]) -> Vec<String> {
        let fields: &[(&'static str, &str)] = &[("CASEMATE_CONTAINER", "web"), ("ODD", "a\"]\\")];
        let record = Record { identifier: "web", priority: 4, fields, text };
        datagrams(&record).into_iter().map(|datagram| String::from_utf8(datagram).unwrap()).collect()
    }

    #[test]
    fn record_follows_rfc_5424() {
        let record = records(b"hello world").remove(0);
        let (head, rest) = record.split_once(" [").unwrap();
        let head: Vec<_> = head.split(' ').collect();
        let pid = std::process::id().to_string();
        let [priority, time, host, name, process, message] = head[..] else { panic!("{head:?}") };
        // daemon is 3, warning 4: 3 * 8 + 4.
        assert_eq!((priority, name, process, message), ("<28>1", "web", pid.as_str(), "0"));
        assert!(time.ends_with('Z') && time.contains('T') && time.len() <= 27, "{time}");
        assert!(!host.is_empty());
        assert_eq!(rest, "casemate@32473 CASEMATE_CONTAINER=\"web\" ODD=\"a\\\"\\]\\\\\"] hello world");
    }

    #[test]
    fn threat_29_line_is_one_record_of_syslog() {
        let forged = b"x\r\n<0>1 2026-01-31T12:00:00Z host web 1 0 - forged\x00\x1b[2J\xff\xe2\x80\xa8";
        let record = records(forged).remove(0);
        assert!(!record.chars().any(char::is_control), "{record:?}");
        assert!(
            record.ends_with("x\\r\\n<0>1 2026-01-31T12:00:00Z host web 1 0 - forged\\u{0}\\u{1b}[2J\\xff\\u{2028}")
        );
    }

    #[test]
    fn long_text_is_split_into_bounded_records() {
        for text in ["é".repeat(20_000), "x".repeat(MAX_TEXT), "\u{1b}".repeat(5000), String::new()] {
            let mut shown = String::new();
            printable(text.as_bytes(), &mut shown);
            let records = records(text.as_bytes());
            assert!(records.iter().all(|record| record.len() <= 8192));
            let sent: String = records.iter().map(|record| record.split_once("\"] ").unwrap().1).collect();
            assert!(sent == shown && !records.is_empty());
        }
    }
}
