//! The built-in profiles with real programs of the distribution: each works with both filters installed, as in a container but without
//! its other protections. A program that is not installed is named and skipped; tests/setup installs them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use casemate_confine::{process, seccomp};
use casemate_engine::profile;
use rustix::process::{Gid, Uid};
use std::io::{Read, Write};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const NOBODY: u32 = 65534;

/// Runs the test in a thread with the baseline and the profile installed.
fn with_filters(text: &str, test: impl FnOnce() + Send) {
    let filters = [casemate_filter::baseline(false).unwrap(), profile::compile(text).unwrap()];
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            switch_to_nobody();
            process::no_new_privs().unwrap();
            filters.iter().for_each(|filter| seccomp::install_bytes(&filter.to_bytes()).unwrap());
            test();
        });
        thread.join().unwrap();
    });
}

/// Switches the user of this thread; the minimal profile does not let a child do it.
fn switch_to_nobody() {
    if rustix::process::geteuid().is_root() {
        let uid = Uid::from_raw(NOBODY);
        let gid = Gid::from_raw(NOBODY);
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
    }
}

/// A directory of the user nobody.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    if rustix::process::geteuid().is_root() {
        chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    directory
}

/// A command in this directory.
fn command(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).stdin(Stdio::null()).env_clear().env("HOME", directory).env("PATH", "/usr/bin:/bin");
    command
}

fn find(candidates: &[&str]) -> Option<PathBuf> {
    let found = candidates.iter().map(PathBuf::from).find(|path| path.exists());
    if found.is_none() {
        println!("skipped: needs {}", candidates[0]);
    }
    found
}

