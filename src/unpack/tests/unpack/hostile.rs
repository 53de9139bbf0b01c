//! Layers that must not work, or must leave something out. Named by the rows of the threat model.

use crate::craft::{GNU, Head, POSIX, Tar, record, seal};
use crate::layers::{gzip, listing};
use crate::room::{Store, sha256};
use casemate_wire::{Failure, FailureKind, LayerLimits, UnpackRequest};
use std::fs;
use std::os::unix::fs::MetadataExt;

fn refused(tar: impl AsRef<[u8]>) -> Failure {
    let failure = Store::new().apply(tar.as_ref()).expect_err("must be refused");
    assert_eq!(failure.kind, FailureKind::Verification, "{failure:?}");
    failure
}

#[test]
fn threat_06_entries_cannot_leave_the_layer() {
    for path in ["../evil", "a/../../evil", "/../evil", "a/..", ".."] {
        assert!(refused(Tar::new().file(path, "x").end()).object.contains("`..`"), "{path}");
        refused(Tar::new().file("a", "x").hardlink("b", path).end());
    }
    let canary = Store::new();
    let outside = canary.directory.path().join("canary");
    let up = "../".repeat(30);
    for target in
        [outside.display().to_string(), format!("{up}{}", outside.display()), "/proc/self/root".into(), "/".into()]
    {
        let mut store = Store::new();
        // Through a link of this layer, and through one of its parents; the store checks its own canary each time.
        let evil = Tar::new().symlink("out", &target).file("out/secret", "changed").file("out/new", "x");
        let _ = store.apply(&evil.end());
        let _ = store.apply(&Tar::new().file("out/secret", "changed").file("out/.wh..wh..opq", "").end());
        let _ = store.apply(&Tar::new().file("out", "x").hardlink("mine", "out/secret").file("mine", "changed").end());
        let _ = store.apply(&Tar::new().symlink("out", &target).dir("out").file(".wh.out", "").end());
        canary.check_canary();
    }
}

#[test]
fn threat_06_metadata_does_not_follow_links() {
    // CVE-2026-33056: a directory entry over a link to a directory must not change the link's target.
    let mut store = Store::new();
    let tar = Tar::new()
        .raw(&Head { mode: 0o700, ..Head::new("private", b'5') }, b"")
        .symlink("link", "private")
        .raw(&Head { mode: 0o777, ..Head::new("link", b'5') }, b"")
        .raw(&Head { mode: 0o600, size: 1, ..Head::new("file", b'0') }, b"1")
        .symlink("to-file", "file")
        .raw(&Head { mode: 0o666, size: 1, ..Head::new("to-file", b'0') }, b"2");
    store.apply(&tar.end()).unwrap();
    let mode = |path: &str| fs::symlink_metadata(store.first().join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("private"), mode("link"), mode("file"), mode("to-file")), (0o700, 0o777, 0o600, 0o666));
    assert_eq!(fs::read(store.first().join("file")).unwrap(), b"1");
}

#[test]
fn threat_06_links_that_make_no_sense() {
    for tar in [
        Tar::new().hardlink("a", "missing"),
        Tar::new().hardlink("a", "a"),
        Tar::new().dir("d").hardlink("a", "d"),
        Tar::new().hardlink("a", "/"),
        Tar::new().file("d/t", "x").hardlink("d", "d/t"),
        Tar::new().symlink("a", "b").symlink("b", "a").file("a/x", "1"),
        Tar::new().symlink("a", "a/a").file("a/x", "1"),
        Tar::new().file("a", "1").file("a/b", "2"),
        Tar::new().raw(&Head::new("s", b'2'), b""),
        Tar::new().symlink("/", "x"),
        Tar::new().file("", "x"),
    ] {
        refused(tar.end());
    }
}

/// One good entry follows whatever is tested, so a reader that goes on would be seen.
fn with(head: &Head, content: &[u8]) -> Vec<u8> {
    Tar::new().raw(head, content).file("after", "x").end()
}

