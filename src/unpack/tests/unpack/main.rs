//! The real program in real namespaces, fed what nobody should feed it.

mod craft;
mod hostile;
mod index;
mod layers;
mod peers;
mod room;
