//! The users of this host that casemate runs as, and the id range of the outer user namespace (A).
//!
//! /etc/passwd, /etc/subuid and /etc/subgid are parsed here: a static program has no NSS.

use super::Error;
use rustix::fs::{Gid, Uid};
use std::path::Path;

/// Used where the host has no such users: from a range that no distribution assigns (systemd's UIDS-GIDS.md, "unused").
const MANAGER: u32 = 1_879_048_192;
const HELPER: u32 = 1_879_048_193;
const FETCH: u32 = 1_879_048_194;
const BASE: u32 = 1_879_113_728;
const COUNT: u32 = 65_535;

/// A user and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Ids {
    /// Root of the host.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };

    /// As rustix takes it.
    pub fn user(self) -> Uid {
        Uid::from_raw(self.uid)
    }

    /// As rustix takes it.
    pub fn group(self) -> Gid {
        Gid::from_raw(self.gid)
    }
}

/// A range of host ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first id.
    pub base: u32,
    /// How many ids, 1 or more.
    pub count: u32,
}

/// The user of each program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identities {
    /// Started by root: service users, and an id range for A.
    Service {
        /// The manager's.
        manager: Ids,
        /// The helper's; it is uid 0 in A.
        helper: Ids,
        /// That of casemate-fetch.
        fetch: Ids,
        /// The host ids of uid 1 and up in A.
        range: Range,
    },
    /// Started by an ordinary user, who runs every program; A has one id.
    User(Ids),
}

impl Identities {
    /// As root the service users, else the caller.
    pub fn of_caller() -> Result<Self, Error> {
        let uid = rustix::process::geteuid();
        let gid = rustix::process::getegid();
        if !uid.is_root() {
            return Ok(Self::User(Ids { uid: uid.as_raw(), gid: gid.as_raw() }));
        }
        Self::service(&read("/etc/passwd")?, &read("/etc/subuid")?, &read("/etc/subgid")?)
    }

    /// The service users, which must exist.
    pub fn of_units() -> Result<Self, Error> {
        let passwd = read("/etc/passwd")?;
        for name in ["casemate", "casemate-helper"] {
            if user(&passwd, name).is_none() {
                return Err(Error::new(name, "read /etc/passwd", "no such user")
                    .remedy("systemd-sysusers creates it: see sysusers.d/casemate.conf"));
            }
        }
        Self::service(&passwd, &read("/etc/subuid")?, &read("/etc/subgid")?)
    }

    fn service(passwd: &str, subuid: &str, subgid: &str) -> Result<Self, Error> {
        let manager = user(passwd, "casemate").unwrap_or(Ids { uid: MANAGER, gid: MANAGER });
        let helper = user(passwd, "casemate-helper").unwrap_or(Ids { uid: HELPER, gid: HELPER });
        let fetch = user(passwd, "casemate-fetch").unwrap_or(Ids { uid: FETCH, gid: FETCH });
        let range = match (range(subuid, helper.uid), range(subgid, helper.uid)) {
            (None, None) => Range { base: BASE, count: COUNT },
            (Some(uids), Some(gids)) if uids == gids => uids,
            _ => {
                return Err(Error::new("casemate-helper", "read /etc/subuid and /etc/subgid", "the ranges differ")
                    .remedy("write the same line into both"));
            }
        };
        let end = u64::from(range.base) + u64::from(range.count);
        let inside = |id: u32| (u64::from(range.base)..end).contains(&u64::from(id));
        let all = [manager.uid, manager.gid, helper.uid, helper.gid, fetch.uid, fetch.gid];
        let shared = all.into_iter().any(inside);
        if range.count == 0 || range.base < 65_536 || end > u64::from(u32::MAX) || shared {
            let reason = format!("{}:{} overlaps ids of the host", range.base, range.count);
            return Err(Error::new("casemate-helper", "read /etc/subuid", reason)
                .remedy("give casemate-helper a range of its own above 65535"));
        }
        let separate = manager.uid != helper.uid && manager.uid != fetch.uid && helper.uid != fetch.uid;
        if !separate || all.contains(&0) {
            return Err(Error::new(
                "casemate, casemate-helper and casemate-fetch",
                "read /etc/passwd",
                "one is root, or two have the same uid",
            )
            .remedy("give each a user and a group of its own"));
        }
        Ok(Self::Service { manager, helper, fetch, range })
    }

