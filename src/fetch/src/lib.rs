//! `casemate-fetch`: downloads from and uploads to the registries of its configuration, through pipes of the manager.
//!
//! In order: reads certificate authorities and name servers of this host, confines itself, receives the configuration, restricts itself
//! to the TCP ports in it, then serves one request after another until the manager closes the connection. All data from the network is
//! untrusted and bounded. The manager verifies every byte, so a compromised process can only withhold data.
#![forbid(unsafe_code)]

pub mod challenge;
mod client;
mod confine;
mod error;
mod host;
mod login;
mod reach;
pub mod resolve;
mod retry;
mod serve;
mod stream;
mod transport;
pub mod url;

use casemate_fetch_wire::SOCKET;
use std::io::Write;
use std::process::ExitCode;

/// Serves the connection on descriptor [`SOCKET`]. Exit code: 0 when the manager closed it, 1 after an error, 2 without a connection.
pub fn run() -> ExitCode {
    let Ok(socket) = casemate_sys::inherited::take(SOCKET) else {
        // Standard error may be closed.
        let _ = writeln!(
            std::io::stderr(),
            "casemate-fetch: it is started by `casemate` (pull, image push, lock, update), or by casemate-fetch.socket"
        );
        return ExitCode::from(2);
    };
    match serve::serve(&socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
