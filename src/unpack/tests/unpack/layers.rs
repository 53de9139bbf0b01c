//! Layers that must work, and what they must mean.

use crate::craft::{Head, Tar};
use crate::room::{Store, is_root, sha256};
use casemate_wire::IdSpace;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::{Command, Stdio};

/// Name to `kind mode content` of the merged view.
pub fn listing(store: &Store) -> BTreeMap<String, String> {
    let tar = store.merged();
    let mut archive = tar::Archive::new(tar.as_slice());
    let mut list = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8_lossy(&entry.path_bytes()).trim_matches(['.', '/']).to_owned();
        let link = entry.link_name().unwrap().map(|l| l.display().to_string());
        let mut text = String::new();
        std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
        let kind = char::from(entry.header().entry_type().as_byte());
        list.insert(name, format!("{kind} {}{text}", link.unwrap_or_default()));
    }
    list.remove("");
    list
}

fn names(store: &Store) -> Vec<String> {
    listing(store).into_keys().collect()
}

#[test]
fn files_links_pipes_times_and_modes() {
    let tar = Tar::new()
        .dir("etc/")
        .raw(&Head { mode: 0o640, size: 5, ..Head::new("./etc/a", b'0') }, b"hello")
        .symlink("etc/link", "../etc/a")
        .hardlink("etc/hard", "/etc/a")
        .raw(&Head { mode: 0o600, ..Head::new("pipe", b'6') }, b"")
        .raw(&Head { mode: 0o1777, ..Head::new("tmp", b'5') }, b"")
        .file("etc/made/by/the/way", "x")
        .end();
    let mut store = Store::new();
    let report = store.apply(&tar).unwrap();
    assert_eq!((report.entries, report.bytes), (7 + 3, tar.len() as u64));
    assert_eq!(report.left_out, [""; 0]);
    let at = |path: &str| fs::symlink_metadata(store.first().join(path)).unwrap();
    assert_eq!(fs::read(store.first().join("etc/hard")).unwrap(), b"hello");
    assert_eq!((at("etc/a").mode(), at("etc/a").ino()), (0o100_640, at("etc/hard").ino()));
    assert_eq!((at("tmp").mode(), at("etc/made/by").mode()), (0o41_777, 0o40_755));
    assert_eq!(fs::read_link(store.first().join("etc/link")).unwrap().to_str(), Some("../etc/a"));
    assert!(at("pipe").file_type().is_fifo());
    for path in ["etc", "etc/a", "etc/link", "pipe", "tmp"] {
        assert_eq!((at(path).mtime(), at(path).mtime_nsec()), (1000, 0), "{path}");
    }
}

#[test]
fn owners_are_those_of_the_range_and_never_others() {
    let owned = |uid, gid| Tar::new().raw(&Head { uid, gid, ..Head::new("a", b'0') }, b"").end();
    let mut store = Store::with(IdSpace::Single);
    store.apply(&owned(999, 70_000)).unwrap();
    let single = fs::metadata(store.first().join("a")).unwrap();
    let root = fs::metadata(store.first()).unwrap();
    assert_eq!((single.uid(), single.gid()), (root.uid(), root.gid()));
    if !is_root() {
        return;
    }
    let mut store = Store::new();
    let refused = store.apply(&owned(1, 65_536)).unwrap_err();
    assert!(refused.object.starts_with("a: owner 1:65536"), "{refused:?}");
    store.apply(&owned(1, 65_535)).unwrap();
    let file = fs::metadata(store.first().join("a")).unwrap();
    assert_eq!((file.uid() - root.uid(), file.gid() - root.gid()), (1, 65_535));
}

