//! Unpacking a real image: `casemate image import` (copy into the store, both digests proven, layers on disk before it
//! returns) beside `umoci unpack` and a bare `tar xzf` of the same layers, without and with `sync -f` behind it, all as whole
//! commands.

use crate::failure::{Failure, Result, Step};
use crate::fresh::Fresh;
use crate::instance::Instance;
use crate::layout::{self, Content, Layout};
use crate::measure::{Contender, interleaved};
use crate::rows::{Row, Side, name};
use crate::tools;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const ROUNDS: usize = 5;
const BYTES_OF_EACH: u64 = 70 << 20;
/// Puts on the disk what tar has written, as casemate does.
const SYNC: &str = "; sync -f \"$0\"";

/// The rows for one layer and for eight.
pub fn rows(work: &Path) -> Result<Vec<Row>> {
    let content = Content::of_this_machine(BYTES_OF_EACH)?;
    let mut rows = Vec::new();
    for (what, parts) in [(name::UNPACK_ONE, 1), (name::UNPACK_MANY, 8)] {
        let layout = layout::make(&work.join(format!("layout-{parts}")), &content, parts)?;
        if layout.uncompressed < 200 << 20 {
            return Err(Failure::new("make an image", format!("/usr gave only {} bytes", layout.uncompressed)));
        }
        let work = work.join(format!("unpack-{parts}"));
        fs::create_dir(&work).step("make a directory")?;
        fs::set_permissions(&work, fs::Permissions::from_mode(0o755)).step("chmod")?;
        rows.extend(of(&work, what, &layout)?);
    }
    Ok(rows)
}

fn of(work: &Path, what: &'static str, layout: &Layout) -> Result<Vec<Row>> {
    let umoci = tools::find("umoci", "umoci");
    let mut contenders: Vec<Box<dyn Contender>> = vec![
        Box::new(ours(work, layout)?),
        Box::new(tar(work, "tar", layout, "")),
        Box::new(tar(work, "tar-sync", layout, SYNC)),
    ];
    if let Ok(program) = &umoci {
        contenders.push(Box::new(umoci_unpack(program, work, layout)));
    }
    let samples = interleaved(&mut contenders, ROUNDS)?;
    let mut sides = samples.iter().map(Side::from);
    let (Some(ours), Some(tar), Some(tar_synced)) = (sides.next(), sides.next(), sides.next()) else {
        return Err(Failure::new(what, "not measured"));
    };
    let umoci = sides.next().unwrap_or_else(|| Side::Missing(umoci.err().unwrap_or_default()));
    let row = |peer_name, peer| Row { name: what, ours: ours.clone(), peer, peer_name, unit: "ms" };
    let peers = [umoci, tar, tar_synced];
    Ok(name::UNPACK_PEERS.into_iter().zip(peers).map(|(name, peer)| row(name, peer)).collect())
}

fn ours(work: &Path, layout: &Layout) -> Result<Fresh> {
    let program = Instance::program()?;
    let layout = layout.directory.clone();
    Ok(Fresh::new(work.join("import"), move |result| {
        vec![
            program.clone().into(),
            "image".into(),
            "import".into(),
            layout.clone().into(),
            "--state-dir".into(),
            result.join("state").into(),
            "--run-dir".into(),
            result.join("run").into(),
        ]
    }))
}

fn umoci_unpack(program: &Path, work: &Path, layout: &Layout) -> Fresh {
    let program = program.to_owned();
    let image = format!("{}:bench", layout.directory.display());
    let command = move |result: &Path| {
        vec![program.clone().into(), "unpack".into(), "--image".into(), image.clone().into(), result.into()]
    };
    Fresh { create: false, ..Fresh::new(work.join("umoci"), command) }
}

/// One shell, one tar a layer, then `end`.
fn tar(work: &Path, name: &str, layout: &Layout, end: &str) -> Fresh {
    let script = format!("for layer; do tar -xzf \"$layer\" -C \"$0\" || exit 1; done{end}");
    let layers = layout.layers.clone();
    Fresh::new(work.join(name), move |result| {
        let mut argv: Vec<OsString> = vec!["/bin/sh".into(), "-c".into(), script.clone().into(), result.into()];
        argv.extend(layers.iter().map(|layer| layer.clone().into()));
        argv
    })
}
