//! Named volumes: one directory each, owned by the container's user as A numbers it.

use crate::fault::{At, Fault};
use casemate_wire::Name;
use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, fstat, mkdirat, open, openat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The names of all volumes, sorted.
pub fn list(state: &Path) -> Result<Vec<Name>, Fault> {
    let entries = std::fs::read_dir(state.join("volumes")).at("volumes")?;
    let mut names: Vec<Name> =
        entries.flatten().filter_map(|entry| Name::new(entry.file_name().into_string().ok()?).ok()).collect();
    names.sort();
    Ok(names)
}

/// Opens a volume; made, empty and private to the ids, at its first use.
pub fn open_or_make(state: &Path, name: &Name, (uid, gid): (Uid, Gid)) -> Result<OwnedFd, Fault> {
    let directory = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let volumes = open(state.join("volumes"), OFlags::PATH | directory, Mode::empty()).at("volumes")?;
    match mkdirat(&volumes, name.as_str(), Mode::from_raw_mode(0o700)) {
        Ok(()) => {
            let volume =
                openat(&volumes, name.as_str(), OFlags::RDONLY | directory, Mode::empty()).at(name)?;
            fchown(&volume, Some(uid), Some(gid)).at(name)?;
        }
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).at(name),
    }
    let volume = openat(&volumes, name.as_str(), OFlags::PATH | directory, Mode::empty()).at(name)?;
    let owner = fstat(&volume).at(name)?.st_uid;
    if owner == uid.as_raw() {
        return Ok(volume);
    }
    // A power cut between mkdir and chown leaves root's empty directory: it is nobody's yet.
    let empty = std::fs::read_dir(state.join("volumes").join(name.as_str())).at(name)?.next().is_none();
    if owner == 0 && empty {
        let handle = openat(&volumes, name.as_str(), OFlags::RDONLY | directory, Mode::empty()).at(name)?;
        fchown(&handle, Some(uid), Some(gid)).at(name)?;
        return Ok(volume);
    }
    Err(Fault::container(format_args!(
        "volume {name} belongs to user {owner}, not to {}; give the container that user, or use another volume",
        uid.as_raw()
    )))
}

/// Takes a volume and its content away.
pub fn remove(state: &Path, name: &Name) -> Result<(), Fault> {
    std::fs::remove_dir_all(state.join("volumes").join(name.as_str())).at(name)
}
