//! Root file systems out of Debian's packages: a program, the shared libraries that it names, and the files it needs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A root file system in the making.
#[derive(Debug)]
pub struct Rootfs<'a> {
    root: &'a Path,
}

impl<'a> Rootfs<'a> {
    /// An empty one in this directory.
    pub fn new(root: &'a Path) -> Self {
        Self { root }
    }

    /// Adds a program of this host, with everything that ld.so would load for it.
    pub fn program(self, path: &str) -> Self {
        self.file(path).libraries(path)
    }

    /// Adds the libraries that a program or a plugin names.
    pub fn libraries(self, path: &str) -> Self {
        let output = Command::new("ldd").arg(path).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut this = self;
        for word in text.split_whitespace().filter(|word| word.starts_with('/')) {
            this = this.file(word);
        }
        this
    }

    /// Adds a file of this host under the same name; symbolic links on the way are followed.
    pub fn file(self, path: &str) -> Self {
        let target = self.inside(path);
        if !target.exists() {
            fs::copy(path, &target).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        self
    }

    /// Adds a directory of this host with all that is below it.
    pub fn tree(self, path: &str) -> Self {
        let mut left = vec![PathBuf::from(path)];
        while let Some(directory) = left.pop() {
            fs::create_dir_all(self.root.join(directory.strip_prefix("/").unwrap())).unwrap();
            for entry in fs::read_dir(&directory).unwrap().flatten() {
                let path = entry.path();
                let target = self.root.join(path.strip_prefix("/").unwrap());
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    left.push(path);
                } else if kind.is_symlink() && path.exists() {
                    // What it leads to may not be there inside, so its content is taken.
                    if path.is_file() {
                        fs::copy(&path, target).unwrap();
                    }
                } else if kind.is_file() {
                    fs::copy(&path, target).unwrap();
                }
            }
        }
        self
    }

    /// Adds a file with this content.
    pub fn text(self, path: &str, content: &str) -> Self {
        let target = self.inside(path);
        fs::write(&target, content).unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
        self
    }

    /// Adds an empty directory.
    pub fn directory(self, path: &str) -> Self {
        fs::create_dir_all(self.inside(path)).unwrap();
        self
    }

    /// Adds a symbolic link.
    pub fn link(self, path: &str, to: &str) -> Self {
        symlink(to, self.inside(path)).unwrap();
        self
    }

    /// It is complete.
    pub fn done(self) {}

    fn inside(&self, path: &str) -> PathBuf {
        let target = self.root.join(path.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        target
    }
}
