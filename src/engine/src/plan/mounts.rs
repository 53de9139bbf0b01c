//! Mounts of a container besides the fixed ones: the file's, and a tmpfs for each VOLUME of the image that the file does not mount.

use super::error::RuleError;
use casemate_image::ImageConfig;
use casemate_spec::{ContainerSpec, Mount as SpecMount};
use casemate_wire::Mount;

/// Size in bytes and inodes of an image VOLUME's tmpfs. A file that needs more mounts a volume or a tmpfs there.
const IMAGE_VOLUME: (u64, u64) = (64 << 20, 65_536);
/// The number of VOLUMEs that an image may have.
const MAX_IMAGE_VOLUMES: usize = 32;
/// Mount points of the helper; an image cannot mount over them.
const RESERVED: &[&str] = &["/proc", "/sys", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// The file's mounts in file order, then the image's.
pub(super) fn mounts(container: &ContainerSpec, image: &ImageConfig) -> Result<Vec<Mount>, RuleError> {
    let mut mounts: Vec<Mount> = container.mounts.iter().map(mount).collect();
    if image.volumes.len() > MAX_IMAGE_VOLUMES {
        let reason =
            format!("the image declares {} volumes, at most {MAX_IMAGE_VOLUMES} are mounted", image.volumes.len());
        return Err(RuleError::spec("image-volume", reason).remedy("build the image with fewer"));
    }
    for path in &image.volumes {
        let target = normal(path).ok_or_else(|| {
            RuleError::spec("image-volume", format!("the image's VOLUME {path:?} is not a path that can be mounted"))
                .remedy("build the image without it")
        })?;
        if !mounts.iter().any(|mount| nested(mount.target(), target)) {
            let (size, inodes) = IMAGE_VOLUME;
            mounts.push(Mount::Tmpfs { target: target.to_owned(), size, inodes, mode: 0o755, exec: false });
        }
    }
    Ok(mounts)
}

fn mount(mount: &SpecMount) -> Mount {
    match mount {
        SpecMount::Tmpfs { target, size, inodes, mode, exec } => Mount::Tmpfs {
            target: target.as_str().to_owned(),
            size: size.bytes(),
            inodes: *inodes,
            mode: *mode,
            exec: *exec,
        },
        SpecMount::Volume { source, target, read_only, exec } => Mount::Volume {
            name: source.clone(),
            target: target.as_str().to_owned(),
            read_only: *read_only,
            exec: *exec,
        },
        SpecMount::Bind { source, target, read_only, exec } => Mount::Bind {
            source: source.as_str().to_owned(),
            target: target.as_str().to_owned(),
            read_only: *read_only,
            exec: *exec,
        },
    }
}

/// The path without a trailing `/`, if it is absolute, without `.` and `..`, and neither the root nor reserved.
fn normal(path: &str) -> Option<&str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(|c: char| c.is_control());
    let names = path.strip_prefix('/')?;
    let is_free = RESERVED.iter().all(|reserved| !nested(reserved, path));
    (path.len() <= 1024 && names.split('/').all(plain) && is_free).then_some(path)
}

/// Whether one path is the other or below it.
fn nested(a: &str, b: &str) -> bool {
    let below = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    below(a, b) || below(b, a)
}
