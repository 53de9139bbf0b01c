//! The files of the container that all contenders start: Debian's static busybox under the names that are needed, and this program.

use crate::failure::{Result, Step};
use crate::payload;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Makes the tree below `root`. The binary is a plain file with links, so that every contender executes the same bytes.
pub fn make(root: &Path, busybox: &Path) -> Result<()> {
    for name in ["bin", "dev", "etc", "proc", "run", "sys", "tmp"] {
        let path = root.join(name);
        fs::create_dir_all(&path).step(format_args!("make {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).step("chmod")?;
    }
    fs::copy(busybox, root.join("bin/busybox")).step(format_args!("copy {}", busybox.display()))?;
    let own = std::env::current_exe().step("find this program")?;
    fs::copy(&own, root.join(payload::PROGRAM.trim_start_matches('/'))).step("copy this program")?;
    for name in ["true", "sh", "sleep", "echo"] {
        symlink("busybox", root.join("bin").join(name)).step("link busybox")?;
    }
    for name in ["hosts", "hostname", "resolv.conf"] {
        fs::write(root.join("etc").join(name), "").step("write a file of /etc")?;
    }
    Ok(())
}
