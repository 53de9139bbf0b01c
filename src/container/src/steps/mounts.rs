//! tmpfs, volumes and binds, attached to the targets that an earlier step resolved.

use super::Start;
use crate::tree::{self, NO_EXEC, READ_ONLY, SAFE, when};
use casemate_confine::{At, Error};
use casemate_sys::mount::set_attributes;
use casemate_wire::Mount;
use std::fmt::Display;

pub fn attach(start: &mut Start<'_>) -> Result<(), Error> {
    let (uid, gid) = start.setup.outer_ids();
    for (mount, target) in start.job.rootfs.mounts.iter().zip(&start.state.targets) {
        let name = mount.target();
        let tree = match (mount, &target.source) {
            (Mount::Tmpfs { size, inodes, mode, exec, .. }, _) => {
                let mode = format!("{mode:o}");
                let uid = uid.as_raw();
                let gid = gid.as_raw();
                let flags = SAFE | when(NO_EXEC, !exec);
                let options: [(&str, &dyn Display); 5] =
                    [("size", size), ("nr_inodes", inodes), ("mode", &mode), ("uid", &uid), ("gid", &gid)];
                tree::make("tmpfs", &options, flags)?
            }
            (Mount::Volume { read_only, exec, .. } | Mount::Bind { read_only, exec, .. }, Some(source)) => {
                let tree = tree::copy_all(source, name)?;
                let flags = SAFE | when(NO_EXEC, !exec) | when(READ_ONLY, *read_only);
                set_attributes(&tree, flags, true).at(name)?;
                tree
            }
            (Mount::Volume { .. } | Mount::Bind { .. }, None) => return Err(Error::refused(name)),
        };
        tree::attach(&tree, &target.place, name)?;
    }
    Ok(())
}
