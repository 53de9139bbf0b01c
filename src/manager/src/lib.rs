//! `casemate`: the command line and the manager. It reads the one file, decides what it means on this host, keeps the images,
//! and supervises what runs, without any privilege of its own.
//!
//! The story of `casemate up`, one module a stage: [`spec`] (text → `Spec`) → [`plan`] (→ `Job`, with [`profile`]) →
//! [`image`] (every byte proven, every layer unpacked) → [`launch`] (directories, identities, the helper) →
//! [`helper_client`] (the helper's request table) → [`supervise`] (starts, restarts, with [`logs`]) ↔ [`control`] (what the verbs of
//! [`cli`] ask a running manager).
#![forbid(unsafe_code)]

pub mod cli;
pub mod control;
pub mod exit;
pub mod helper_client;
pub mod image;
pub mod launch;
pub mod logs;
pub mod notify;
pub mod plan;
pub mod printable;
pub mod profile;
pub mod registry;
pub mod spec;
pub mod supervise;
