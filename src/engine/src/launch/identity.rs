//! Who is who on this host: the manager, the helper, whoever speaks to registries, and the ids that A may use.
//!
//! The text of /etc/passwd and /etc/subuid is read here line by line: a static program has no NSS, and wants none.

use super::Error;
use rustix::fs::{Gid, Uid};
use std::path::Path;

/// Used where the host has no such users: a range that no distribution hands out (systemd's UIDS-GIDS.md, "unused").
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
    /// Of the host.
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

/// A run of host ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub base: u32,
    /// How many, 1 and up.
    pub count: u32,
}

/// Who runs what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identities {
    /// Started by root: service users, and a range for A.
    Service {
        /// Runs the manager.
        manager: Ids,
        /// Runs the helper; it is 0 in A.
        helper: Ids,
        /// Speaks to registries, for the time of a pull; owns nothing.
        fetch: Ids,
        /// A's 1 and up.
        range: Range,
    },
    /// Started by an ordinary user, who runs all; A has one id.
    User(Ids),
}

impl Identities {
    /// The caller's: root gets the service users.
    pub fn of_caller() -> Result<Self, Error> {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        if !uid.is_root() {
            return Ok(Self::User(Ids { uid: uid.as_raw(), gid: gid.as_raw() }));
        }
        Self::service(&read("/etc/passwd")?, &read("/etc/subuid")?, &read("/etc/subgid")?)
    }

    /// Those of the units: the users must exist.
    pub fn of_units() -> Result<Self, Error> {
        let passwd = read("/etc/passwd")?;
        for name in ["casemate", "casemate-helper"] {
            if user(&passwd, name).is_none() {
                return Err(Error::new(name, "read /etc/passwd", "no such user")
                    .remedy("systemd-sysusers makes it, as sysusers.d/casemate.conf says"));
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
                return Err(Error::new("casemate-helper", "read /etc/subuid and /etc/subgid", "they differ")
                    .remedy("give both the same line"));
            }
        };
        let end = u64::from(range.base) + u64::from(range.count);
        let inside = |id: u32| (u64::from(range.base)..end).contains(&u64::from(id));
        let all = [manager.uid, manager.gid, helper.uid, helper.gid, fetch.uid, fetch.gid];
        let shared = all.into_iter().any(inside);
        if range.count == 0 || range.base < 65_536 || end > u64::from(u32::MAX) || shared {
            let reason = format!("{}:{} overlaps ids of the host", range.base, range.count);
            return Err(Error::new("casemate-helper", "read /etc/subuid", reason)
                .remedy("give it a range of its own above 65535"));
        }
        let separate = manager.uid != helper.uid && manager.uid != fetch.uid && helper.uid != fetch.uid;
        if !separate || all.contains(&0) {
            return Err(Error::new(
                "casemate, casemate-helper and casemate-fetch",
                "read /etc/passwd",
                "one of them is root or two are one user",
            )
            .remedy("give each a user and a group of its own"));
        }
        Ok(Self::Service { manager, helper, fetch, range })
    }

    /// Who owns what the manager writes.
    pub fn manager(&self) -> Ids {
        match self {
            Self::Service { manager, .. } => *manager,
            Self::User(ids) => *ids,
        }
    }

    /// Who speaks to registries.
    pub fn fetch(&self) -> Ids {
        match self {
            Self::Service { fetch, .. } => *fetch,
            Self::User(ids) => *ids,
        }
    }

    /// Who owns what the helper writes.
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

/// The ids on the first line of this name in the text of passwd(5).
fn user(passwd: &str, name: &str) -> Option<Ids> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let uid = number(fields.nth(1)?)?;
        Some(Ids { uid, gid: number(fields.next()?)? })
    })
}

/// The helper's first range in the text of subuid(5), by its name or its number.
fn range(text: &str, uid: u32) -> Option<Range> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let who = fields.next()?;
        (who == "casemate-helper" || number(who) == Some(uid)).then_some(())?;
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
    fn without_users_the_fixed_numbers_stand() {
        let fixed = Identities::service("root:x:0:0::/:/bin/sh\n", "", "").unwrap();
        let Identities::Service { manager, helper, fetch, range } = fixed else { panic!() };
        assert_eq!(
            (manager.uid, helper.gid, fetch.uid, range.base, range.count),
            (MANAGER, HELPER, FETCH, BASE, COUNT)
        );
    }

    #[test]
    fn users_and_ranges_of_the_host_are_taken() {
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
    fn what_would_mix_identities_is_refused() {
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
    fn a_number_is_digits() {
        for bad in ["", "+1", "-1", " 1", "1 ", "0x1", "4294967296"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
