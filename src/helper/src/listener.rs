//! The process that stays in the host's namespaces: makes the outer user namespace (A), drops every privilege, then only listens.
//!
//! Its one use of privilege is the id map of A. After that it holds no capability, accepts connections, checks the peer's user
//! (SO_PEERCRED), and passes connections to A's root: in A the manager's uid has no number to be compared with.

use crate::args::Settings;
use crate::{filters, outer};
use casemate_confine::{At, Error, capabilities, landlock, process, seccomp};
use casemate_container::child;
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

/// Makes A, then listens until A has ended or this process gets SIGTERM.
pub fn run(settings: Settings) -> Result<(), Error> {
    // As systemd hands listening sockets over (sd_listen_fds(3)).
    let listener = inherited::take(3).at("take descriptor 3")?;
    if socket_acceptconn(&listener) != Ok(true) {
        return Err(Error::refused("descriptor 3 is not a listening socket; use `casemate up` or the .socket unit"));
    }
    // The launcher or systemd has connected it, so that this process needs no path to it.
    let notify = settings.notify.map(|_| inherited::take(4)).transpose().at("take descriptor 4")?;
    inherited::keep_from_children().at("close inherited descriptors")?;
    let own = std::env::current_exe().at("find the own program")?;
    let program = |name: &str| {
        let path = own.with_file_name(name);
        open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).at(path.display())
    };
    let programs = [program("casemate-unpack")?, program("casemate-init")?];
    let (connections, outer_connections) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).at("socketpair")?;
    let (ready, go) = child::pipe()?;
    // Only a dumpable process's map files belong to its user; nothing secret is in memory yet.
    set_dumpable_behavior(DumpableBehavior::Dumpable).at("dumpable")?;
    let proof = SingleThreaded::prove().at("threads")?;
    let manager = settings.manager;
    let range = settings.range;
    let seconds = settings.notify;
    match fork(&proof, Namespaces::WITH_USER, None).at("make user namespace A")? {
        Fork::Child => {
            drop((go, connections, listener, notify));
            // Without the byte there is no map. An error is written to the log, and the listener sees the end.
            let mapped = retry_on_intr(|| rustix::io::read(&ready, &mut [0; 1])) == Ok(1);
            let run = || outer::run(settings, &outer_connections, programs).map_err(|error| crate::log(&error));
            exit_now(u8::from(!mapped || run().is_err()))
        }
        Fork::Parent { pid, pidfd } => {
            drop((ready, outer_connections, programs));
            map_ids(pid, range)?;
            let signals = signal::descriptor(&[signal::TERM, signal::INT, signal::HUP]).at("signals")?;
            confine()?;
            rustix::io::write(&go, b"g").at("let A begin")?;
            drop(go);
            listen([&listener, &connections, &pidfd, &signals], manager, notify.zip(seconds).as_ref())
        }
    }
}

/// Writes the id maps of A (user_namespaces(7)): the only act that needs CAP_SETUID and CAP_SETGID.
fn map_ids(pid: i32, range: Option<(u32, u32)>) -> Result<(), Error> {
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
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    write("uid_map", &format!("0 {uid} 1\n{others}"))?;
    write("gid_map", &format!("0 {gid} 1\n{others}"))
}

fn confine() -> Result<(), Error> {
    process::no_new_privs()?;
    capabilities::drop_held()?;
    process::not_dumpable()?;
    // It needs no path, and few system calls.
    landlock::apply(&casemate_wire::Landlock::default(), None)?;
    seccomp::install_bytes(filters::LISTENER)
}

fn listen(fds: [&OwnedFd; 4], manager: u32, notify: Option<&(OwnedFd, i64)>) -> Result<(), Error> {
    let [listener, connections, outer, signals] = fds;
    let pause = notify.map(|&(_, tv_sec)| Timespec { tv_sec, tv_nsec: 0 });
    loop {
        let mut fds = fds.map(|fd| PollFd::new(fd, PollFlags::IN));
        match poll(&mut fds, pause.as_ref()) {
            // A watchdog ping is sent when A's event loop has answered.
            Ok(0) => socket::send(connections, b"?", &[]).at("connection to A")?,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).at("poll"),
        }
        let [connecting, answered, mut ended, signalled] = fds.map(|fd| !fd.revents().is_empty());
        // When A ends, its end of the socket pair is closed a little earlier.
        ended |= answered && retry_on_intr(|| rustix::io::read(connections, &mut [0; 1])) != Ok(1);
        if ended {
            let status = waitid(WaitId::PidFd(outer.as_fd()), WaitIdOptions::EXITED).at("wait for A")?;
            return match status.and_then(|status| status.exit_status()) {
                Some(0) => Ok(()),
                _ => Err(Error::container("A has ended with an error")),
            };
        }
        if signalled && signal::read(signals.as_fd()).at("signals")? == Some(signal::TERM) {
            // A's first process gets SIGKILL when this one ends, and every container ends with it.
            return Ok(());
        }
        if answered {
            // sd_notify(3): the first one also says that the start is done. An unread message is no error.
            let _ = notify.map(|(to, _)| rustix::io::write(to, b"READY=1\nWATCHDOG=1"));
        }
        if connecting {
            accept(listener, connections, manager);
        }
    }
}

/// Passes a connection to A when the peer is the manager's user, as the host numbers it.
fn accept(listener: &OwnedFd, connections: &OwnedFd, manager: u32) {
    // Non-blocking, for A: a client that reads no answers must not hold up the others.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let Ok(connection) = accept_with(listener, flags) else { return };
    if socket::peer_credentials(&connection).is_ok_and(|peer| peer.uid == manager) {
        // If A does not take it, the client finds the connection closed.
        let _ = socket::send(connections, b"c", &[connection.as_fd()]);
    }
}
