//! From the caller's identity to the manager's: directories, identities, the helper in its cgroup.

mod directories;

pub use directories::Directories;