#[test]
fn threat_07_ambiguous_archives_are_refused() {
    let good = Head::new("a", b'0');
    let block = [b'z'; 512];
    // Types that have no content must not carry any: half the readers skip it, half read it as headers.
    for kind in [b'1', b'2', b'3', b'4', b'5', b'6'] {
        refused(with(&Head { size: 512, link: b"x".to_vec(), kind, ..good.clone() }, &block));
    }
    for kind in *b"89ADEIMNVXZa\xff" {
        assert!(refused(with(&Head { kind, ..good.clone() }, b"")).object.contains("unknown entry type"), "{kind}");
    }
    refused(with(&Head { name: b"a\0b".to_vec(), ..good.clone() }, b""));
    refused(with(&Head { name: b"a/".to_vec(), ..good.clone() }, b""));
    refused(with(&Head { magic: b"ustar\x0001", ..good.clone() }, b""));
    refused(with(&Head { magic: b"ustar \0\0", ..good.clone() }, b""));
    for (at, bytes) in
        [(124, &b"-0000000001\0"[..]), (124, b"0x000000000\0"), (124, &[0xff; 12]), (124, &[b' '; 12]), (100, b"abc\0")]
    {
        let mut block = good.block();
        block[at..at + bytes.len()].copy_from_slice(bytes);
        seal(&mut block);
        refused([&block[..], &[0; 1024]].concat());
    }
    let mut unsealed = good.block();
    unsealed[0] = b'b';
    refused([&unsealed[..], &[0; 1024]].concat());
}

#[test]
fn threat_07_extended_headers_are_all_or_nothing() {
    let pax = |records: &[u8]| Tar::new().pax_raw(records).file("a", "x").end();
    for records in [
        b"garbage".to_vec(),
        b"9 path=a\n\0".to_vec(),
        record("path", b""),
        record("path", b"a\0b"),
        record("path", b"../a"),
        record("size", b"-1"),
        record("size", b"1e3"),
        record("size", b"9223372036854775808"),
        record("GNU.sparse.map", b"0,1"),
        record("GNU.sparse.unknown", b"1"),
        [record("GNU.sparse.map", b"0,9"), record("GNU.sparse.size", b"9"), record("GNU.sparse.numblocks", b"1")]
            .concat(),
        [record("path", b"a"), record("path", b"b")].concat(),
        record("hdrcharset", b"EBCDIC"),
    ] {
        refused(pax(&records));
    }
    // TARmageddon: the size of the extended header counts, so what hides in the content stays content.
    let inner = Tar::new().file("hidden", "x").0;
    let size = inner.len().to_string();
    let mut store = Store::new();
    let tar = Tar::new().pax(&[("size", size.as_bytes())]).raw(&Head::new("outer", b'0'), &inner).end();
    store.apply(&tar).unwrap();
    assert_eq!(listing(&store).into_keys().collect::<Vec<_>>(), ["outer"]);

    let long = |kind, name: &[u8], magic| {
        Tar::new().raw(&Head { size: name.len() as u64, magic, ..Head::new("l", kind) }, name)
    };
    refused(long(b'L', b"a", GNU).file("a", "x").end());
    refused(long(b'L', b"a\0b\0", GNU).file("a", "x").end());
    refused(long(b'L', b"a\0", POSIX).file("a", "x").end());
    refused(
        long(b'L', b"a\0", GNU).raw(&Head { size: 2, magic: GNU, ..Head::new("l", b'L') }, b"b\0").file("a", "x").end(),
    );
    refused(long(b'L', b"a\0", GNU).pax(&[("path", b"b")]).file("a", "x").end());
    refused(long(b'L', b"a\0", GNU).end());
    refused(Tar::new().pax(&[("path", b"b")]).end());
    refused(Tar::new().raw(&Head { size: 1 << 40, ..Head::new("x", b'x') }, b"").end());
    let global = record("path", b"b");
    refused(Tar::new().raw(&Head { size: global.len() as u64, ..Head::new("g", b'g') }, &global).file("a", "x").end());
}

#[test]
fn threat_07_data_after_the_end_is_refused() {
    let one = Tar::new().file("a", "x");
    let zeros = [0; 512];
    refused([&one.0[..], &zeros, &Tar::new().file("b", "y").end()].concat());
    refused([&one.clone().end()[..], &Tar::new().file("b", "y").end()].concat());
    refused([&one.clone().end()[..], b"x"].concat());
    refused(&one.0[..512 + 100]);
    refused(&one.0[..700]);
    refused(Tar::new().raw(&Head { size: 2000, ..Head::new("a", b'0') }, b"short").end());
    Store::new().apply(&one.0).unwrap();
    Store::new().apply(&[one.end(), vec![0; 10_240]].concat()).unwrap();
    Store::new().apply(&[]).unwrap();
}

