//! Where the run keeps its things, and the programs under test.
//!
//! The programs are copied out of the target directory, which may lie where an ordinary user cannot go. Everything is below
//! one directory that `tests/run` makes, checks and removes; a bare `cargo test` uses one in /tmp and leaves the copies there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// What is under test, and the payload.
pub const PROGRAMS: [&str; 6] =
    ["casemate", "casemate-fetch", "casemate-helper", "casemate-unpack", "casemate-init", "casemate-probe"];

static BASE: LazyLock<PathBuf> = LazyLock::new(|| match std::env::var_os("CASEMATE_TEST_DIR") {
    Some(directory) => PathBuf::from(directory),
    None => {
        let uid = rustix::process::getuid().as_raw();
        let directory = std::env::temp_dir().join(format!("casemate-tests-{uid}"));
        make_directory(&directory);
        let owner = fs::symlink_metadata(&directory).unwrap();
        assert!(owner.is_dir() && owner.uid() == uid, "{} is not ours", directory.display());
        directory
    }
});

static BINARIES: LazyLock<PathBuf> = LazyLock::new(copy_programs);

/// The directory of the whole run, which everybody may enter.
pub fn base() -> &'static Path {
    &BASE
}

/// The directory with the programs under test, which everybody may enter.
pub fn binaries() -> &'static Path {
    &BINARIES
}

/// One of the programs.
pub fn program(name: &str) -> PathBuf {
    assert!(PROGRAMS.contains(&name), "no such program: {name}");
    binaries().join(name)
}

/// The root of the checkout.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Makes something once for all tests and processes of the run, in a directory of its own, and gives that directory.
pub fn cached(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let cache = base().join("cache");
    make_directory(&cache);
    let done = cache.join(name);
    if !done.exists() {
        let work = cache.join(format!("{name}.{}.{:?}", std::process::id(), std::thread::current().id()));
        make_directory(&work);
        make(&work);
        // The second of two processes keeps the directory of the first and removes its own.
        if fs::rename(&work, &done).is_err() {
            fs::remove_dir_all(&work).unwrap();
        }
    }
    done
}

/// Makes a directory that everybody may enter.
pub fn make_directory(path: &Path) {
    fs::create_dir_all(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if fs::metadata(path).unwrap().uid() == rustix::process::getuid().as_raw() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Where cargo has put the programs: named, or beside this test.
fn built() -> PathBuf {
    match std::env::var_os("CASEMATE_BIN_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => {
            let test = std::env::current_exe().unwrap();
            test.ancestors().nth(2).unwrap().to_owned()
        }
    }
}

fn copy_programs() -> PathBuf {
    let built = built();
    let state = |name: &str| {
        let path = built.join(name);
        let data = fs::metadata(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; run `cargo build --workspace --bins`", path.display()));
        data.mtime().wrapping_mul(1_000_000_007) ^ data.mtime_nsec() ^ data.size().cast_signed()
    };
    let fingerprint = PROGRAMS.iter().fold(0i64, |sum, name| sum.wrapping_mul(31).wrapping_add(state(name)));
    cached(&format!("bin-{fingerprint:x}"), |work| {
        for name in PROGRAMS {
            fs::copy(built.join(name), work.join(name)).unwrap();
            fs::set_permissions(work.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
    })
}
