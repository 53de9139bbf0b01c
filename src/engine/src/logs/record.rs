//! A record as the logs of the host take it, whichever protocol carries it.

/// One record.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// SYSLOG_IDENTIFIER of the journal, APP-NAME of RFC 5424.
    pub identifier: &'a str,
    /// syslog(3), 0 to 7.
    pub priority: u8,
    /// Names and values of further fields.
    pub fields: &'a [(&'static str, &'a str)],
    /// The message.
    pub text: &'a [u8],
}
