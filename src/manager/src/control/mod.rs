//! What the verbs ask a running manager: newline-delimited JSON over a unix socket.
