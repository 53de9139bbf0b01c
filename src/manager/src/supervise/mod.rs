//! The event loop: starts, logs, restarts, adoption.
