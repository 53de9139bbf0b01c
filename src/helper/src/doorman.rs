//! The process that stays in the host's namespaces: makes A, gives up everything, then only opens the door.
//!
//! Its one use of privilege is the id map of A. After that it holds no capability, and what it does is accept(2), ask the
//! kernel who connected, and pass the connection inward: inside A the manager's uid has no number to be compared with.

use crate::args::Settings;
use crate::filters;
use crate::realm::{self, Handover};
use casemate_confine::{capabilities, landlock, process, seccomp};
use casemate_sys::process::{Fork, Namespaces, SingleThreaded, exit_now, fork};
use casemate_sys::signal;
use casemate_sys::socket;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, socketpair};
use rustix::process::{DumpableBehavior, WaitId, WaitIdOptions, set_dumpable_behavior, waitid};
use std::fmt::Display;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};

/// Descriptor 3, as systemd hands listening sockets over (sd_listen_fds(3)).
const LISTENER: &str = "/proc/self/fd/3";

fn step<T, E: Display>(name: &str, result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| format!("{name}: {error}"))
}

/// Makes A and keeps its door until A or this process is told to end.
pub fn run(settings: Settings) -> Result<(), String> {
    let listener = listener()?;
    step("close inherited descriptors", casemate_sys::inherited::keep_from_children())?;
    let own = step("find the own program", std::env::current_exe())?;
    let program = |name: &str| {
        let path = own.with_file_name(name);
        step(&path.display().to_string(), open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()))
    };
    let (unpack, init) = (program("casemate-unpack")?, program("casemate-init")?);
    let (door, connections) = step("socketpair", pair())?;
    let (ready, go) = step("pipe", rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC))?;
    // Only a dumpable process's map files belong to its user; nothing secret is in memory yet.
    step("dumpable", set_dumpable_behavior(DumpableBehavior::Dumpable))?;
    let proof = step("threads", SingleThreaded::prove())?;
    let (manager, range) = (settings.manager, settings.range);
    match step("make user namespace A", fork(&proof, Namespaces::WITH_USER, None))? {
        Fork::Child => {
            drop((go, door, listener));
            exit_now(u8::from(inside(Handover { settings, connections, unpack, init }, &ready).is_err()))
        }
        Fork::Parent { pid, pidfd } => {
            drop((ready, connections, unpack, init));
            map_ids(pid, range)?;
            let signals = step("signals", signal::descriptor(&[signal::TERM, signal::INT, signal::HUP]))?;
            confine()?;
            step("let A begin", rustix::io::write(&go, b"g"))?;
            drop(go);
            keep(&listener, &door, &pidfd, (&signals, manager))
        }
    }
}

fn listener() -> Result<OwnedFd, String> {
    let missing =
        "descriptor 3 is not a listening socket; it is started by `casemate up` or by its .socket unit";
    let target = fs::read_link(LISTENER).map_err(|_| missing)?;
    if !target.as_os_str().as_encoded_bytes().starts_with(b"socket:") {
        return Err(missing.into());
    }
    step("take descriptor 3", casemate_sys::inherited::take(3))
}

fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// In A: waits for the map, then serves. What fails is written to the log, and the doorman sees the end.
fn inside(handover: Handover, ready: &OwnedFd) -> Result<(), ()> {
    let mut byte = [0];
    if rustix::io::retry_on_intr(|| rustix::io::read(ready, &mut byte)) != Ok(1) {
        return Err(());
    }
    realm::run(handover).map_err(|failure| {
        let errno =
            failure.errno.map(|errno| format!(": {}", Errno::from_raw_os_error(errno))).unwrap_or_default();
        let text = format!("casemate-helper: {}: {}{errno}\n", failure.step, failure.object);
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
    })
}

/// Writes the id maps of A (user_namespaces(7)): the only act that needs CAP_SETUID and CAP_SETGID.
fn map_ids(pid: i32, range: Option<(u32, u32)>) -> Result<(), String> {
    let write = |file: &str, text: String| {
        step(
            &format!("write {file} of A: {}", text.trim().replace('\n', ", ")),
            fs::write(format!("/proc/{pid}/{file}"), text),
        )
    };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    match range {
        Some((base, count)) => {
            write("uid_map", format!("0 {uid} 1\n1 {base} {count}\n"))?;
            write("gid_map", format!("0 {gid} 1\n1 {base} {count}\n"))
        }
        None => {
            write("setgroups", "deny".into())?;
            write("uid_map", format!("0 {uid} 1\n"))?;
            write("gid_map", format!("0 {gid} 1\n"))
        }
    }
}

fn confine() -> Result<(), String> {
    step("no_new_privs", process::no_new_privs())?;
    step("drop capabilities", capabilities::drop_held())?;
    step("not dumpable", process::not_dumpable())?;
    // No path is open to it, and no call but these.
    step("landlock", landlock::apply(&landlock::Rules::default(), None))?;
    step("seccomp", seccomp::install_bytes(filters::DOORMAN))
}

fn keep(
    listener: &OwnedFd,
    door: &OwnedFd,
    realm: &OwnedFd,
    (signals, manager): (&OwnedFd, u32),
) -> Result<(), String> {
    loop {
        let mut fds = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(realm, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(format!("poll: {errno}")),
        }
        let [new, ended, told] = fds.map(|fd| !fd.revents().is_empty());
        if ended {
            let status = step("wait for A", waitid(WaitId::PidFd(realm.as_fd()), WaitIdOptions::EXITED))?;
            return match status.and_then(|status| status.exit_status()) {
                Some(0) => Ok(()),
                _ => Err("A has ended with an error".into()),
            };
        }
        if told
            && step("signals", signal::read(signals.as_fd()))?.is_some_and(|signal| signal == signal::TERM)
        {
            // Ending is enough: A's first process dies with this one, and every container with that.
            return Ok(());
        }
        if new {
            admit(listener, door, manager);
        }
    }
}

/// Passes a connection inward when it comes from the manager's user, as the host numbers it, or from root.
fn admit(listener: &OwnedFd, door: &OwnedFd, manager: u32) {
    let Ok(connection) = accept_with(listener, SocketFlags::CLOEXEC) else { return };
    let allowed = socket::peer_credentials(&connection).is_ok_and(|peer| peer.uid == manager);
    if allowed {
        // Where A does not take it, the caller finds the connection closed.
        let _ = socket::send(door, b"c", &[connection.as_fd()]);
    }
}