    /// The owner of the manager's files.
    pub fn manager(&self) -> Ids {
        match self {
            Self::Service { manager, .. } => *manager,
            Self::User(ids) => *ids,
        }
    }

    /// The user of casemate-fetch.
    pub fn fetch(&self) -> Ids {
        match self {
            Self::Service { fetch, .. } => *fetch,
            Self::User(ids) => *ids,
        }
    }

    /// The owner of the helper's files.
    pub fn helper(&self) -> Ids {
        match self {
            Self::Service { helper, .. } => *helper,
            Self::User(ids) => *ids,
        }
    }
}

fn read(path: &'static str) -> Result<String, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Error::at(Path::new(path), "read", error)),
    }
}

/// The ids of the first line with this name, in passwd(5) format.
fn user(passwd: &str, name: &str) -> Option<Ids> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let uid = number(fields.nth(1)?)?;
        Some(Ids { uid, gid: number(fields.next()?)? })
    })
}

/// The helper's first range in subuid(5) format, by its name or its uid.
fn range(text: &str, uid: u32) -> Option<Range> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let user = fields.next()?;
        (user == "casemate-helper" || number(user) == Some(uid)).then_some(())?;
        let base = number(fields.next()?)?;
        Some(Range { base, count: number(fields.next()?)? })
    })
}

/// Digits only: no sign, no blank.
fn number(text: &str) -> Option<u32> {
    (!text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_ids_are_used_where_the_host_has_no_users() {
        let fixed = Identities::service("root:x:0:0::/:/bin/sh\n", "", "").unwrap();
        let Identities::Service { manager, helper, fetch, range } = fixed else { panic!() };
        assert_eq!(
            (manager.uid, helper.gid, fetch.uid, range.base, range.count),
            (MANAGER, HELPER, FETCH, BASE, COUNT)
        );
    }

    #[test]
    fn users_and_ranges_of_the_host_are_used() {
        let passwd = "casemate:x:990:991::/:/\ncasemate-helper:x:992:993::/:/\n";
        let sub = "other:100000:65536\n992:200000:65536\n";
        let Identities::Service { manager, helper, range, .. } = Identities::service(passwd, sub, sub).unwrap() else {
            panic!()
        };
        assert_eq!(manager, Ids { uid: 990, gid: 991 });
        assert_eq!(helper, Ids { uid: 992, gid: 993 });
        assert_eq!(range, Range { base: 200_000, count: 65_536 });
    }

    #[test]
    fn shared_ids_and_overlapping_ranges_are_refused() {
        for (passwd, subuid, subgid) in [
            ("casemate:x:0:0::/:/\n", "", ""),
            ("casemate:x:5:5::/:/\ncasemate-helper:x:5:5::/:/\n", "", ""),
            ("casemate:x:5:5::/:/\ncasemate-fetch:x:5:6::/:/\n", "", ""),
            ("casemate-fetch:x:9:0::/:/\n", "", ""),
            ("", "casemate-helper:100000:65536\n", ""),
            ("", "casemate-helper:0:65536\n", "casemate-helper:0:65536\n"),
            ("", "casemate-helper:4294901760:65536\n", "casemate-helper:4294901760:65536\n"),
            ("casemate:x:100001:5::/:/\n", "casemate-helper:100000:9\n", "casemate-helper:100000:9\n"),
        ] {
            assert!(Identities::service(passwd, subuid, subgid).is_err(), "{passwd} {subuid}");
        }
    }

    #[test]
    fn number_is_digits_only() {
        for bad in ["", "+1", "-1", " 1", "1 ", "0x1", "4294967296"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
