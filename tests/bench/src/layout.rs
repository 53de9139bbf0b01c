//! A real image to unpack: this machine's own /usr, as Debian's packages filled it, in an OCI layout of one layer or several.

use crate::failure::{Failure, Result, Step};
use crate::tools;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Many small files, programs, libraries: as much of each, in the order of their names.
const SOURCES: [&str; 3] = ["/usr/share", "/usr/bin", "/usr/lib"];

/// An image that was made.
#[derive(Debug)]
pub struct Layout {
    /// The layout's directory; its image is tagged `bench`.
    pub directory: PathBuf,
    /// The digest of its image.
    pub digest: String,
    /// The blobs of the layers, bottom first.
    pub layers: Vec<PathBuf>,
    /// Bytes of the tars together.
    pub uncompressed: u64,
}

/// Paths to put into the image, relative to `/`, parents before children.
#[derive(Debug, Default)]
pub struct Content {
    entries: Vec<(PathBuf, u64)>,
}

impl Content {
    /// Chooses them, so many bytes of each source at the most.
    pub fn of_this_machine(bytes_of_each: u64) -> Result<Self> {
        let mut content = Self::default();
        for source in SOURCES {
            let mut left = bytes_of_each;
            content.add(Path::new(source), &mut left)?;
        }
        Ok(content)
    }

    /// Copies them below a directory, which is the root of an image.
    pub fn copy_to(&self, root: &Path) -> Result<()> {
        let list = root.with_extension("list");
        let names: Vec<&str> = self.entries.iter().filter_map(|(path, _)| path.to_str()).collect();
        fs::write(&list, names.join("\n")).step("write the list of files")?;
        let script = "tar -C / --no-recursion --verbatim-files-from -T \"$0\" -cf - | tar -C \"$1\" -xf -";
        tools::run(Command::new("sh").args(["-c", script]).arg(&list).arg(root)).map(drop)
    }

    fn add(&mut self, directory: &Path, left: &mut u64) -> Result<()> {
        self.entries.push((relative(directory), 0));
        let listing = fs::read_dir(directory).step(format_args!("read {}", directory.display()))?;
        let mut entries: Vec<_> = listing.flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                self.add(&entry.path(), left)?;
            } else if (metadata.is_file() && metadata.len() <= *left) || metadata.is_symlink() {
                let size = if metadata.is_file() { metadata.len() } else { 0 };
                *left -= size;
                self.entries.push((relative(&entry.path()), size));
            }
            if *left < 4096 {
                break;
            }
        }
        Ok(())
    }

    /// Cuts them into runs of about the same size. A run may begin below a directory that an earlier one has made.
    fn split(&self, parts: u64) -> Vec<Vec<&Path>> {
        let total: u64 = self.entries.iter().map(|(_, size)| size).sum();
        let mut runs = vec![Vec::new()];
        let mut filled = 0;
        for (path, size) in &self.entries {
            if filled * parts > total * runs.len() as u64 {
                runs.push(Vec::new());
            }
            filled += size;
            if let Some(run) = runs.last_mut() {
                run.push(path.as_path());
            }
        }
        runs
    }
}

fn relative(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

/// Makes the layout with this many gzip layers.
pub fn make(directory: &Path, content: &Content, parts: u64) -> Result<Layout> {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).step("make the layout")?;
    let digest = String::new();
    let layers = Vec::new();
    let mut layout = Layout { directory: directory.to_owned(), digest, layers, uncompressed: 0 };
    let mut descriptors = Vec::new();
    let mut diff_ids = Vec::new();
    for run in content.split(parts) {
        let tar = directory.join("layer.tar");
        let list = directory.join("list");
        let names: Vec<&str> = run.iter().filter_map(|path| path.to_str()).collect();
        fs::write(&list, names.join("\n")).step("write the list of files")?;
        let archive = ["-C", "/", "--no-recursion", "--numeric-owner", "--format=pax", "--verbatim-files-from"];
        tools::run(Command::new("tar").args(archive).arg("-T").arg(&list).arg("-cf").arg(&tar))?;
        diff_ids.push(format!("sha256:{}", sha256(&tar)?));
        layout.uncompressed += size(&tar)?;
        tools::run(Command::new("gzip").args(["-n", "-6"]).arg(&tar))?;
        let blob = keep(&blobs, &directory.join("layer.tar.gz"))?;
        descriptors.push(descriptor("layer.v1.tar+gzip", &blob)?);
        layout.layers.push(blob);
        fs::remove_file(&list).step("remove the list of files")?;
    }
    let (digest, entry) = image(directory, &descriptors, &diff_ids, "bench")?;
    layout.digest = digest;
    index(directory, &[entry])?;
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).step("write oci-layout")?;
    Ok(layout)
}

