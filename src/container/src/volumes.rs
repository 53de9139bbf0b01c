//! Named volumes: one directory each, owned by the container's user.

use crate::StateDirectory;
use crate::paths::{make_directory, open_directory};
use casemate_confine::{At, Error};
use casemate_wire::Name;
use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, fstat, openat};
use std::os::fd::OwnedFd;

/// Opens a volume. At its first use it is created, empty, with mode 0700 and this owner.
pub fn open_or_create(state: &StateDirectory, name: &Name, (uid, gid): (Uid, Gid)) -> Result<OwnedFd, Error> {
    let volumes = open_directory(&state.volumes())?;
    make_directory(&volumes, name.as_str(), 0o700).at(name)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let volume = openat(&volumes, name.as_str(), flags, Mode::empty()).at(name)?;
    let owner = fstat(&volume).at(name)?.st_uid;
    if owner == uid.as_raw() {
        return Ok(volume);
    }
    // An empty directory of A's root was created just now, or a power cut came between mkdir and chown.
    let empty = std::fs::read_dir(state.volumes().join(name.as_str())).at(name)?.next().is_none();
    if owner == 0 && empty {
        fchown(&volume, Some(uid), Some(gid)).at(name)?;
        return Ok(volume);
    }
    Err(Error::container(format_args!(
        "volume {name} belongs to user {owner}, not to {}; give the container that user, or use another volume",
        uid.as_raw()
    )))
}
