//! casemate.toml: text in, [`Spec`] out, or every error that the file has.
//!
//! Pure: no file is opened and no clock is read here.

mod image_ref;
mod model;
mod values;

pub use image_ref::ImagePin;
pub use model::{
    ContainerSpec, Device, IoLimit, Landlock, Limit, Logging, Mount, Persistence, Place, Policy, Resources,
    Restart, RestartPolicy, Root, Seccomp, Security, Spec, Ulimit, User, Volume, Waivable, Waiver,
};
pub use values::{AbsolutePath, ByteSize, CpuList, Cpus, Date, NonRootGid, NonRootUid, ValueError};