/// Writes the documents of an image of these layers; gives its digest, and its entry for an index.
fn image(directory: &Path, layers: &[Value], diff_ids: &[String], tag: &str) -> Result<(String, Value)> {
    let blobs = directory.join("blobs/sha256");
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Entrypoint": ["/usr/bin/true"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = document(directory, &blobs, &config)?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", &config)?,
        "layers": layers,
    });
    let manifest = document(directory, &blobs, &manifest)?;
    let mut entry = descriptor("manifest.v1+json", &manifest)?;
    let digest = entry.get("digest").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(entry) = entry.as_object_mut() {
        entry.insert("annotations".into(), json!({ "org.opencontainers.image.ref.name": tag }));
    }
    Ok((digest, entry))
}

impl Layout {
    /// Adds the same image without its uppermost layer, under this tag. Gives its digest.
    pub fn add_one_of_fewer_layers(&self, tag: &str) -> Result<String> {
        let text = |path: PathBuf| fs::read_to_string(&path).step(format_args!("read {}", path.display()));
        let parse = |text: String| serde_json::from_str::<Value>(&text).step("read a document");
        let blob = |digest: &str| self.directory.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
        let at = |value: &Value, pointer: &str| value.pointer(pointer).cloned().unwrap_or_default();
        let first = at(&parse(text(self.directory.join("index.json"))?)?, "/manifests/0");
        let manifest = parse(text(blob(&self.digest))?)?;
        let config = at(&manifest, "/config/digest");
        let config = parse(text(blob(config.as_str().unwrap_or_default()))?)?;
        let layers = at(&manifest, "/layers").as_array().cloned().unwrap_or_default();
        let diff_ids = at(&config, "/rootfs/diff_ids").as_array().cloned().unwrap_or_default();
        let diff_ids: Vec<String> = diff_ids.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let (Some((_, layers)), Some((_, diff_ids))) = (layers.split_last(), diff_ids.split_last()) else {
            return Err(Failure::new("make an image", "it has no layers"));
        };
        let (digest, entry) = image(&self.directory, layers, diff_ids, tag)?;
        index(&self.directory, &[first, entry])?;
        Ok(digest)
    }
}

fn index(directory: &Path, entries: &[Value]) -> Result<()> {
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    });
    fs::write(directory.join("index.json"), index.to_string()).step("write index.json")
}

fn document(directory: &Path, blobs: &Path, value: &Value) -> Result<PathBuf> {
    let path = directory.join("document");
    fs::write(&path, value.to_string()).step("write a document of the image")?;
    keep(blobs, &path)
}

/// Moves a file to where its digest says.
fn keep(blobs: &Path, file: &Path) -> Result<PathBuf> {
    let blob = blobs.join(sha256(file)?);
    fs::rename(file, &blob).step("name a blob")?;
    Ok(blob)
}

fn descriptor(kind: &str, blob: &Path) -> Result<Value> {
    let hex = blob.file_name().unwrap_or_default().to_string_lossy();
    Ok(json!({
        "mediaType": format!("application/vnd.oci.image.{kind}"),
        "digest": format!("sha256:{hex}"),
        "size": size(blob)?,
    }))
}

fn size(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).step(format_args!("look at {}", path.display()))?.len())
}

fn sha256(path: &Path) -> Result<String> {
    let said = tools::run(Command::new("sha256sum").arg("--").arg(path))?;
    let digest = said.split_whitespace().next().filter(|digest| digest.len() == 64);
    digest.map(str::to_owned).ok_or_else(|| Failure::new("sha256sum", said.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_keep_the_order_and_lose_nothing() {
        let entries = (0..100).map(|index| (PathBuf::from(format!("{index:03}")), 10)).collect();
        let content = Content { entries };
        let runs = content.split(8);
        assert_eq!(runs.len(), 8);
        let joined: Vec<&Path> = runs.concat();
        assert!(joined.is_sorted() && joined.len() == 100);
    }
}
