//! Landlock with hard requirement: what the kernel cannot enforce is an error, and the file rights handled are all that the
//! running kernel knows, so a newer kernel restricts more and never less. landlock(7).
//!
//! Enters: paths as the calling thread sees them, after its last mount. Leaves: a domain that denies what no rule allows.

use crate::Error;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;
use std::path::PathBuf;

/// The first ABI with TCP rules.
const ABI_TCP: u32 = 4;
/// The first ABI with scopes.
const ABI_SCOPE: u32 = 6;

/// What is allowed; nothing else is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Paths, and what may be done there and below. A path that does not exist is an error.
    pub paths: Vec<(PathBuf, Access)>,

    /// TCP ports that may be bound; none: not restricted.
    pub bind_tcp: Option<Vec<u16>>,
    /// TCP ports that may be connected to; none: not restricted.
    pub connect_tcp: Option<Vec<u16>>,
    /// Deny signals to, and abstract sockets of, processes outside the domain.
    pub scoped: bool,
}

/// What is allowed at and below a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Access {
    /// Read files and list directories.
    pub read: bool,
    /// Write, create, remove, rename, truncate.
    pub write: bool,
    /// Execute.
    pub execute: bool,
    /// Device ioctls, where the ABI knows them (5).
    pub ioctl_dev: bool,
}

impl Access {
    /// The kernel's rights of this ABI. Connecting to a socket in the file system (ABI 9) needs either of read and write: it
    /// was never a question of a writable mount, and a container must not behave otherwise on a newer kernel.
    fn rights(self, abi: ABI) -> BitFlags<AccessFs> {
        let mut rights = BitFlags::EMPTY;
        if self.read {
            rights |= AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::ResolveUnix;
        }
        if self.write {
            rights |= AccessFs::from_write(ABI::V9) & !BitFlags::from(AccessFs::IoctlDev);
        }
        if self.execute {
            rights |= AccessFs::Execute;
        }
        if self.ioctl_dev {
            rights |= AccessFs::IoctlDev;
        }
        rights & AccessFs::from_all(abi)
    }
}

/// The ABI of the running kernel, 0: none.
pub fn abi() -> u32 {
    casemate_sys::landlock::abi()
}

/// Restricts the calling thread and what it starts; needs no_new_privs. `program` is a file that no path leads to and that
/// may be executed all the same: the one that becomes pid 1.
pub fn apply(rules: &Rules, program: Option<BorrowedFd<'_>>) -> Result<(), Error> {
    let number = abi();
    let abi = ABI::from(i32::try_from(number).unwrap_or(0));
    check(rules, number)?;
    let mut ruleset = handled(rules, abi).and_then(Ruleset::create).map_err(call("create the ruleset"))?;
    for (path, access) in &rules.paths {
        ruleset = allow_path(ruleset, path, *access, abi)?;
    }
    if let Some(program) = program {
        let rule = PathBeneath::new(program, AccessFs::Execute | AccessFs::ReadFile);
        ruleset = ruleset.add_rule(rule).map_err(call("add the program"))?;
    }
    for (ports, right) in [(&rules.bind_tcp, AccessNet::BindTcp), (&rules.connect_tcp, AccessNet::ConnectTcp)]
    {
        for &port in ports.iter().flatten() {
            ruleset = ruleset.add_rule(NetPort::new(port, right)).map_err(call("add a port"))?;
        }
    }
    let status = ruleset.no_new_privs(false).restrict_self().map_err(call("restrict the thread"))?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        _ => Err(Error::LandlockPartial),
    }
}

/// Whether this ABI can enforce what is asked.
fn check(rules: &Rules, abi: u32) -> Result<(), Error> {
    if abi == 0 {
        return Err(Error::LandlockMissing);
    }
    if abi < ABI_TCP && (rules.bind_tcp.is_some() || rules.connect_tcp.is_some()) {
        return Err(Error::LandlockTooOld("a list of tcp ports", ABI_TCP, abi));
    }
    if abi < ABI_SCOPE && rules.scoped {
        return Err(Error::LandlockTooOld("the scope of signals and abstract sockets", ABI_SCOPE, abi));
    }
    Ok(())
}

/// A ruleset that denies all file access of this ABI, and of the rest what is asked.
fn handled(rules: &Rules, abi: ABI) -> Result<Ruleset, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))?;
    if rules.bind_tcp.is_some() {
        ruleset = ruleset.handle_access(AccessNet::BindTcp)?;
    }
    if rules.connect_tcp.is_some() {
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
    }
    if rules.scoped {
        ruleset = ruleset.scope(Scope::AbstractUnixSocket | Scope::Signal)?;
    }
    Ok(ruleset)
}

/// Adds one path. A rule without a right would be refused by the kernel and would allow nothing, so it is left out.
fn allow_path(
    ruleset: RulesetCreated,
    path: &PathBuf,
    access: Access,
    abi: ABI,
) -> Result<RulesetCreated, Error> {
    let failed = |errno| Error::LandlockPath(path.clone(), errno);
    let opened = open(path).map_err(failed)?;
    let directory = FileType::from_raw_mode(fstat(&opened).map_err(failed)?.st_mode).is_dir();
    // The kernel refuses rights that only make sense on a directory for anything else.
    let possible = if directory { AccessFs::from_all(abi) } else { AccessFs::from_file(abi) };
    let rights = access.rights(abi) & possible;
    if rights.is_empty() {
        return Ok(ruleset);
    }
    ruleset.add_rule(PathBeneath::new(opened, rights)).map_err(call("add a path"))
}

/// Symbolic links of the image are followed, as the payload would; the links of procfs that leave the tree are not.
fn open(path: &PathBuf) -> Result<OwnedFd, Errno> {
    openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
}

/// Turns the crate's error into ours, with the errno that lies at its bottom.
fn call(name: &'static str) -> impl Fn(RulesetError) -> Error {
    move |error| {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(current) = cause {
            if let Some(io) = current.downcast_ref::<std::io::Error>() {
                return Error::Landlock(name, Errno::from_io_error(io));
            }
            cause = current.source();
        }
        Error::Landlock(name, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_an_error_and_not_a_smaller_wall() {
        let tcp = Rules { connect_tcp: Some(vec![443]), ..Rules::default() };
        let scoped = Rules { scoped: true, ..Rules::default() };
        assert_eq!(check(&Rules::default(), 0), Err(Error::LandlockMissing));
        assert!(check(&Rules::default(), 1).is_ok());
        assert!(matches!(check(&tcp, 3), Err(Error::LandlockTooOld(_, 4, 3))));
        assert!(check(&tcp, 4).is_ok());
        assert!(matches!(check(&scoped, 5), Err(Error::LandlockTooOld(_, 6, 5))));
        assert!(check(&scoped, 6).is_ok());
    }

    #[test]
    fn no_right_of_an_abi_is_forgotten() {
        let all = Access { read: true, write: true, execute: true, ioctl_dev: true };
        for abi in 1..=9 {
            assert_eq!(all.rights(ABI::from(abi)), AccessFs::from_all(ABI::from(abi)), "{abi}");
        }
        assert!(Access::default().rights(ABI::V9).is_empty());
    }
}
