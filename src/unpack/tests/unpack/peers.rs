//! What others make of the same archives: umoci for what a whole image means, three tar readers for what one archive says,
//! the archives that the authors of Go's reader collected.

use crate::craft::Tar;
use crate::layers::gzip;
use crate::room::{Store, is_root, sha256};
use casemate_wire::FailureKind;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

/// Type, mode, size, link, digest of everything below a directory. Set-id bits are ours to drop, so they are not compared.
fn tree(root: &Path, at: &Path, list: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let content = if kind.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else if kind.is_file() {
            sha256(&fs::read(&path).unwrap()).hex()
        } else {
            format!("dir {} fifo {}", kind.is_dir(), kind.is_fifo())
        };
        let mode = if kind.is_symlink() { 0 } else { meta.mode() & 0o1777 };
        list.insert(path.strip_prefix(root).unwrap().display().to_string(), format!("{mode:o} {content}"));
        if kind.is_dir() {
            tree(root, &path, list);
        }
    }
}

fn umoci(image: &Path, arguments: &[&str]) {
    let output = Command::new("umoci").args(arguments).current_dir(image).output().expect("umoci is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether this machine lacks one of these. CI, as root, must have all; elsewhere the test is skipped by name.
fn lacks(paths: &[&str]) -> bool {
    let missing: Vec<_> = paths.iter().filter(|path| !Path::new(path).exists()).collect();
    assert!(missing.is_empty() || !is_root(), "missing: {missing:?}; run tests/setup");
    if !missing.is_empty() {
        println!("skipped: {missing:?} are missing");
    }
    !missing.is_empty()
}

/// Three layers that use all that layers can do to each other.
fn image() -> [Vec<u8>; 3] {
    let base = Tar::new()
        .dir("usr/")
        .dir("usr/bin/")
        .symlink("bin", "usr/bin")
        .file("usr/bin/sh", "shell")
        .hardlink("usr/bin/ash", "usr/bin/sh")
        .dir("etc/")
        .file("etc/passwd", "root")
        .dir("var/")
        .dir("var/cache/")
        .file("var/cache/a", "1")
        .file("var/cache/b", "2")
        .dir("var/lib/")
        .dir("var/lib/x/")
        .file("var/lib/x/y", "3")
        .symlink("link", "etc/passwd")
        .file("file-to-dir", "x")
        .dir("dir-to-file/")
        .file("dir-to-file/x", "x");
    let middle = Tar::new()
        .dir("etc/")
        .file("etc/.wh.passwd", "")
        .file("etc/shadow", "s")
        .dir("var/cache/")
        .file("var/cache/.wh..wh..opq", "")
        .file("var/cache/c", "3")
        .hardlink("usr/bin/dash", "usr/bin/sh")
        .dir("file-to-dir/")
        .file("file-to-dir/x", "x")
        .file("dir-to-file", "y");
    let top = Tar::new()
        .dir("var/")
        .dir("var/lib/")
        .file("var/lib/.wh.x", "")
        .dir("etc/")
        .file("etc/passwd", "again")
        .file("link", "no link any more")
        .file("usr/bin/sh", "another shell");
    [base.end(), middle.end(), top.end()]
}

#[test]
fn merged_view_equals_the_result_of_umoci() {
    if lacks(&["/usr/bin/umoci", "/bin/busybox"]) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    umoci(place.path(), &["init", "--layout", "image"]);
    umoci(place.path(), &["new", "--image", "image:x"]);
    let mut store = Store::new();
    for (number, tar) in image().iter().enumerate() {
        let name = format!("{number}.tar");
        fs::write(place.path().join(&name), tar).unwrap();
        umoci(place.path(), &["raw", "add-layer", "--image", "image:x", &name]);
        store.apply_blob(&gzip(tar), sha256(tar)).unwrap();
    }
    umoci(place.path(), &["unpack", "--rootless", "--image", "image:x", "bundle"]);
    let view = place.path().join("view");
    fs::create_dir(&view).unwrap();
    tar::Archive::new(store.merged().as_slice()).unpack(&view).unwrap();
    let mut ours = BTreeMap::new();
    let mut theirs = BTreeMap::new();
    tree(&view, &view, &mut ours);
    let rootfs = place.path().join("bundle/rootfs");
    tree(&rootfs, &rootfs, &mut theirs);
    assert_eq!(ours, theirs);
}

/// What is taken for content: that is what readers disagree on when it matters. One line a file in the directory, in the
/// order of the arguments: the contents of all regular members in hexadecimal digits, or `refused`.
fn read_by(peer: &str, directory: &Path, count: usize) -> Vec<String> {
    let script = match peer {
        "python3" => PYTHON.to_owned(),
        _ => format!(
            "for i in $(seq 0 {}); do {peer} -xOf $i 2>/dev/null >out && od -An -v -tx1 out | tr -d ' \\n' && echo || echo refused; done",
            count - 1
        ),
    };
    let shell = if peer == "python3" { peer } else { "sh" };
    let mut command = Command::new(shell);
    command.arg("-c").arg(script).arg(count.to_string()).env("LC_ALL", "C.UTF-8").current_dir(directory);
    let output = command.output().unwrap_or_else(|error| panic!("{peer}: {error}"));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| if line.ends_with("refused") { "refused".into() } else { line.to_owned() }).collect()
}

const PYTHON: &str = "
import sys, tarfile
for i in range(int(sys.argv[1])):
    try:
        text = b''
        with tarfile.open(str(i), errorlevel=2) as archive:
            for member in archive:
                if member.isfile():
                    text += archive.extractfile(member).read()
        print(text.hex())
    except Exception:
        print('refused')
";

/// Our own reading, in the same form.
fn read_by_us(tar: &[u8]) -> Option<String> {
    use casemate_unpack::tar::{Kind, Reader};
    let mut reader = Reader::new(tar);
    let mut text = Vec::new();
    while let Some(entry) = reader.entry().ok()? {
        while let bytes @ [_, ..] = reader.content().ok()? {
            text.extend_from_slice(bytes);
            let count = bytes.len();
            reader.used(count);
        }
        assert!(!matches!(entry.kind, Kind::SparseFile(_)));
    }
    Some(text.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Archives that begin well-formed and are damaged at random, headers resealed: whatever we accept, all others read the same.
#[test]
fn threat_07_accepted_archives_are_read_the_same_by_all_readers() {
    if lacks(&["/usr/bin/bsdtar", "/usr/bin/python3"]) {
        return;
    }
    let seeds = [
        Tar::new().file("a", "one").dir("d/").file("d/b", "two").symlink("l", "a").hardlink("h", "a").end(),
        Tar::new().pax(&[("path", b"long"), ("size", b"5"), ("mtime", b"1.5")]).file("x", "three").file("y", "4").end(),
        Tar::new().pax(&[("linkpath", b"a"), ("comment", b"c")]).symlink("l", "b").file("z", "five").end(),
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % bound
    };
    let directory = tempfile::tempdir().unwrap();
    let mut accepted = Vec::new();
    for round in 0..2000 {
        let mut tar = seeds[round % seeds.len()].clone();
        for _ in 0..=next(2) {
            let block = next(tar.len() / 512 - 2) * 512;
            // Fields that decide the reading, and now and then anything.
            let field = [0, 100, 124, 135, 148, 156, 157, 257, 263, 345, next(512)][next(11)];
            let bytes = [0, b' ', b'/', b'0', b'1', b'5', b'7', b'x', b'L', b'K', b'g', b'S', 0x80, 0xff, b'\n', b'='];
            tar[block + field + next(if field < 500 { 3 } else { 1 })] = bytes[next(bytes.len())];
            let head: &mut [u8; 512] = (&mut tar[block..block + 512]).try_into().unwrap();
            if head[257..262] == *b"ustar" {
                crate::craft::seal(head);
            }
        }
        if let Some(ours) = read_by_us(&tar) {
            fs::write(directory.path().join(accepted.len().to_string()), &tar).unwrap();
            accepted.push((ours, tar));
        }
    }
    assert!(accepted.len() > 100, "{}", accepted.len());
    let mut differ = Vec::new();
    for peer in ["tar", "bsdtar", "python3"] {
        let theirs = read_by(peer, directory.path(), accepted.len());
        assert_eq!(theirs.len(), accepted.len(), "{peer}");
        for (number, (theirs, (ours, tar))) in theirs.iter().zip(&accepted).enumerate() {
            if theirs != ours {
                let keep = format!("{}/differ-{peer}-{number}.tar", env!("CARGO_TARGET_TMPDIR"));
                fs::write(&keep, tar).unwrap();
                differ.push(format!("{keep} {ours} {theirs}"));
            }
        }
    }
    assert!(differ.is_empty(), "{} of {}:\n{}", differ.len(), accepted.len(), differ.join("\n"));
}

/// Go's own expectation of its archives: these it refuses, and so must we.
const GO_REFUSES: &[&str] = &[
    "issue10968.tar", "issue11169.tar", "issue12435.tar", "neg-size.tar", "pax-bad-hdr-file.tar",
    "pax-bad-mtime-file.tar", "pax-nul-path.tar", "pax-nul-xattrs.tar",
];

/// And these it reads but we do not, for the reason that the failure must name.
const WE_REFUSE: &[(&str, &str)] = &[
    ("gnu-long-nul.tar", "malformed long name"),
    ("gnu-multi-hdrs.tar", "malformed long name"),
    ("gnu-incremental.tar", "unknown entry type"),
    ("hdr-only.tar", "content behind an entry that has none"),
    // Go 1.7 wrote its prefix where GNU tar has times; a camera its name into the numbers of devices.
    ("invalid-go17.tar", "unused field of the header"),
    ("nil-uid.tar", "unused field of the header"),
    ("pax-global-records.tar", "global extended header with more than a comment"),
    ("pax-multi-hdrs.tar", "two extended headers"),
    ("pax-path-hdr.tar", "extended header without an entry"),
    ("pax-pos-size-file.tar", "not a decimal number"),
    ("star.tar", "star's own header"),
    // Headers alone, of sizes in gigabytes.
    ("writer-big.tar", "archive ends within an entry"),
    ("writer-big-long.tar", "archive ends within an entry"),
];

#[test]
fn threat_07_archives_of_go_are_read() {
    let mut wrong = Vec::new();
    let archives = "/usr/share/go/src/archive/tar/testdata";
    if lacks(&[archives]) {
        return;
    }
    let directory = fs::read_dir(archives).unwrap();
    for path in directory.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "tar"))
    {
        let name = path.file_name().unwrap().to_str().unwrap();
        let mut store = Store::with(casemate_wire::IdSpace::Single);
        store.limits.bytes = 1 << 40;
        let outcome = store.apply(&fs::read(&path).unwrap());
        let reason = WE_REFUSE.iter().find(|(refused, _)| *refused == name).map(|(_, reason)| *reason);
        match outcome {
            Ok(_) if GO_REFUSES.contains(&name) || reason.is_some() => {
                wrong.push(format!("{name}: accepted"));
            }
            Ok(_) => {}
            Err(failure) => {
                assert_eq!(failure.kind, FailureKind::Verification, "{name}: {failure:?}");
                let known = GO_REFUSES.contains(&name) || reason.is_some_and(|reason| failure.object.contains(reason));
                if !known {
                    wrong.push(format!("{name}: {failure:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