#[test]
fn threat_08_whiteouts_and_overlay_marks_never_reach_the_disk() {
    for name in [".wh.", ".wh..", ".wh...", "d/.wh.", ".wh.a/b", ".wh..wh..opq/b"] {
        refused(Tar::new().dir("d").file(name, "").end());
    }
    refused(Tar::new().file(".wh.a", "content").end());
    refused(Tar::new().dir(".wh.a").end());
    refused(Tar::new().file("x", "").hardlink("y", ".wh.x").end());
    let mut store = Store::new();
    store.apply(&Tar::new().file("lower/secret", "1").end()).unwrap();
    let marks: &[(&str, &[u8])] = &[
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.overlay.redirect", b"/"),
        ("SCHILY.xattr.user.overlay.whiteout", b""),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.security.selinux", b"x"),
        ("SCHILY.xattr.user.mine", b"kept"),
    ];
    let tar = Tar::new().pax(marks).dir("lower").pax(marks).file("f", "x").device("lower/secret", b'3');
    let report = store.apply(&tar.file(".wh..wh.aufs", "").file(".wh..wh.plnk/1", "x").end()).unwrap();
    assert_eq!((report.xattrs, report.devices), (10, 1));
    assert_eq!(listing(&store).into_keys().collect::<Vec<_>>(), ["f", "lower", "lower/secret"]);
    let upper = store.layer(1);
    for path in ["f", "lower"] {
        let mut space = [0; 64];
        let get = |name: &str, space: &mut [u8]| rustix::fs::lgetxattr(upper.join(path), name, space);
        assert_eq!(get("user.mine", &mut space), Ok(4));
        for mark in ["opaque", "redirect", "whiteout"] {
            assert!(get(&format!("user.overlay.{mark}"), &mut space).is_err(), "{mark}");
        }
    }
    assert!(!upper.join("lower/secret").exists());
}

#[test]
fn threat_09_devices_set_id_and_file_capabilities_are_left_out() {
    let cap = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let tar = Tar::new()
        .device("dev/sda", b'4')
        .device("dev/mem\x1b[2J", b'3')
        .raw(&Head { mode: 0o6755, size: 1, ..Head::new("su", b'0') }, b"x")
        .raw(&Head { mode: 0o2775, ..Head::new("mail", b'5') }, b"")
        .pax(&[("SCHILY.xattr.security.capability", cap)])
        .raw(&Head { mode: 0o755, size: 1, ..Head::new("ping", b'0') }, b"x")
        .hardlink("su2", "su");
    let mut store = Store::new();
    let report = store.apply(&tar.end()).unwrap();
    assert_eq!((report.devices, report.set_id, report.xattrs), (2, 2, 1));
    assert_eq!(
        report.left_out,
        [
            "dev/sda: block device",
            "dev/mem\\u{1b}[2J: character device",
            "su: set-id bits",
            "mail: set-id bits",
            "ping: extended attribute security.capability",
        ]
    );
    let at = |path: &str| fs::symlink_metadata(store.first().join(path));
    assert_eq!((at("su").unwrap().mode(), at("mail").unwrap().mode()), (0o100_755, 0o40_775));
    assert!(at("dev/sda").is_err());
    assert!(rustix::fs::lgetxattr(store.first().join("ping"), "security.capability", &mut [0; 64]).is_err());
}

fn limited(limits: LayerLimits, blob: &[u8], tar: &[u8]) -> String {
    let mut store = Store::new();
    store.limits = limits;
    let failure = store.apply_blob(blob, sha256(tar)).expect_err("must be refused");
    let kind = if failure.step == "limit bytes" { FailureKind::BytesLimit } else { FailureKind::Verification };
    assert_eq!(failure.kind, kind, "{failure:?}");
    failure.step
}

#[test]
fn threat_15_bombs_end_at_the_limits() {
    let limits = LayerLimits { bytes: 64 << 20, entries: 100, path: 100, depth: 8, ratio: 50 };
    // More bytes than allowed, of one file, of a sparse one, of padding behind the end.
    let zeros = vec![0; 65 << 20];
    let big = Tar::new().raw(&Head { size: zeros.len() as u64, ..Head::new("a", b'0') }, &zeros).end();
    let lax = LayerLimits { ratio: 1_000_000, ..limits };
    assert_eq!(limited(lax, &gzip(&big), &big), "limit bytes");
    assert_eq!(limited(lax, &zstd::encode_all(&big[..], 19).unwrap(), &big), "limit bytes");
    assert_eq!(limited(lax, &gzip(&zeros), &zeros), "limit bytes");
    let map: &[(&str, &[u8])] =
        &[("GNU.sparse.map", b""), ("GNU.sparse.numblocks", b"0"), ("GNU.sparse.size", b"1099511627776")];
    let sparse = Tar::new().pax(map).file("a", "").end();
    assert_eq!(limited(limits, &sparse, &sparse), "limit bytes");
    // The ratio, long before that.
    let some = vec![0; 40 << 20];
    let tar = Tar::new().raw(&Head { size: some.len() as u64, ..Head::new("a", b'0') }, &some).end();
    assert_eq!(limited(limits, &gzip(&tar), &tar), "limit ratio");
    // Inodes: entries, and directories that come with a path.
    let files = (0..101).fold(Tar::new(), |tar, i| tar.file(&format!("f{i}"), "")).end();
    assert_eq!(limited(limits, &files, &files), "limit entries");
    let dirs = (0..20).fold(Tar::new(), |tar, i| tar.file(&format!("{i}/b/c/d/e/f/g"), "")).end();
    assert_eq!(limited(limits, &dirs, &dirs), "limit entries");
    for path in ["a/".repeat(8) + "b", "x".repeat(99) + "/y"] {
        let tar = Tar::new().pax(&[("path", path.as_bytes())]).file("a", "").end();
        assert_eq!(limited(limits, &tar, &tar), "check entry");
    }
    // Headers that claim what does not follow, and a window of 2 TiB: nothing is allocated for a claim.
    let claim = Tar::new().raw(&Head { size: (1 << 33) - 1, ..Head::new("a", b'0') }, b"").end();
    assert_eq!(limited(limits, &claim, &claim), "read archive");
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0, 0, b'a'];
    assert_eq!(limited(limits, &window, b"a"), "decompress");
}

