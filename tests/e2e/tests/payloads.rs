//! Programs from Debian's packages as payloads, with real requests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::debian::Rootfs;
use casemate_e2e::{Container, Feature, Instance, Spec, both_modes, needs, place, poll};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;

const BUSYBOX: Feature = Feature::Program("/bin/busybox");
const APPLETS: [&str; 9] = ["sh", "cat", "sleep", "ls", "wc", "id", "echo", "grep", "mkdir"];

fn with_shell(rootfs: Rootfs<'_>) -> Rootfs<'_> {
    let rootfs = rootfs.program("/bin/busybox");
    APPLETS.iter().fold(rootfs, |rootfs, applet| rootfs.link(&format!("/bin/{applet}"), "busybox"))
}

fn files_of(packages: &[&str]) -> Vec<String> {
    let output = Command::new("dpkg-query").arg("--listfiles").args(packages).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter(|path| Path::new(path).is_file() && !path.starts_with("/usr/share/"))
        .map(str::to_owned)
        .collect()
}

fn busybox() -> PathBuf {
    place::cached("busybox", |root| with_shell(Rootfs::new(root)).done())
}

fn redis() -> PathBuf {
    place::cached("redis", |root| {
        with_shell(Rootfs::new(root)).program("/usr/bin/redis-server").program("/usr/bin/redis-cli").done();
    })
}

fn python() -> PathBuf {
    place::cached("python", |root| {
        let rootfs = Rootfs::new(root).program("/usr/bin/python3.11");
        files_of(&["libpython3.11-minimal"]).iter().fold(rootfs, |rootfs, file| rootfs.file(file)).done();
    })
}

fn nginx() -> PathBuf {
    place::cached("nginx", |root| {
        let configuration = "daemon off; worker_processes 2; pid /tmp/nginx.pid; error_log stderr info;\n\
            events { worker_connections 64; }\n\
            http {\n access_log /dev/stdout;\n\
            client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;\n\
            uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;\n\
            server { listen unix:/run/nginx/nginx.sock; root /srv/www; }\n}\n";
        Rootfs::new(root)
            .program("/usr/sbin/nginx")
            .text("/etc/nginx/nginx.conf", configuration)
            .text("/srv/www/index.html", "<p>served from a casemate</p>\n")
            .done();
    })
}

const POSTGRES: &str = "/usr/lib/postgresql/15";

fn postgres() -> PathBuf {
    place::cached("postgres", |root| {
        let mut rootfs = with_shell(Rootfs::new(root)).text("/etc/passwd", "app:x:10001:10001::/:/bin/sh\n");
        for program in ["initdb", "postgres", "psql"] {
            rootfs = rootfs.program(&format!("{POSTGRES}/bin/{program}"));
        }
        for library in ["plpgsql", "dict_snowball"] {
            rootfs = rootfs.program(&format!("{POSTGRES}/lib/{library}.so"));
        }
        rootfs.tree("/usr/share/postgresql/15").file("/usr/share/zoneinfo/Etc/UTC").done();
    })
}

/// A client's script: asks until the server answers, then goes on.
fn until_it_works(ask: &str, then: &str) -> String {
    format!("n=0; until {ask}; do n=$((n+1)); [ $n -lt 300 ] || exit 9; sleep 0.1; done; {then}")
}

both_modes! {
    fn busybox_shell_runs_with_pipes_and_files(mode) {
        if !needs("busybox_shell_runs_with_pipes_and_files", &[BUSYBOX]) {
            return;
        }
        let casemate = Instance::new(mode);
        let image = casemate.pack_directory("busybox", &busybox(), &[]);
        let script = "id; echo one two three | wc -w; echo kept > /tmp/x && cat /tmp/x; ls /bin | grep -c sh; \
            echo no > /bin/y || echo refused; exit 0";
        let container = Container::new("a", &image, 10_001).entrypoint(&["/bin/sh", "-c", script])
            .set("tmpfs", "[\"/tmp:size=1MiB\"]");
        let output = casemate.up_to_the_end(&Spec::new([container])).expect(0);
        for word in ["uid=10001 gid=10001", "3", "kept", "refused"] {
            assert!(output.stdout.contains(word), "no {word:?}: {output:?}");
        }
        assert!(!output.stdout.contains("uid=0"), "{output:?}");
    }

    fn redis_answers_another_container_and_keeps_its_data(mode) {
        if !needs("redis_answers_another_container_and_keeps_its_data", &[BUSYBOX, Feature::Program("/usr/bin/redis-server")]) {
            return;
        }
        let casemate = Instance::new(mode);
        let image = casemate.pack_directory("redis", &redis(), &[]);
        let server = Container::new("redis", &image, 10_001)
            .entrypoint(&["/usr/bin/redis-server", "--port", "0", "--unixsocket", "/run/redis/redis.sock",
                "--unixsocketperm", "777", "--dir", "/data", "--appendonly", "yes"])
            .set("volumes", "[{ type = \"volume\", source = \"sockets\", target = \"/run/redis\" }, \
                { type = \"volume\", source = \"data\", target = \"/data\" }]")
            .resource("memory", "\"96MiB\"");
        let client = |then: &str| {
            let ask = "redis-cli -s /run/redis/redis.sock ping | grep -q PONG";
            Container::new("client", &image, 10_001).set("share_user_with", "\"redis\"").entrypoint(&["/bin/sh", "-c", &until_it_works(ask, then)])
                .set("volumes", "[{ type = \"volume\", source = \"sockets\", target = \"/run/redis\" }]")
        };
        let cli = "redis-cli -s /run/redis/redis.sock";
        let session = |then: &str| {
            let spec = Spec::new([server.clone(), client(then)]).head("[volumes.sockets]\n[volumes.data]");
            let mut up = casemate.up(&spec);
            let line = up.until_line("result:");
            up.signal(Signal::INT);
            let output = up.wait(poll::PATIENCE);
            assert!(output.stdout.contains("ready to accept connections"), "{output:?}");
            line
        };
        let line = session(&format!("{cli} set colour blue; {cli} incr visits; echo result: $({cli} get colour)"));
        assert!(line.ends_with("result: blue"), "{line}");
        let line = session(&format!("echo result: $({cli} get colour) $({cli} incr visits)"));
        assert!(line.ends_with("result: blue 2"), "{line}");
    }

    fn nginx_serves_a_file_to_python_in_another_container(mode) {
        let programs = [Feature::Program("/usr/sbin/nginx"), Feature::Program("/usr/bin/python3.11")];
        if !needs("nginx_serves_a_file_to_python_in_another_container", &programs) {
            return;
        }
        let casemate = Instance::new(mode);
        let server = Container::new("nginx", &casemate.pack_directory("nginx", &nginx(), &[]), 10_001)
            .entrypoint(&["/usr/sbin/nginx", "-e", "stderr", "-c", "/etc/nginx/nginx.conf"])
            .set("tmpfs", "[\"/tmp:size=4MiB\"]")
            .set("volumes", "[{ type = \"volume\", source = \"sockets\", target = \"/run/nginx\" }]");
        let script = "import socket, time\n\
            for _ in range(300):\n\
            \x20 try:\n\
            \x20  s = socket.socket(socket.AF_UNIX); s.connect('/run/nginx/nginx.sock'); break\n\
            \x20 except OSError: time.sleep(0.1)\n\
            s.sendall(b'GET /index.html HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n')\n\
            data = b''\n\
            while True:\n\
            \x20 part = s.recv(4096)\n\
            \x20 if not part: break\n\
            \x20 data += part\n\
            print('answer:', data.split(b'\\r\\n')[0].decode(), data.decode().split('\\r\\n\\r\\n')[1])";
        let client = Container::new("python", &casemate.pack_directory("python", &python(), &[]), 10_001)
            .set("share_user_with", "\"nginx\"")
            .entrypoint(&["/usr/bin/python3.11", "-c", script])
            .set("volumes", "[{ type = \"volume\", source = \"sockets\", target = \"/run/nginx\" }]");
        let mut up = casemate.up(&Spec::new([server, client]).head("[volumes.sockets]"));
        let line = up.until_line("answer:");
        assert!(line.contains("200 OK <p>served from a casemate</p>"), "{line}");
        up.signal(Signal::INT);
        let output = up.wait(poll::PATIENCE);
        assert!(output.stdout.contains("GET /index.html"), "no access log: {output:?}");
    }

    fn postgres_creates_a_cluster_and_answers_a_query(mode) {
        if !needs("postgres_creates_a_cluster_and_answers_a_query", &[BUSYBOX, Feature::Program("/usr/lib/postgresql/15/bin/postgres")]) {
            return;
        }
        let casemate = Instance::new(mode);
        let image = casemate.pack_directory("postgres", &postgres(), &[]);
        let bin = format!("{POSTGRES}/bin");
        let psql = format!("{bin}/psql -h /tmp -U app -d postgres -qtAX -c");
        let script = format!(
            "set -e; [ -e /data/pg/PG_VERSION ] || {bin}/initdb -D /data/pg -U app -A trust --locale=C -E UTF8 --no-sync\n\
            {bin}/postgres -D /data/pg -k /tmp -c listen_addresses= -c timezone=Etc/UTC -c log_timezone=Etc/UTC & server=$!\n\
            {}\n\
            {psql} 'create table if not exists t (n int)'; {psql} 'insert into t select generate_series(1, 1000)'\n\
            echo sum: $({psql} 'select sum(n) from t')\n\
            kill -INT $server; wait $server; echo ended: $?",
            until_it_works(&format!("{psql} 'select 1' 2>/dev/null"), ":"),
        );
        let container = Container::new("db", &image, 10_001).entrypoint(&["/bin/sh", "-c", &script])
            .set("environment", "{ HOME = \"/tmp\", PGTZ = \"Etc/UTC\" }")
            .set("tmpfs", "[\"/tmp:size=8MiB\"]")
            .set("volumes", "[{ type = \"volume\", source = \"data\", target = \"/data\" }]")
            .resource("memory", "\"256MiB\"").resource("pids", "64");
        let spec = Spec::new([container]).head("[volumes.data]");
        let output = casemate.up_to_the_end(&spec).expect(0);
        assert!(output.stdout.contains("sum: 500500"), "{output:?}");
        // Its data is there again: twice as much now.
        let output = casemate.up_to_the_end(&spec).expect(0);
        assert!(output.stdout.contains("sum: 1001000"), "{output:?}");
        assert!(!output.stdout.contains("automatic recovery"), "{output:?}");
    }

    fn python_script_writes_its_result(mode) {
        if !needs("python_script_writes_its_result", &[Feature::Program("/usr/bin/python3.11")]) {
            return;
        }
        let casemate = Instance::new(mode);
        let image = casemate.pack_directory("python", &python(), &[]);
        let script = "import hashlib, os, threading\n\
            out = []\n\
            ts = [threading.Thread(target=lambda n=n: out.append(n * n)) for n in range(8)]\n\
            [t.start() for t in ts]; [t.join() for t in ts]\n\
            open('/out/result', 'w').write(str(sum(out)))\n\
            pid = os.fork()\n\
            if pid == 0: os._exit(7)\n\
            print('result:', open('/out/result').read(), os.waitpid(pid, 0)[1] >> 8, os.getuid(), hashlib.sha256(b'x').hexdigest()[:8])";
        let container = Container::new("py", &image, 10_001).entrypoint(&["/usr/bin/python3.11", "-c", script])
            .set("volumes", "[{ type = \"volume\", source = \"out\", target = \"/out\" }]");
        let output = casemate.up_to_the_end(&Spec::new([container]).head("[volumes.out]")).expect(0);
        assert!(output.stdout.contains("result: 140 7 10001 2d711642"), "{output:?}");
    }
}
