//! What this program gives up. Enters: a process that has read what it needs of the host. Leaves: no file, no capability, no
//! program to start, sockets of the internet families only, TCP to the ports of its terms and no other.
//!
//! Twice: before the terms everything but the ports, which stand in them; then the ports and the system calls.

use casemate_confine::{Error, capabilities, landlock, process, seccomp};
use casemate_filter::{Call, Condition, Operator, Otherwise, compile};
use casemate_wire::Landlock;
use rustix::net::AddressFamily;
use rustix::process::{Resource, Rlimit, setrlimit};

/// Code, stack, buffers of a connection, a document of 4 MiB and the certificate authorities: less than 32 MiB, whatever comes.
const ADDRESS_SPACE: u64 = 32 << 20;
/// The manager's socket, a pipe, connections kept open, name servers.
const DESCRIPTORS: u64 = 64;
/// The Landlock ABI versions with rules for TCP ports, and with scopes.
const ABI_TCP: u32 = 4;
const ABI_SCOPE: u32 = 6;

/// Memory, random numbers, time, the manager's socket and pipes, waiting, ending; and sockets once they are there.
const CALLS: &[&str] = &[
    "read", "readv", "write", "writev", "close", "recvmsg", "sendmsg", "recvfrom", "sendto", "poll", "ppoll", "fstat",
    "statx", "lseek", "fcntl", "connect", "getsockopt", "setsockopt", "getpeername", "getsockname", "shutdown", "mmap",
    "munmap", "mprotect", "mremap", "madvise", "brk", "futex", "getrandom", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "sigaltstack", "gettid", "getpid", "tgkill", "sched_yield", "clock_gettime", "clock_nanosleep",
    "nanosleep", "restart_syscall", "exit", "exit_group",
];

/// Before anything is read from the manager.
pub fn at_first() -> Result<(), Error> {
    for (resource, limit) in [
        (Resource::As, ADDRESS_SPACE),
        (Resource::Fsize, 0),
        (Resource::Nofile, DESCRIPTORS),
        (Resource::Core, 0),
        (Resource::Memlock, 0),
    ] {
        // Lower limits that were there already stay.
        let old = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let new = Some(limit.min(old));
        setrlimit(resource, Rlimit { current: new, maximum: new })
            .map_err(|errno| Error::not_enforceable(format_args!("limit its resources: {errno}")))?;
    }
    process::not_dumpable()?;
    process::new_session_keyring()?;
    process::no_new_privs()?;
    capabilities::drop_held()?;
    let scoped = landlock::abi() >= ABI_SCOPE;
    landlock::apply(&Landlock { scoped, ..Landlock::default() }, None)
}

/// Before the first connection: restricts TCP connections to these ports. Kernels before 6.7 have no rules for ports.
pub fn to_ports(mut ports: Vec<u16>) -> Result<(), Error> {
    ports.sort_unstable();
    ports.dedup();
    if landlock::abi() >= ABI_TCP {
        let rules = Landlock { bind_tcp: Some(Vec::new()), connect_tcp: Some(ports), ..Landlock::default() };
        landlock::apply(&rules, None)?;
    }
    let mut calls: Vec<Call> =
        CALLS.iter().map(|name| Call { name: (*name).to_owned(), conditions: Vec::new() }).collect();
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        let value = family.as_raw().into();
        let conditions = vec![Condition { argument: 0, bits32: true, operator: Operator::Equal, value }];
        calls.push(Call { name: "socket".to_owned(), conditions });
    }
    let program = compile(&calls, Otherwise::Kill).map_err(Error::not_enforceable)?;
    seccomp::install_bytes(&program.to_bytes())
}
