//! What the verbs ask a running manager: newline-delimited JSON over a unix socket in the run directory, one request a
//! connection. The manager's side ([`Server`]) and the verbs' side ([`ask`]) of it.

mod client;
mod protocol;
mod server;

pub use client::{Answers, AskError, ask};
pub use protocol::{MAX_REQUEST, Request, Response, Status};
pub use server::{Handle, Server};
