//! The file that digests are written into: its images, and the atomic replacement of its text.

use crate::{Code, Error, file};
use casemate_engine::file::SpecFile;
use casemate_spec::{self as spec, ImageAt, ImagePin, Spec};
use casemate_wire::Digest;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// The tag of a reference without one, as with docker.
const LATEST: &str = "latest";

/// An image of the file to resolve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its place in the file.
    pub at: ImageAt,
    /// The reference to resolve; its digest is the old one, or zeros without one.
    pub pin: ImagePin,
    /// Whether it has an old digest.
    pub pinned: bool,
}

impl Target {
    /// Parses the image of the file, or the one given in its place.
    pub fn new(at: ImageAt, image: &str) -> Result<Self, Error> {
        let pinned = image.contains('@');
        let text = if pinned { image.to_owned() } else { format!("{image}@{}", Digest::from_bytes([0; 32])) };
        let wrong =
            |error| Error::new(Code::Usage, format!("container `{}`: {image}", at.container), "read the image", error);
        let mut pin = ImagePin::parse(&text).map_err(wrong)?;
        if !pinned {
            pin.tag.get_or_insert_with(|| LATEST.to_owned());
        }
        Ok(Self { at, pin, pinned })
    }

    /// The reference with another digest.
    pub fn with(&self, digest: Digest) -> ImagePin {
        ImagePin { digest, ..self.pin.clone() }
    }
}

/// The file as it was read.
#[derive(Debug)]
pub struct Pins {
    path: PathBuf,
    text: String,
    /// Its images, in the order of the text.
    pub images: Vec<ImageAt>,
}

impl Pins {
    /// Reads the file with the caller's rights. A symbolic link is resolved first: its target is replaced later.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let real = fs::canonicalize(path).map_err(|error| Error::new(Code::Usage, path.display(), "find", error))?;
        let bytes = casemate_engine::file::read(&real)?;
        let text =
            spec::text(&bytes).map_err(|_| Error::new(Code::Spec, path.display(), "read", "it is not UTF-8 text"))?;
        Ok(Self { path: real, text: text.to_owned(), images: spec::images(text) })
    }

    /// The image of this container.
    pub fn image_of(&self, container: &str) -> Result<&ImageAt, Error> {
        self.images.iter().find(|at| at.container == container).ok_or_else(|| {
            Error::new(
                Code::Usage,
                format!("container `{container}`"),
                "find its image",
                "the file has no container with this name and an `image`",
            )
        })
    }

    /// Checks the whole file with these images in it.
    pub fn checked(&self, targets: &[Target]) -> Result<Spec, Error> {
        let images: Vec<_> = targets.iter().map(|target| (target.at.span.clone(), target.pin.to_string())).collect();
        let text = spec::replaced(&self.text, &images);
        let file = SpecFile::of_text(&self.path, &text).map_err(|invalid| file::print_findings(&invalid))?;
        Ok(file.spec)
    }

    /// Writes the new digests. After a crash, the file is the old or the new one.
    pub fn write(&self, targets: &[Target], digests: &[Digest]) -> Result<(), Error> {
        let new: Vec<Target> = targets
            .iter()
            .zip(digests)
            .map(|(target, digest)| Target { pin: target.with(*digest), ..target.clone() })
            .collect();
        self.checked(&new)?;
        let images: Vec<_> = new.iter().map(|target| (target.at.span.clone(), target.pin.to_string())).collect();
        let text = spec::replaced(&self.text, &images);
        let failed = |step| move |error: std::io::Error| Error::new(Code::Failed, self.path.display(), step, error);
        let now = fs::read(&self.path).map_err(failed("read again"))?;
        if now != self.text.as_bytes() {
            return Err(Error::new(
                Code::Failed,
                self.path.display(),
                "write",
                "another program has changed it; run the command again",
            ));
        }
        self.replace(&text).map_err(failed("write"))
    }

    fn replace(&self, text: &str) -> std::io::Result<()> {
        let mut name = std::ffi::OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(format!(".{}", std::process::id()));
        let other = self.path.with_file_name(name);
        let old = fs::metadata(&self.path)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&other)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| {
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
            file.set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
            file.sync_all()?;
            fs::rename(&other, &self.path)
        });
        if written.is_err() {
            let _ = fs::remove_file(&other);
        }
        written?;
        File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# A file.\nschema = 1\n[appliance]\nname = \"a\"\n[containers.a] # here\nimage = 'docker.io/a:1' # pinned later\n\
        user = \"1\"\nresources = { memory = 1, pids = 1 }\n";

    fn pins(directory: &Path) -> Pins {
        fs::write(directory.join("casemate.toml"), TEXT).unwrap();
        Pins::read(&directory.join("casemate.toml")).unwrap()
    }

    #[test]
    fn a_digest_is_written_and_nothing_else_changes() {
        let directory = tempfile::tempdir().unwrap();
        let pins = pins(directory.path());
        let target = Target::new(pins.image_of("a").unwrap().clone(), "docker.io/a:1").unwrap();
        assert!(!target.pinned && pins.image_of("b").is_err());
        let digest = Digest::from_bytes([7; 32]);
        let mode =
            |mode| fs::set_permissions(directory.path().join("casemate.toml"), Permissions::from_mode(mode)).unwrap();
        mode(0o640);
        pins.write(std::slice::from_ref(&target), &[digest]).unwrap();
        let path = directory.path().join("casemate.toml");
        let written = fs::read_to_string(&path).unwrap();
        assert_eq!(written, TEXT.replace("'docker.io/a:1'", &format!("\"docker.io/a:1@{digest}\"")));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(pins.write(&[target], &[digest]).is_err(), "it has changed since it was read");
    }

    #[test]
    fn target_needs_an_image_with_a_tag() {
        let at = || ImageAt { container: "a".to_owned(), image: String::new(), span: 0..0 };
        assert_eq!(Target::new(at(), "docker.io/a").unwrap().pin.tag.as_deref(), Some("latest"));
        assert_eq!(Target::new(at(), &format!("docker.io/a@{}", Digest::from_bytes([1; 32]))).unwrap().pin.tag, None);
        for bad in ["nginx", "docker.io/A", "docker.io/a@sha256:00", ""] {
            assert!(Target::new(at(), bad).is_err(), "{bad}");
        }
    }
}
