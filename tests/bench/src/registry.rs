//! Debian's docker-registry on the loopback, without TLS, filled by skopeo.

use crate::failure::{Failure, Result, Step};
use crate::tools;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running registry; it ends when it is dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    port: u16,
    skopeo: PathBuf,
}

impl Registry {
    /// Starts one with its files below a new directory; `Err` inside: what is missing here.
    pub fn start(directory: &Path) -> Result<std::result::Result<Self, String>> {
        let (program, skopeo) =
            match (tools::find("docker-registry", "docker-registry"), tools::find("skopeo", "skopeo")) {
                (Ok(program), Ok(skopeo)) => (program, skopeo),
                (Err(missing), _) | (_, Err(missing)) => return Ok(Err(missing)),
            };
        fs::create_dir(directory).step("make the registry's directory")?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).step("find a free port")?.port();
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n",
            directory.join("data").display()
        );
        let path = directory.join("config.yml");
        fs::write(&path, config).step("write the registry's file")?;
        let mut command = Command::new(program);
        command.arg("serve").arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Self { child: command.spawn().step("start docker-registry")?, port, skopeo };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begin.elapsed() > PATIENCE {
                return Err(Failure::new("start docker-registry", "it does not listen"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Ok(registry))
    }

    /// `127.0.0.1:PORT`.
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Puts a layout's image of this tag there, as `bench:TAG`.
    pub fn push(&self, layout: &Path, tag: &str) -> Result<()> {
        let mut command = Command::new(&self.skopeo);
        command.args(["copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false"]);
        command.arg(format!("oci:{}:{tag}", layout.display())).arg(format!("docker://{}/bench:{tag}", self.name()));
        tools::run(&mut command).map(drop)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
