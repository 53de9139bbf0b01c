//! The other mode: members of an image archive.

use crate::craft::{Head, Tar};
use crate::room::sha256;
use casemate_index_wire::{IndexOutcome, Member, decode};
use std::fs::{self, File};
use std::process::{Command, Stdio};

fn index(archive: &[u8]) -> IndexOutcome {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("archive");
    fs::write(&path, archive).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_casemate-unpack"));
    command.arg("index").stdin(File::open(&path).unwrap()).stdout(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    let outcome = decode(&output.stdout).unwrap_or_else(|_| panic!("no outcome: {}", output.status));
    assert_eq!(output.status.code(), Some(i32::from(outcome.is_err())));
    outcome
}

#[test]
fn members_lie_where_the_index_says() {
    let long = format!("{}/layer.tar", "l".repeat(80));
    let archive = Tar::new()
        .dir("blobs/")
        .file("./blobs/one", "first")
        .pax(&[("path", long.as_bytes())])
        .file("short", &"x".repeat(100_000))
        .symlink("b/layer.tar", &format!("../{long}"))
        .hardlink("c", "b/layer.tar")
        .symlink("dangling", "../nowhere")
        .symlink("circle", "circle")
        .file("manifest.json", "{}")
        .file("manifest.json", "[]")
        .end();
    let members = index(&archive).unwrap();
    let content = |member: &Member| {
        let start = usize::try_from(member.offset).unwrap();
        archive[start..start + usize::try_from(member.size).unwrap()].to_vec()
    };
    let found: Vec<_> = members.iter().map(|m| (m.path.as_str(), content(m))).collect();
    let big = vec![b'x'; 100_000];
    let expected = [
        ("b/layer.tar", big.clone()),
        ("blobs/one", b"first".to_vec()),
        ("c", big.clone()),
        (long.as_str(), big),
        ("manifest.json", b"[]".to_vec()),
    ];
    assert_eq!(found.iter().map(|f| (f.0, sha256(&f.1))).collect::<Vec<_>>(), expected.map(|e| (e.0, sha256(&e.1))));
    assert_eq!(index(&[0; 1024]).unwrap(), []);
}

#[test]
fn threat_15_archive_of_names_is_bounded() {
    let many = (0..100_001).fold(Tar::new(), |tar, i| tar.file(&format!("{i}"), ""));
    assert!(index(&many.end()).unwrap_err().object.contains("100000 members"));
    let long = "x/".repeat(60) + &"y".repeat(250);
    let wide = |tar: Tar, i: u32| tar.pax(&[("path", format!("{long}{i}").as_bytes())]).file("a", "");
    assert!(index(&(0..50_000).fold(Tar::new(), wide).end()).is_err());
    for bad in [
        Tar::new().file("../a", "x").end(),
        Tar::new().raw(&Head { name: b"\xff".to_vec(), ..Head::new("", b'0') }, b"").end(),
        Tar::new().raw(&Head { size: 1 << 32, ..Head::new("a", b'0') }, b"x").end(),
        Tar::new().file("a", "x").0[..700].to_vec(),
        b"{\"not\": \"a tar\"}".to_vec(),
    ] {
        assert!(index(&bad).is_err());
    }
}

#[test]
fn a_compressed_archive_is_called_one() {
    let archive = Tar::new().file("a", "x").end();
    for compressed in [crate::layers::gzip(&archive), zstd::encode_all(&archive[..], 3).unwrap()] {
        let refused = index(&compressed).unwrap_err().object;
        assert!(refused.contains("compressed"), "{refused}");
    }
}
