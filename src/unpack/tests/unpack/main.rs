//! The real program in real namespaces, fed what nobody should feed it.

mod layers;
mod room;
