//! A record in the native protocol of the journal (systemd.journal-fields(7), "JOURNAL_NATIVE_PROTOCOL"): one datagram.

use super::record::Record;

/// The datagram of a record.
pub fn datagram(record: &Record<'_>) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(record.text.len() + 512);
    field(&mut datagram, "MESSAGE", record.text);
    field(&mut datagram, "PRIORITY", record.priority.to_string().as_bytes());
    field(&mut datagram, "SYSLOG_IDENTIFIER", record.identifier.as_bytes());
    for (name, value) in record.fields {
        field(&mut datagram, name, value.as_bytes());
    }
    datagram
}

/// Every value has the form with a length: none can end early and begin another field (threat row 29).
fn field(datagram: &mut Vec<u8>, name: &str, value: &[u8]) {
    datagram.extend_from_slice(name.as_bytes());
    datagram.push(b'\n');
    datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
    datagram.extend_from_slice(value);
    datagram.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Parses a datagram as journald does.
    fn fields(mut datagram: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut fields = BTreeMap::new();
        while !datagram.is_empty() {
            let end = datagram.iter().position(|byte| *byte == b'\n').unwrap();
            let (name, rest) = datagram.split_at(end);
            let (length, rest) = rest[1..].split_first_chunk::<8>().unwrap();
            let (value, rest) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
            fields.insert(String::from_utf8(name.to_vec()).unwrap(), value.to_vec());
            datagram = rest.strip_prefix(b"\n").unwrap();
        }
        fields
    }

    #[test]
    fn threat_29_line_is_one_field_of_the_journal() {
        let forged = b"hello\nCASEMATE_CONTAINER=other\n\xff";
        let record = Record {
            identifier: "web",
            priority: 3,
            fields: &[("CASEMATE_CONTAINER", "web"), ("IMAGE_DIGEST", "sha256:bb")],
            text: forged,
        };
        let fields = fields(&datagram(&record));
        assert_eq!(fields["MESSAGE"], forged);
        assert_eq!(fields["PRIORITY"], b"3");
        assert_eq!(fields["SYSLOG_IDENTIFIER"], b"web");
        assert_eq!(fields["CASEMATE_CONTAINER"], b"web");
        assert_eq!(fields["IMAGE_DIGEST"], b"sha256:bb");
        assert_eq!(fields.len(), 5);
    }
}
