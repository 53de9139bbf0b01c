//! Named volumes: one directory each, owned by the container's user as A numbers it.

use crate::room::paths::{make_directory, open_directory};
use casemate_confine::{At, Fault};
use casemate_wire::Name;
use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, fstat, openat};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Opens a volume; made, empty and private to the ids, at its first use.
pub fn open_or_make(state: &Path, name: &Name, (uid, gid): (Uid, Gid)) -> Result<OwnedFd, Fault> {
    let volumes = open_directory(&state.join("volumes"))?;
    make_directory(&volumes, name.as_str(), 0o700).at(name)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let volume = openat(&volumes, name.as_str(), flags, Mode::empty()).at(name)?;
    let owner = fstat(&volume).at(name)?.st_uid;
    if owner == uid.as_raw() {
        return Ok(volume);
    }
    // Made just now, or before a power cut came between mkdir and chown: it is root's and empty, so nobody's yet.
    let empty = std::fs::read_dir(state.join("volumes").join(name.as_str())).at(name)?.next().is_none();
    if owner == 0 && empty {
        fchown(&volume, Some(uid), Some(gid)).at(name)?;
        return Ok(volume);
    }
    Err(Fault::container(format_args!(
        "volume {name} belongs to user {owner}, not to {}; give the container that user, or use another volume",
        uid.as_raw()
    )))
}
