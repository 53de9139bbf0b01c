//! Landlock with hard requirement: what the kernel cannot enforce is an error, and the file rights handled are all that the
//! running kernel knows, so a newer kernel restricts more and never less. landlock(7).
//!
//! Enters: paths as the calling thread sees them, after its last mount. Leaves: a domain that denies what no rule allows.

use crate::{At, Error};
use casemate_wire::{Landlock, PathAccess, PathRule};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::fd::BorrowedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use std::io;

pub use casemate_sys::landlock::abi;

/// The first ABI with TCP rules.
const ABI_TCP: u32 = 4;
/// The first ABI with scopes.
const ABI_SCOPE: u32 = 6;

/// The kernel's rights of this ABI. Connecting to a socket in the file system (ABI 9) needs either of read and write: it was
/// never a question of a writable mount, and a container must not behave otherwise on a newer kernel.
fn rights(access: PathAccess, abi: ABI) -> BitFlags<AccessFs> {
    let write = AccessFs::from_write(ABI::V9) & !BitFlags::from(AccessFs::IoctlDev);
    let table = [
        (access.read, AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::ResolveUnix),
        (access.write, write),
        (access.execute, AccessFs::Execute.into()),
        (access.ioctl_dev, AccessFs::IoctlDev.into()),
    ];
    let asked = table.into_iter().filter(|&(asked, _)| asked);
    asked.fold(BitFlags::EMPTY, |rights, (_, more)| rights | more) & AccessFs::from_all(abi)
}

/// Restricts the calling thread and what it starts to what is allowed; needs no_new_privs. `program` is a file that no path
/// leads to and that may be executed all the same: the one that becomes pid 1.
pub fn apply(rules: &Landlock, program: Option<BorrowedFd<'_>>) -> Result<(), Error> {
    let number = abi();
    let abi = ABI::from(i32::try_from(number).unwrap_or(0));
    check(rules, number)?;
    let mut ruleset = handled(rules, abi).and_then(Ruleset::create).map_err(call("create the ruleset"))?;
    for rule in &rules.paths {
        ruleset = allow_path(ruleset, rule, abi)?;
    }
    if let Some(program) = program {
        let rule = PathBeneath::new(program, AccessFs::Execute | AccessFs::ReadFile);
        ruleset = ruleset.add_rule(rule).map_err(call("add the program"))?;
    }
    for (ports, right) in [(&rules.bind_tcp, AccessNet::BindTcp), (&rules.connect_tcp, AccessNet::ConnectTcp)] {
        for &port in ports.iter().flatten() {
            ruleset = ruleset.add_rule(NetPort::new(port, right)).map_err(call("add a port"))?;
        }
    }
    let status = ruleset.no_new_privs(false).restrict_self().map_err(call("restrict the thread"))?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        _ => Err(Error::not_enforceable("landlock: the kernel enforces a part of the rules only")),
    }
}

/// Whether this ABI can enforce what is asked.
fn check(rules: &Landlock, abi: u32) -> Result<(), Error> {
    if abi == 0 {
        return Err(Error::not_enforceable(
            "this kernel has no landlock: it needs CONFIG_SECURITY_LANDLOCK and `landlock` in the lsm= parameter",
        ));
    }
    let ports = rules.bind_tcp.is_some() || rules.connect_tcp.is_some();
    for (asked, what, needed) in [
        (ports, "a list of tcp ports", ABI_TCP),
        (rules.scoped, "the scope of signals and abstract sockets", ABI_SCOPE),
    ] {
        if asked && abi < needed {
            let text = format_args!("landlock: {what} needs abi {needed}, this kernel has {abi}");
            return Err(Error::not_enforceable(text));
        }
    }
    Ok(())
}

/// A ruleset that denies all file access of this ABI, and of the rest what is asked.
fn handled(rules: &Landlock, abi: ABI) -> Result<Ruleset, RulesetError> {
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(abi))?;
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
fn allow_path(ruleset: RulesetCreated, rule: &PathRule, abi: ABI) -> Result<RulesetCreated, Error> {
    let object = format_args!("landlock rule for {}", rule.path);
    // Symbolic links of the image are followed, as the payload would; the links of procfs that leave the tree are not.
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = openat2(CWD, &rule.path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS).at(object)?;
    let directory = FileType::from_raw_mode(fstat(&opened).at(object)?.st_mode).is_dir();
    // The kernel refuses rights that only make sense on a directory for anything else.
    let possible = if directory { AccessFs::from_all(abi) } else { AccessFs::from_file(abi) };
    let rights = rights(rule.access, abi) & possible;
    if rights.is_empty() {
        return Ok(ruleset);
    }
    ruleset.add_rule(PathBeneath::new(opened, rights)).map_err(call("add a path"))
}

/// Turns the crate's error into ours, with the errno that lies at its bottom.
fn call(name: &'static str) -> impl Fn(RulesetError) -> Error {
    move |error| {
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |cause| cause.source());
        let errno = causes.filter_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error()).next();
        let error = errno.map_or_else(|| io::Error::other("refused"), io::Error::from_raw_os_error);
        Error::of(format_args!("landlock: {name}"), &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernel_without_a_landlock_right_is_an_error() {
        let tcp = Landlock { connect_tcp: Some(vec![443]), ..Landlock::default() };
        let scoped = Landlock { scoped: true, ..Landlock::default() };
        for (rules, abi, words) in [
            (&Landlock::default(), 0, "this kernel has no landlock"),
            (&tcp, 3, "needs abi 4, this kernel has 3"),
            (&scoped, 5, "needs abi 6, this kernel has 5"),
        ] {
            let failure = check(rules, abi).unwrap_err().in_step("landlock");
            assert!(failure.object.contains(words), "{failure:?}");
            assert_eq!(failure.kind, casemate_wire::FailureKind::NotEnforceable);
        }
        for (rules, abi) in [(&Landlock::default(), 1), (&tcp, 4), (&scoped, 6)] {
            check(rules, abi).unwrap();
        }
    }

    #[test]
    fn every_right_of_each_landlock_abi_is_known() {
        let all = PathAccess { read: true, write: true, execute: true, ioctl_dev: true };
        for abi in 1..=9 {
            assert_eq!(rights(all, ABI::from(abi)), AccessFs::from_all(ABI::from(abi)), "{abi}");
        }
        assert!(rights(PathAccess::default(), ABI::V9).is_empty());
    }
}