/// Runs to the end and returns the output; panics if it failed.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}\n{}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// A server that is killed at the end of the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn connect(socket: &Path) -> UnixStream {
    let start = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return stream,
            Err(error) if start.elapsed() > Duration::from_secs(20) => {
                panic!("{}: {error}", socket.display())
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn ask(socket: &Path, question: &str) -> String {
    let mut stream = connect(socket);
    stream.write_all(question.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn busybox_works_with_both_profiles() {
    let Some(busybox) = find(&["/bin/busybox", "/usr/bin/busybox"]) else { return };
    for text in [profile::SERVICE, profile::MINIMAL] {
        let directory = directory();
        let script = "set -e; b=$0; mkdir d; echo one two > d/f; cp d/f d/g; mv d/g d/h; ln -s f d/l; $b ls -la d >/dev/null;
            $b sleep 0.01; (exit 3) || echo $?; $b seq 1 3 | $b sort -r | $b head -n 1; $b sha256sum d/f >/dev/null; $b tar cf a.tar d;
            $b rm -r d; $b tar xf a.tar; $b cat d/l; $b date >/dev/null; $b ps >/dev/null; $b timeout 5 $b true; $b id -u >/dev/null";
        with_filters(text, || {
            let text = output(command(&busybox, directory.path()).args(["sh", "-c", script]).arg(&busybox));
            assert_eq!(text, "3\n3\none two\n");
        });
    }
}

#[test]
fn python_works_with_the_service_profile() {
    let Some(python) = find(&["/usr/bin/python3"]) else { return };
    let directory = directory();
    let script = "
import os, socket, subprocess, sys, tempfile, threading, time, hashlib, shutil, select
t = threading.Thread(target=time.sleep, args=(0.01,)); t.start(); t.join()
print(subprocess.run(['/bin/echo', 'child'], capture_output=True, text=True).stdout.strip())
a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); c = socket.create_connection(s.getsockname()); s.accept()
socket.getaddrinfo('localhost', 80)
os.mkfifo('fifo'); os.symlink('fifo', 'link'); open('file', 'w').write('x'); shutil.copyfile('file', 'copy')
os.listxattr('file'); os.sched_getaffinity(0); os.getrandom(8); os.fork() or os._exit(0); os.wait()
p = select.epoll(); p.register(b, select.EPOLLIN); os.eventfd(0) if hasattr(os, 'eventfd') else None
print(hashlib.sha256(b'').hexdigest()[:8], os.path.exists('copy'))
";
    with_filters(profile::SERVICE, || {
        let text = output(command(&python, directory.path()).args(["-c", script]));
        assert_eq!(text, "child\ne3b0c442 True\n");
    });
}

#[test]
fn redis_works_with_the_service_profile() {
    let Some(redis) = find(&["/usr/bin/redis-server"]) else { return };
    let directory = directory();
    let socket = directory.path().join("redis.sock");
    with_filters(profile::SERVICE, || {
        let mut server = command(&redis, directory.path());
        server.args(["--port", "0", "--appendonly", "yes", "--unixsocket"]).arg(&socket).stdout(Stdio::null());
        let _server = Server(server.spawn().unwrap());
        let answer = ask(&socket, "SET key value\r\nGET key\r\nSAVE\r\nBGREWRITEAOF\r\nQUIT\r\n");
        assert!(answer.starts_with("+OK\r\n$5\r\nvalue\r\n+OK\r\n+Background"), "{answer}");
    });
}

#[test]
fn nginx_works_with_the_service_profile() {
    let Some(nginx) = find(&["/usr/sbin/nginx"]) else { return };
    let directory = directory();
    let socket = directory.path().join("nginx.sock");
    let here = directory.path().display();
    std::fs::write(directory.path().join("page"), "a page").unwrap();
    let settings = format!(
        "daemon off; worker_processes 2; pid {here}/pid; error_log stderr; events {{ worker_connections 64; }}
        http {{ access_log {here}/log; client_body_temp_path {here}/a; proxy_temp_path {here}/b; fastcgi_temp_path {here}/c;
        uwsgi_temp_path {here}/d; scgi_temp_path {here}/e; sendfile on; aio threads;
        server {{ listen unix:{here}/nginx.sock; root {here}; }} }}"
    );
    std::fs::write(directory.path().join("nginx.conf"), settings).unwrap();
    with_filters(profile::SERVICE, || {
        let mut server = command(&nginx, directory.path());
        server.arg("-p").arg(directory.path()).arg("-c").arg(directory.path().join("nginx.conf")).stderr(Stdio::null());
        let mut server = Server(server.spawn().unwrap());
        let answer = ask(&socket, "GET /page HTTP/1.0\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("a page"), "{answer}");
        // The master stops its workers; a kill of it would leave them running.
        let pid = rustix::process::Pid::from_child(&server.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(server.0.wait().unwrap().success());
    });
}

#[test]
fn postgres_works_with_the_service_profile() {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let Some(bin) = versions.map(|entry| entry.path().join("bin")).find(|bin| bin.join("initdb").exists()) else {
        println!("skipped: needs postgresql");
        return;
    };
    let directory = directory();
    let data = directory.path().join("data");
    with_filters(profile::SERVICE, || {
        output(command(&bin.join("initdb"), directory.path()).args(["-A", "trust", "-U", "me", "-D"]).arg(&data));
        let mut server = command(&bin.join("postgres"), directory.path());
        server.args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"]).arg(directory.path()).arg("-D").arg(&data);
        let mut server = Server(server.stderr(Stdio::null()).spawn().unwrap());
        drop(connect(&directory.path().join(".s.PGSQL.5432")));
        let query = "create table t as select generate_series(1, 1000) as n; select sum(n) from t";
        let mut client = command(&bin.join("psql"), directory.path());
        client.args(["-U", "me", "-d", "postgres", "-Atqc", query, "-h"]).arg(directory.path());
        let start = Instant::now();
        // The socket exists before the server accepts commands.
        while !command(&bin.join("pg_isready"), directory.path())
            .arg("-h")
            .arg(directory.path())
            .output()
            .unwrap()
            .status
            .success()
        {
            assert!(start.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(output(&mut client), "500500\n");
        // INT is postgres's fast shutdown.
        let pid = rustix::process::Pid::from_child(&server.0);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        assert!(server.0.wait().unwrap().success());
    });
}

#[test]
fn go_works_with_both_profiles() {
    let Some(umoci) = find(&["/usr/bin/umoci"]) else { return };
    for text in [profile::SERVICE, profile::MINIMAL] {
        let directory = directory();
        with_filters(text, || {
            output(command(&umoci, directory.path()).args(["init", "--layout", "layout"]));
            output(command(&umoci, directory.path()).args(["new", "--image", "layout:a"]));
            assert_eq!(output(command(&umoci, directory.path()).args(["ls", "--layout", "layout"])), "a\n");
        });
    }
}

#[test]
fn node_works_with_the_service_profile() {
    let Some(node) = find(&["/usr/bin/node"]) else { return };
    let directory = directory();
    let script = "
const http = require('http'), fs = require('fs'), { Worker } = require('worker_threads'), cp = require('child_process');
fs.writeFileSync('f', 'x'); fs.watch('.').close(); cp.execFileSync('/bin/true');
const server = http.createServer((q, a) => a.end('page')).listen(0, '127.0.0.1', () =>
  http.get({ port: server.address().port, host: '127.0.0.1' }, a => a.on('data', d => {
    new Worker('0', { eval: true }).on('exit', () => { console.log(String(d)); server.close(); }); })));
";
    with_filters(profile::SERVICE, || {
        let mut node = command(&node, directory.path());
        assert_eq!(output(node.args(["-e", script]).env("NODE_OPTIONS", "")), "page\n");
    });
}
