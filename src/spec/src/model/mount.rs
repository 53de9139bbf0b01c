//! The writable layer, mounts and devices of a container.

use crate::finding::Findings;
use crate::item::Item;
use crate::keys::container as keys;
use crate::rules;
use crate::types::{Path, TmpfsMount, ValueType, default_inodes, name_of};
use crate::values::{AbsolutePath, ByteSize};
use crate::view::View;
use casemate_wire::Name;

/// The layer above the image's layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// None: writes are refused.
    ReadOnly,
    /// A tmpfs that ends with the container.
    Ephemeral {
        /// Its size.
        size: ByteSize,
        /// Its inodes; never 0.
        inodes: u64,
    },
    /// A directory that outlives the container.
    Persistent,
}

impl Root {
    /// `read_only` and `writable_root` of a container.
    pub(crate) fn read(container: &View<'_>) -> Option<Self> {
        if container.get(&keys::READ_ONLY)? { Some(Self::ReadOnly) } else { container.get(&keys::WRITABLE_ROOT) }
    }

    /// `{ type = "ephemeral", size = "64MiB" }` or `{ type = "persistent" }`.
    pub(crate) fn writable(table: &View<'_>, out: &mut Findings<'_>) -> Option<Self> {
        let size = table.own(&keys::ROOT_SIZE);
        if !table.get(&keys::ROOT_TYPE)? {
            for item in size.into_iter().chain(table.own(&keys::ROOT_INODES)) {
                let message = format!("a persistent root has no `{}`", item.name);
                out.add(&rules::MOUNT_OPTION, &item.key_span, message).help("remove the key: the root is a directory");
            }
            return Some(Self::Persistent);
        }
        if size.is_none() {
            out.absent(&rules::TMPFS_SIZE, &table.span, "an ephemeral root is a tmpfs and has a size")
                .help("add `size = \"64MiB\"`");
        }
        Some(Self::Ephemeral { size: table.get(&keys::ROOT_SIZE)?, inodes: table.get(&keys::ROOT_INODES)? })
    }
}

/// A mount besides those that every container has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// A fresh tmpfs of the container's user.
    Tmpfs {
        /// Path in the container.
        target: AbsolutePath,
        /// Its size.
        size: ByteSize,
        /// Its inodes; never 0.
        inodes: u64,
        /// Permission bits, at most 0o1777.
        mode: u32,
        /// Files on it may be executed.
        exec: bool,
    },
    /// A named volume of this file.
    Volume {
        /// The volume.
        source: Name,
        /// Path in the container.
        target: AbsolutePath,
        /// Mounted read-only.
        read_only: bool,
        /// Files on it may be executed.
        exec: bool,
    },
    /// A file or directory of the host.
    Bind {
        /// Path on the host.
        source: AbsolutePath,
        /// Path in the container.
        target: AbsolutePath,
        /// Mounted read-only.
        read_only: bool,
        /// Files on it may be executed.
        exec: bool,
    },
}

/// `type` of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MountType {
    Volume,
    Bind,
    Tmpfs,
}

/// `source` of a mount.
pub(crate) enum MountSource {
    Volume(Name),
    Bind(AbsolutePath),
}

impl MountSource {
    /// What `source` means depends on `type`; a tmpfs has none.
    pub(crate) fn read(kind: MountType, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Self> {
        match kind {
            MountType::Bind => Some(Self::Bind(Path.read(item, out)?)),
            MountType::Volume => Some(Self::Volume(name_of(item.string(&mut Findings::silent())?, &item.span, out)?)),
            MountType::Tmpfs => None,
        }
    }
}

impl Mount {
    /// The path in the container.
    pub fn target(&self) -> &AbsolutePath {
        match self {
            Self::Tmpfs { target, .. } | Self::Volume { target, .. } | Self::Bind { target, .. } => target,
        }
    }

    /// A table of `volumes`.
    pub(crate) fn read(table: &View<'_>, out: &mut Findings<'_>) -> Option<Self> {
        let kind = table.get(&keys::MOUNT_TYPE)?;
        options_fit(kind, table, out);
        let source = table.own(&keys::MOUNT_SOURCE).and_then(|item| MountSource::read(kind, &item, out));
        let target = table.get(&keys::MOUNT_TARGET)?;
        let exec = table.get(&keys::MOUNT_EXEC)?;
        let read_only = table.get(&keys::MOUNT_READ_ONLY)?;
        match (kind, source) {
            (MountType::Tmpfs, _) => {
                let size = table.get(&keys::MOUNT_SIZE)?;
                Some(Self::Tmpfs { target, size, inodes: default_inodes(size), mode: TmpfsMount::MODE, exec })
            }
            (_, Some(MountSource::Volume(source))) => Some(Self::Volume { source, target, read_only, exec }),
            (_, Some(MountSource::Bind(source))) => Some(Self::Bind { source, target, read_only, exec }),
            (_, None) => None,
        }
    }
}

/// Notes the keys that a mount of this type does not have, and those that it lacks.
fn options_fit(kind: MountType, table: &View<'_>, out: &mut Findings<'_>) {
    let word = keys::MOUNT_TYPE.of.show(&kind);
    let word = word.trim_matches('"');
    let source = table.own(&keys::MOUNT_SOURCE);
    let size = table.own(&keys::MOUNT_SIZE);
    let has_source = source.is_some();
    let has_size = size.is_some();
    let stray = match kind {
        MountType::Tmpfs => [source, table.own(&keys::MOUNT_READ_ONLY)],
        MountType::Volume | MountType::Bind => [size, None],
    };
    for item in stray.into_iter().flatten() {
        out.add(&rules::MOUNT_OPTION, &item.key_span, format!("a {word} has no `{}`", item.name))
            .help("remove the key");
    }
    if kind != MountType::Tmpfs && !has_source {
        out.absent(&rules::MISSING_KEY, &table.span, format!("a {word} has a `source`"));
    }
    if kind == MountType::Tmpfs && !has_size {
        out.absent(&rules::TMPFS_SIZE, &table.span, "a tmpfs without a size could take half of the host's memory")
            .help("add `size = \"16MiB\"`");
    }
}

/// A device node of the host, both paths below `/dev`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Path on the host.
    pub source: AbsolutePath,
    /// Path in the container.
    pub target: AbsolutePath,
    /// It may be written to.
    pub write: bool,
}

impl Device {
    pub(crate) fn read(table: &View<'_>) -> Option<Self> {
        Some(Self {
            source: table.get(&keys::DEVICE_SOURCE)?,
            target: table.get(&keys::DEVICE_TARGET)?,
            write: table.get(&keys::DEVICE_PERMISSIONS)?,
        })
    }
}
