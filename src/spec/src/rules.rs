//! Every rule that a file can break, in one table: the documentation and `check --json` are made from it.

use serde::Serialize;

/// What a broken rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is accepted, and the finding is shown.
    Warning,
}

/// One rule.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Stable name: tools and waivers use it.
    pub id: &'static str,
    /// What breaking it does.
    pub severity: Severity,
    /// What it asks for.
    pub meaning: &'static str,
}

macro_rules! rules {
    ($($name:ident $severity:ident $id:literal $meaning:literal)*) => {
        $(#[doc = $meaning] pub static $name: Rule = Rule { id: $id, severity: Severity::$severity, meaning: $meaning };)*
        /// All rules, in the order in which the documentation lists them.
        pub static RULES: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    FILE_SIZE         Error "file-size"         "a file is at most 1 MiB"
    FILE_ENCODING     Error "file-encoding"     "a file is UTF-8"
    SYNTAX            Error "syntax"            "a file is TOML 1.0"
    DUPLICATE_KEY     Error "duplicate-key"     "a key stands once in its table"
    UNKNOWN_KEY       Error "unknown-key"       "a key is one that casemate knows"
    MISSING_KEY       Error "missing-key"       "a key that has no default is given"
    WRONG_TYPE        Error "wrong-type"        "a value has the type of its key"
    WORD              Error "word"              "a value is one of the words of its key"
    NUMBER            Error "number"            "a number is in the range of its key"
    NUL_BYTE          Error "nul-byte"          "no text contains a NUL character: the kernel would read it only up to the NUL"
    SCHEMA            Error "schema"            "schema is 1"
    COUNT             Error "count"             "a file has at most 1000 containers, 1000 volumes and 1000 waivers"
    NAME              Error "name"              "a name is 1 to 63 characters of a-z, 0-9 and `-`, as it becomes a file name, a cgroup and a host name"
    SIZE              Error "size"              "a size is a whole number of bytes, or one with KiB, MiB, GiB or TiB"
    DURATION          Error "duration"          "a duration is written with h, m, s and ms and lies between 1ms and 7 days"
    LIMIT_ZERO        Error "limit-zero"        "a limit is a number above 0: 0, negative numbers and `unlimited` set no limit"
    ABSOLUTE_PATH     Error "absolute-path"     "a path is absolute and normal: no `.`, no `..`, no `//`, no `/` at its end"
    IMAGE_DIGEST      Error "image-digest"      "an image is pinned by digest; a tag alone can move"
    DIGEST_FORM       Error "digest-form"       "a digest is sha256: and 64 lower-case hexadecimal digits"
    IMAGE_REFERENCE   Error "image-reference"   "an image is registry/name[:tag]@sha256:HEX"
    REGISTRY_NAME     Error "registry-name"     "a registry is named as in an image: a host with a dot, `localhost`, or a host with a port"
    REGISTRY_LOGIN    Error "registry-login"    "a registry has one login: an auth_file or a credential"
    REGISTRY_INSECURE Warning "registry-insecure" "a registry is reached over TLS; without TLS the network can read the transfer, though bytes are still verified by digest"
    MIRROR            Error "mirror"            "a mirror is https://HOST[:PORT][/PATH], or http:// where its own table says insecure"
    PROXY             Error "proxy"             "a proxy is http://HOST:PORT, without a password: the file is kept and shown"
    CREDENTIAL_NAME   Error "credential-name"   "a credential's name is 1 to 255 letters, digits, `_`, `.` and `-`, and does not start with `.`"
    USER_ROOT         Error "user-root"         "no container runs as uid 0 or gid 0"
    USER_NUMBER       Error "user-number"       "a user is a number from 1 to 65534, or two with a `:`; names are never looked up"
    USER_SHARED       Error "user-shared"       "two containers share a uid only by share_user_with"
    CONTAINER_UNKNOWN Error "container-unknown" "a container that is referred to is in the file"
    VOLUME_UNKNOWN    Error "volume-unknown"    "a volume that is mounted is in the file"
    VOLUME_SHARED     Error "volume-shared"     "a volume is used by containers of one user, as it belongs to that user"
    VOLUME_UNUSED     Warning "volume-unused"   "a volume of the file is mounted by a container"
    MOUNT_TARGET      Error "mount-target"      "nothing is mounted on `/`, or at or below /proc, /sys and /dev"
    MOUNT_DUPLICATE   Error "mount-duplicate"   "one path of a container has one mount or device"
    MOUNT_NESTED      Error "mount-nested"      "no mount lies below another one: the result would depend on their order"
    BIND_SOURCE       Error "bind-source"       "a bind mount shows no kernel file system, no runtime socket and none of casemate's directories"
    MOUNT_OPTION      Error "mount-option"      "a mount's options are known, and fit its type"
    TMPFS_SIZE        Error "tmpfs-size"        "a tmpfs has a size"
    DEVICE_PATH       Error "device-path"       "source and target of a device lie below /dev; devices that give access to the host, and those that every container has, are refused"
    WRITABLE_ROOT     Error "writable-root"     "writable_root is set if read_only is false, and only then"
    WORKING_DIR       Error "working-dir"       "a container does not start in /proc, /sys or /dev"
    COMMAND           Error "command"           "an entrypoint or command is a list of words, and an entrypoint has a first one"
    ENVIRONMENT_NAME  Error "environment-name"  "a variable's name is letters, digits, `_`, `.` and `-`, and starts with a letter or `_`"
    HOSTNAME          Error "hostname"          "a host name is at most 64 characters: labels of a-z, 0-9 and `-`, parted by dots"
    LABEL             Error "label"             "a label's name is not empty and has no control character"
    ULIMIT            Error "ulimit"            "a ulimit has docker's name, and its soft limit is not above the hard one"
    SYSCTL            Error "sysctl"            "a sysctl is namespaced and on the reviewed list"
    SIGNAL            Error "signal"            "a stop signal is one that a process can be stopped with"
    RESTART           Error "restart"           "the numbers of restart do not contradict each other"
    LIMITS_REQUIRED   Error "limits-required"   "a container states each limit that policy.require_limits names"
    MEMORY_HIGH       Error "memory-high"       "memory_high is not above memory"
    CPUS              Error "cpus"              "cpus is a number from 0.01 to 4096"
    CPUSET            Error "cpuset"            "a cpuset is a list of CPUs in rising order"
    IO_LIMIT          Error "io-limit"          "a block device has one io limit, with at least one number"
    SECCOMP_PROFILE   Error "seccomp-profile"   "a seccomp profile is a built-in one, or a file with its sha256"
    LANDLOCK_OFF      Error "landlock-off"      "Landlock cannot be turned off, and its scopes are always on"
    CAPABILITY        Error "capability"        "an added capability is within the ceiling"
    CAP_DROP          Error "cap-drop"          "cap_drop is [\"ALL\"]: capabilities are only ever added"
    MASKED_PATH       Error "masked-path"       "a masked path lies below /proc or /sys"
    WAIVER_RULE       Error "waiver-rule"       "a waiver names a rule that can be waived"
    WAIVER_REASON     Error "waiver-reason"     "a waiver has a reason, in one line"
    WAIVER_DUPLICATE  Error "waiver-duplicate"  "a rule is waived once for a container"
    WAIVER_EXPIRED    Error "waiver-expired"    "a waiver has not expired"
    WAIVER_EXPIRES    Warning "waiver-expires"  "a waiver holds for more than 30 days from now"
    WAIVER_UNUSED     Warning "waiver-unused"   "a waiver applies to a container that breaks its rule"
    LIMITS            Error "limits"            "this host can enforce the limits of a container; checked when it starts"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_distinct_and_readable() {
        let ids: BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
        assert_eq!(ids.len(), RULES.len());
        for rule in RULES {
            assert!(rule.id.bytes().all(|c| c.is_ascii_lowercase() || c == b'-'), "{}", rule.id);
            assert!(!rule.meaning.ends_with('.') && !rule.meaning.contains('\n'), "{}", rule.id);
        }
    }

    #[test]
    fn waivers_name_existing_rules() {
        for waivable in crate::Waivable::ALL {
            assert!(RULES.iter().any(|rule| rule.id == waivable.id()), "{waivable:?}");
        }
    }
}