#[test]
fn whiteouts_take_what_the_parents_have_in_any_order() {
    let base =
        Tar::new().file("d/old", "1").file("d/sub/deep", "1").file("d/both", "1").file("gone", "1").file("keep", "1");
    let writes = |tar: Tar| tar.file("d/new", "2").file("d/both", "2").file("d/sub/fresh", "2").file("keep", "2");
    let whiteouts = |tar: Tar| {
        tar.file("d/.wh..wh..opq", "").file(".wh.gone", "").file(".wh.keep", "").hardlink(".wh.never", ".wh..wh.plnk/1")
    };
    let mut seen = Vec::new();
    for tar in [whiteouts(writes(Tar::new())), writes(whiteouts(Tar::new()))] {
        let mut store = Store::new();
        store.apply(&base.clone().end()).unwrap();
        store.apply(&tar.end()).unwrap();
        assert_eq!(names(&store), ["d", "d/both", "d/new", "d/sub", "d/sub/fresh", "keep"]);
        assert_eq!(listing(&store)["keep"], "0 2");
        seen.push(store.merged().len());
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn entry_is_applied_on_top_of_its_parents() {
    let mut store = Store::new();
    let base = Tar::new().dir("usr/bin").symlink("bin", "usr/bin").file("usr/bin/sh", "sh").symlink("run", "/var/run");
    store.apply(&base.end()).unwrap();
    let next =
        Tar::new().file("bin/new", "n").hardlink("bin/sh2", "bin/sh").file("run/pid", "1").file("bin/.wh.sh", "");
    store.apply(&next.end()).unwrap();
    let list = listing(&store);
    let keys: Vec<_> = list.keys().map(String::as_str).collect();
    assert_eq!(keys, ["bin", "run", "usr", "usr/bin", "usr/bin/new", "usr/bin/sh2", "var", "var/run", "var/run/pid"]);
    assert_eq!(list["usr/bin/sh2"], "0 sh");
    // An opaque mark through the link spares what came through the link.
    store.apply(&Tar::new().file("bin/third", "3").file("usr/bin/.wh..wh..opq", "").end()).unwrap();
    assert_eq!(names(&store), ["bin", "run", "usr", "usr/bin", "usr/bin/third", "var", "var/run", "var/run/pid"]);
}

#[test]
fn types_change_between_and_within_layers() {
    let mut store = Store::new();
    store.apply(&Tar::new().file("a/b/c", "1").file("f", "1").symlink("l", "a").dir("e").end()).unwrap();
    let next = Tar::new().file("a", "2").dir("f").file("f/x", "2").dir("l").file("l/y", "2").symlink("e", "l");
    store.apply(&next.file("twice", "1").dir("twice").file("twice/z", "2").file("twice", "3").end()).unwrap();
    let list = listing(&store);
    let keys: Vec<_> = list.iter().map(|(k, v)| format!("{k}:{v}")).collect();
    assert_eq!(keys, ["a:0 2", "e:2 l", "f:5 ", "f/x:0 2", "l:5 ", "l/y:0 2", "twice:0 3"]);
}

#[test]
fn every_encoding_and_several_members_of_it() {
    let tar = Tar::new().file("a", &"x".repeat(3000)).file("b", "y").end();
    let (head, tail) = tar.split_at(700);
    let twice = |encode: &dyn Fn(&[u8]) -> Vec<u8>| [encode(head), encode(tail)].concat();
    let skippable =
        [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc", &zstd::encode_all(&tar[..], 3).unwrap()].concat();
    for blob in [tar.clone(), gzip(&tar), twice(&gzip), twice(&|b| zstd::encode_all(b, 19).unwrap()), skippable] {
        let mut store = Store::new();
        store.apply_blob(&blob, sha256(&tar)).unwrap();
        assert_eq!(fs::read(store.first().join("b")).unwrap(), b"y");
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// GNU tar makes the archive, so the formats are its own and not our reading of the manual.
#[test]
fn long_names_and_holes_as_gnu_tar_writes_them() {
    let source = tempfile::tempdir().unwrap();
    let deep = (0..8).map(|i| format!("{i}{}", "d".repeat(50))).collect::<Vec<_>>().join("/");
    fs::create_dir_all(source.path().join(&deep)).unwrap();
    fs::write(source.path().join(&deep).join("n".repeat(200)), "deep").unwrap();
    std::os::unix::fs::symlink("t".repeat(300), source.path().join("link")).unwrap();
    let holes = fs::File::create(source.path().join("holes")).unwrap();
    for i in 0..60_u64 {
        std::os::unix::fs::FileExt::write_all_at(&holes, &[b'x'; 4096], i * 100_000).unwrap();
    }
    holes.set_len(10_000_000).unwrap();
    for format in ["gnu", "posix --sparse-version=0.0", "posix --sparse-version=0.1", "posix --sparse-version=1.0"] {
        let flags = format!("--format={format} --owner=0 --group=0 -S -cf - .");
        let out =
            Command::new("tar").args(flags.split(' ')).current_dir(source.path()).stderr(Stdio::inherit()).output();
        let mut store = Store::new();
        store.apply(&out.unwrap().stdout).unwrap_or_else(|failure| panic!("{format}: {failure:?}"));
        let root = store.first();
        assert_eq!(fs::read(root.join(&deep).join("n".repeat(200))).unwrap(), b"deep", "{format}");
        assert_eq!(fs::read_link(root.join("link")).unwrap().as_os_str().len(), 300, "{format}");
        let same = fs::read(root.join("holes")).unwrap() == fs::read(source.path().join("holes")).unwrap();
        assert!(same, "{format}");
        assert!(fs::metadata(root.join("holes")).unwrap().blocks() * 512 < 1_000_000, "{format}: holes are kept");
    }
}

#[test]
fn many_layers() {
    let mut store = Store::new();
    for i in 0..20 {
        let tar = Tar::new()
            .file(&format!("f{i}"), "x")
            .file(&format!(".wh.f{}", i + 99), "")
            .file(&format!(".wh.f{}", (i + 19) % 20), "");
        store.apply(&tar.end()).unwrap();
    }
    assert_eq!(names(&store), ["f19"]);
}
