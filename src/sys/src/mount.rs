//! mount_setattr(2), which rustix does not offer.

use rustix::io::Result;
use rustix::mount::MountAttrFlags;
use std::os::fd::{AsFd, AsRawFd};

/// Sets attributes of the mount whose root the descriptor is, and of every mount below it when `recursive`.
///
/// # Errors
/// As mount_setattr(2): EINVAL if the descriptor is not the root of a mount, EPERM for locked mounts.
pub fn set_attributes(mount: impl AsFd, set: MountAttrFlags, recursive: bool) -> Result<()> {
    let attributes = libc::mount_attr { attr_set: set.bits().into(), attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let mount = mount.as_fd().as_raw_fd();
    let size = size_of::<libc::mount_attr>();
    // SAFETY: the path is a C string, the structure is initialised and its size is given.
    crate::check(unsafe {
        libc::syscall(libc::SYS_mount_setattr, mount, c"".as_ptr(), flags, &raw const attributes, size)
    })
    .map(drop)
}
