//! The process that stays in the host's namespaces: makes A, gives up everything, then only opens the door.
//!
//! Its one use of privilege is the id map of A. After that it holds no capability, and what it does is accept(2), ask the
//! kernel who connected, and pass the connection inward: inside A the manager's uid has no number to be compared with.

use crate::args::Settings;
use crate::{filters, outcome, realm};
use casemate_confine::{At, Fault, capabilities, landlock, process, seccomp};
use casemate_sys::process::{Fork, Namespaces, SingleThreaded, exit_now, fork};
use casemate_sys::{inherited, signal, socket};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::socket_acceptconn;
use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, socketpair};
use rustix::process::{DumpableBehavior, WaitId, WaitIdOptions, set_dumpable_behavior, waitid};
use rustix::time::Timespec;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};

/// Makes A and keeps its door until A or this process is told to end.
pub fn run(settings: Settings) -> Result<(), Fault> {
    // As systemd hands listening sockets over (sd_listen_fds(3)).
    let listener = inherited::take(3).at("take descriptor 3")?;
    if socket_acceptconn(&listener) != Ok(true) {
        return Err(Fault::refused("descriptor 3 is not a listening socket; use `casemate up` or the .socket unit"));
    }
    // Connected by who started us, so no path has to be open for it.
    let notify = settings.notify.map(|_| inherited::take(4)).transpose().at("take descriptor 4")?;
    inherited::keep_from_children().at("close inherited descriptors")?;
    let own = std::env::current_exe().at("find the own program")?;
    let program = |name: &str| {
        let path = own.with_file_name(name);
        open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).at(path.display())
    };
    let programs = [program("casemate-unpack")?, program("casemate-init")?];
    let (door, connections) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).at("socketpair")?;
    let (ready, go) = outcome::pipe()?;
    // Only a dumpable process's map files belong to its user; nothing secret is in memory yet.
    set_dumpable_behavior(DumpableBehavior::Dumpable).at("dumpable")?;
    let proof = SingleThreaded::prove().at("threads")?;
    let (manager, range, seconds) = (settings.manager, settings.range, settings.notify);
    match fork(&proof, Namespaces::WITH_USER, None).at("make user namespace A")? {
        Fork::Child => {
            drop((go, door, listener, notify));
            // No byte: there is no map. What fails is written to the log, and the doorman sees the end.
            let mapped = retry_on_intr(|| rustix::io::read(&ready, &mut [0; 1])) == Ok(1);
            let run = || realm::run(settings, &connections, programs).map_err(|fault| crate::log(&fault));
            exit_now(u8::from(!mapped || run().is_err()))
        }
        Fork::Parent { pid, pidfd } => {
            drop((ready, connections, programs));
            map_ids(pid, range)?;
            let signals = signal::descriptor(&[signal::TERM, signal::INT, signal::HUP]).at("signals")?;
            confine()?;
            rustix::io::write(&go, b"g").at("let A begin")?;
            drop(go);
            keep([&listener, &door, &pidfd, &signals], manager, notify.zip(seconds).as_ref())
        }
    }
}

/// Writes the id maps of A (user_namespaces(7)): the only act that needs CAP_SETUID and CAP_SETGID.
fn map_ids(pid: i32, range: Option<(u32, u32)>) -> Result<(), Fault> {
    let write = |file: &str, text: &str| {
        let object = format_args!("write {file} of A: {}", text.trim().replace('\n', ", "));
        fs::write(format!("/proc/{pid}/{file}"), text).at(object)
    };
    let others = match range {
        Some((base, count)) => format!("1 {base} {count}\n"),
        None => {
            write("setgroups", "deny")?;
            String::new()
        }
    };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    write("uid_map", &format!("0 {uid} 1\n{others}"))?;
    write("gid_map", &format!("0 {gid} 1\n{others}"))
}

fn confine() -> Result<(), Fault> {
    process::no_new_privs()?;
    capabilities::drop_held()?;
    process::not_dumpable()?;
    // No path is open to it, and no call but these.
    landlock::apply(&casemate_wire::Landlock::default(), None)?;
    seccomp::install_bytes(filters::DOORMAN)
}

fn keep(fds: [&OwnedFd; 4], manager: u32, notify: Option<&(OwnedFd, i64)>) -> Result<(), Fault> {
    let [listener, door, realm, signals] = fds;
    let pause = notify.map(|&(_, tv_sec)| Timespec { tv_sec, tv_nsec: 0 });
    loop {
        let mut fds = fds.map(|fd| PollFd::new(fd, PollFlags::IN));
        match poll(&mut fds, pause.as_ref()) {
            // A's own loop has to answer: that the doorman lives says little.
            Ok(0) => socket::send(door, b"?", &[]).at("door")?,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).at("poll"),
        }
        let [new, heard, mut ended, told] = fds.map(|fd| !fd.revents().is_empty());
        // When A ends, its side of the door is closed a little earlier.
        ended |= heard && retry_on_intr(|| rustix::io::read(door, &mut [0; 1])) != Ok(1);
        if ended {
            let status = waitid(WaitId::PidFd(realm.as_fd()), WaitIdOptions::EXITED).at("wait for A")?;
            return match status.and_then(|status| status.exit_status()) {
                Some(0) => Ok(()),
                _ => Err(Fault::container("A has ended with an error")),
            };
        }
        if told && signal::read(signals.as_fd()).at("signals")? == Some(signal::TERM) {
            // Ending is enough: A's first process dies with this one, and every container with that.
            return Ok(());
        }
        if heard {
            // sd_notify(3): the first one also says that the start is done. It is nobody's fault when nobody takes it.
            let _ = notify.map(|(to, _)| rustix::io::write(to, b"READY=1\nWATCHDOG=1"));
        }
        if new {
            admit(listener, door, manager);
        }
    }
}

/// Passes a connection inward when it comes from the manager's user, as the host numbers it.
fn admit(listener: &OwnedFd, door: &OwnedFd, manager: u32) {
    // Not blocking, for A: one client that takes no answers must not hold up the others.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let Ok(connection) = accept_with(listener, flags) else { return };
    if socket::peer_credentials(&connection).is_ok_and(|peer| peer.uid == manager) {
        // Where A does not take it, the caller finds the connection closed.
        let _ = socket::send(door, b"c", &[connection.as_fd()]);
    }
}
