//! Speaks to the registries that it was told of: writes what they send into the manager's pipes, and sends them what comes out of those.
//!
//! The story: read what a client needs of this host (certificate authorities, name servers), shut itself in, read the terms, shut
//! itself in to their ports, then answer one request after another until the manager hangs up. Everything that comes from the
//! network is hostile and bounded; the manager proves every byte again, so what a taken-over process could do is lie.
#![forbid(unsafe_code)]

pub mod challenge;
mod client;
mod confine;
mod fault;
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

/// Serves the connection that the starter left under descriptor [`SOCKET`]: 0 at its end, 1 where it broke, 2 without one.
pub fn run() -> ExitCode {
    let Ok(socket) = casemate_sys::inherited::take(SOCKET) else {
        // Without a terminal there is nobody to tell.
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
