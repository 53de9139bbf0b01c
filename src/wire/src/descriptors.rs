//! The descriptors beside a packet, taken by name.

use crate::{Failure, FailureKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Names of descriptors.
pub mod descriptor {
    /// An image's blob, open for reading, at its start.
    pub const BLOB: &str = "blob";
    /// An empty file, open for writing, that takes a layer inventory.
    pub const INVENTORY: &str = "inventory";
    /// pidfd of a process.
    pub const PIDFD: &str = "pidfd";
    /// Read end of the pipe for standard output.
    pub const STDOUT: &str = "stdout";
    /// Read end of the pipe for standard error.
    pub const STDERR: &str = "stderr";
    /// Read end of the spool pipe: it keeps bytes that a manager has taken from the container and not yet written to a log.
    pub const SPOOL: &str = "spool";
    /// Write end of the spool pipe.
    pub const SPOOL_WRITE: &str = "spool-write";
}

/// The descriptors that came with one packet. Those that are not taken are closed.
#[derive(Debug, Default)]
pub struct Descriptors(Vec<(String, OwnedFd)>);

impl Descriptors {
    /// Gives each descriptor its name; `None` if there are more of one than of the other.
    pub fn new(names: &[&str], descriptors: Vec<OwnedFd>) -> Option<Self> {
        let same = names.len() == descriptors.len();
        let named = names.iter().map(|&name| name.to_owned()).zip(descriptors);
        same.then(|| Self(named.collect()))
    }

    /// The one descriptor of this name.
    pub fn take(&mut self, name: &str) -> Result<OwnedFd, Failure> {
        let found = |number: usize| self.0.iter().enumerate().filter(|(_, (other, _))| other == name).nth(number);
        match (found(0), found(1)) {
            (Some((index, _)), None) => Ok(self.0.swap_remove(index).1),
            (None, _) => Err(refused(format!("no descriptor `{name}` came with the message"))),
            (Some(_), Some(_)) => Err(refused(format!("two descriptors `{name}` came with the message"))),
        }
    }
}

fn refused(object: String) -> Failure {
    Failure { step: "descriptors".to_owned(), object, errno: None, kind: FailureKind::Refused }
}

/// What `attached` and `started` carry of a container, each under its name in [`descriptor`].
#[derive(Debug)]
pub struct ContainerDescriptors<T = OwnedFd> {
    /// Its pid 1.
    pub pidfd: T,
    /// Its standard output.
    pub stdout: T,
    /// Its standard error.
    pub stderr: T,
    /// The spool pipe, to read.
    pub spool: T,
    /// The spool pipe, to write.
    pub spool_write: T,
}

impl ContainerDescriptors {
    /// The same descriptors, borrowed.
    pub fn as_fds(&self) -> ContainerDescriptors<BorrowedFd<'_>> {
        ContainerDescriptors {
            pidfd: self.pidfd.as_fd(),
            stdout: self.stdout.as_fd(),
            stderr: self.stderr.as_fd(),
            spool: self.spool.as_fd(),
            spool_write: self.spool_write.as_fd(),
        }
    }
}

impl<T> ContainerDescriptors<T> {
    /// With their names, in the order of the packet.
    pub fn named(self) -> [(&'static str, T); 5] {
        [
            (descriptor::PIDFD, self.pidfd),
            (descriptor::STDOUT, self.stdout),
            (descriptor::STDERR, self.stderr),
            (descriptor::SPOOL, self.spool),
            (descriptor::SPOOL_WRITE, self.spool_write),
        ]
    }
}

impl TryFrom<Descriptors> for ContainerDescriptors {
    type Error = Failure;

    fn try_from(mut descriptors: Descriptors) -> Result<Self, Failure> {
        Ok(Self {
            pidfd: descriptors.take(descriptor::PIDFD)?,
            stdout: descriptors.take(descriptor::STDOUT)?,
            stderr: descriptors.take(descriptor::STDERR)?,
            spool: descriptors.take(descriptor::SPOOL)?,
            spool_write: descriptors.take(descriptor::SPOOL_WRITE)?,
        })
    }
}

/// What `entered` carries of a process, each under its name in [`descriptor`].
#[derive(Debug)]
pub struct EnteredDescriptors<T = OwnedFd> {
    /// The process.
    pub pidfd: T,
    /// Its standard output.
    pub stdout: T,
    /// Its standard error.
    pub stderr: T,
}

impl<T> EnteredDescriptors<T> {
    /// With their names, in the order of the packet.
    pub fn named(self) -> [(&'static str, T); 3] {
        [(descriptor::PIDFD, self.pidfd), (descriptor::STDOUT, self.stdout), (descriptor::STDERR, self.stderr)]
    }
}

impl TryFrom<Descriptors> for EnteredDescriptors {
    type Error = Failure;

    fn try_from(mut descriptors: Descriptors) -> Result<Self, Failure> {
        Ok(Self {
            pidfd: descriptors.take(descriptor::PIDFD)?,
            stdout: descriptors.take(descriptor::STDOUT)?,
            stderr: descriptors.take(descriptor::STDERR)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptors(names: &[&str]) -> Descriptors {
        let open = |_: &&str| std::fs::File::open("/dev/null").unwrap().into();
        Descriptors::new(names, names.iter().map(open).collect()).unwrap()
    }

    #[test]
    fn descriptors_are_taken_by_name_and_unknown_ones_are_dropped() {
        let mut some = descriptors(&["later", "blob", "later"]);
        some.take("blob").unwrap();
        assert!(some.take("blob").unwrap_err().object.contains("no descriptor `blob`"));
        assert!(some.take("later").unwrap_err().object.contains("two descriptors `later`"));
        let all = ["stderr", "pidfd", "spool-write", "later", "spool", "stdout"];
        ContainerDescriptors::try_from(descriptors(&all)).unwrap();
        let failure = ContainerDescriptors::try_from(descriptors(&all[..5])).unwrap_err();
        assert!(failure.object.contains("no descriptor `stdout`"), "{failure:?}");
        assert!(Descriptors::new(&["blob"], Vec::new()).is_none());
    }
}
