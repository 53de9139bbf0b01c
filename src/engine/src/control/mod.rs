//! The control socket, by which verbs use a running manager: newline-delimited JSON, one request per connection. [`Server`] is the
//! manager's side, [`send`] the verbs' side.

mod client;
mod protocol;
mod server;

pub use client::{Error, Responses, send};
pub use protocol::{MAX_REQUEST, Request, Response, Status};
pub use server::{ConnectionId, Server};