#[test]
fn threat_15_memory_does_not_grow_with_the_layer() {
    let limits = LayerLimits { bytes: 64 << 20, entries: 1_000_000, path: 4096, depth: 64, ratio: 1_000_000 };
    // What has to be remembered of directories: their paths.
    let deep = format!("{}/", "x".repeat(240)).repeat(16);
    let paths = (0..6000).fold(Tar::new(), |tar, n| {
        let path = format!("{deep}{n}");
        tar.pax(&[("path", path.as_bytes())]).raw(&Head::new("a", b'5'), b"")
    });
    let paths = paths.end();
    assert_eq!(limited(limits, &paths, &paths), "limit memory");
    // A window that is larger than what every decoder takes, and one that is not.
    let some = vec![b'a'; 17 << 20];
    let tar = Tar::new().raw(&Head { size: some.len() as u64, ..Head::new("a", b'0') }, &some).end();
    let compressed = |window| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(window).unwrap();
        std::io::Write::write_all(&mut encoder, &tar).unwrap();
        encoder.finish().unwrap()
    };
    let mut store = Store::new();
    store.limits = limits;
    let failure = store.apply_blob(&compressed(24), sha256(&tar)).unwrap_err();
    assert_eq!(
        (failure.step.as_str(), failure.object.as_str()),
        ("decompress", "its zstd window is larger than 8 MiB")
    );
    store.apply_blob(&compressed(23), sha256(&tar)).unwrap();
}

#[test]
fn threat_15_blob_is_verified_to_its_last_byte() {
    let tar = Tar::new().file("a", &"some text ".repeat(200)).end();
    let blob = gzip(&tar);
    let mut store = Store::new();
    let request = UnpackRequest {
        blob: sha256(&blob),
        size: blob.len() as u64,
        diff_id: sha256(&tar),
        limits: store.limits,
        ids: store.ids,
        sync: true,
    };
    for at in 0..blob.len() {
        let mut damaged = blob.clone();
        damaged[at] ^= 0x10;
        let failure = store.apply_request(&damaged, &request).unwrap_err();
        assert_eq!((failure.step.as_str(), failure.kind), ("check blob", FailureKind::BlobDiffers), "byte {at}");
    }
    for other in [&blob[..blob.len() - 1], &[&blob[..], b"\0"].concat(), &[&blob[..], &blob[..]].concat(), b""] {
        assert_eq!(store.apply_request(other, &request).unwrap_err().step, "check blob");
    }
    let other = UnpackRequest { diff_id: sha256(b"other"), ..request };
    assert_eq!(store.apply_request(&blob, &other).unwrap_err().step, "check layer");
    // Pinned, and still not one stream: garbage behind the last member, a member that is cut.
    for bad in [[&blob[..], b"garbage"].concat(), [&blob[..], &[0; 512]].concat(), blob[..blob.len() - 4].to_vec()] {
        assert_eq!(store.apply_blob(&bad, sha256(&tar)).unwrap_err().step, "decompress");
    }
    let zstd = zstd::encode_all(&tar[..], 3).unwrap();
    for bad in [[&zstd[..], b"garbage"].concat(), zstd[..zstd.len() - 4].to_vec()] {
        assert_eq!(store.apply_blob(&bad, sha256(&tar)).unwrap_err().step, "decompress");
    }
    store.apply_request(&blob, &request).unwrap();
}
