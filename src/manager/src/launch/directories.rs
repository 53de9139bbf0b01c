//! Where an instance keeps its state and meets its callers.

use std::path::{Path, PathBuf};

/// The two directories of an instance. Absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// What outlives a boot: blobs, layers, images, volumes, revisions, logs.
    pub state: PathBuf,
    /// What ends with the boot: sockets, locks, journals.
    pub run: PathBuf,
}

impl Directories {
    /// The helper's listening socket.
    pub fn helper_socket(&self) -> PathBuf {
        self.run.join("helper.sock")
    }

    /// The manager's control socket.
    pub fn control_socket(&self) -> PathBuf {
        self.run.join("control.sock")
    }

    /// The log files of one container.
    pub fn logs(&self, container: &casemate_wire::Name) -> PathBuf {
        self.state.join("logs").join(container.as_str())
    }

    /// The defaults: of the system as root, of the XDG base directories as an ordinary user.
    pub fn defaults(root: bool, variable: impl Fn(&str) -> Option<PathBuf>) -> Option<Self> {
        if root {
            return Some(Self { state: "/var/lib/casemate".into(), run: "/run/casemate".into() });
        }
        let absolute = |name| variable(name).filter(|path| path.is_absolute());
        let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
        let run = absolute("XDG_RUNTIME_DIR");
        Some(Self { state: data?.join("casemate"), run: run?.join("casemate") })
    }

    /// Both paths made absolute, from the current directory where they are not.
    pub fn absolute(state: &Path, run: &Path) -> std::io::Result<Self> {
        Ok(Self { state: std::path::absolute(state)?, run: std::path::absolute(run)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_follow_who_calls() {
        let of = |pairs: &'static [(&str, &str)]| {
            Directories::defaults(false, |name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value))
            })
        };
        assert_eq!(Directories::defaults(true, |_| None).unwrap().run, Path::new("/run/casemate"));
        let user = of(&[("HOME", "/home/u"), ("XDG_RUNTIME_DIR", "/run/user/1")]).unwrap();
        assert_eq!(user.state, Path::new("/home/u/.local/share/casemate"));
        assert_eq!(user.run, Path::new("/run/user/1/casemate"));
        let data = of(&[("HOME", "/home/u"), ("XDG_DATA_HOME", "/d"), ("XDG_RUNTIME_DIR", "/r")]).unwrap();
        assert_eq!(data.state, Path::new("/d/casemate"));
        assert_eq!(of(&[("HOME", "/home/u")]), None);
        assert_eq!(of(&[("HOME", "relative"), ("XDG_RUNTIME_DIR", "/r")]), None);
    }
}
