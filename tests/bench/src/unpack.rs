//! Unpacking a real image: `casemate image import` (copy into the store, both digests proven, layers on disk before it
//! returns) beside `umoci unpack` and a bare `tar xzf` of the same layers, all as whole commands.

use crate::command::Timed;
use crate::failure::{Failure, Result, Step};
use crate::fresh::Fresh;
use crate::instance::Instance;
use crate::layout::{self, Content, Layout};
use crate::measure::{Contender, interleaved};
use crate::rows::{Row, Side, name};
use crate::tools;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

const ROUNDS: usize = 5;
const BYTES_OF_EACH: u64 = 70 << 20;

/// The rows for one layer and for eight.
pub fn rows(work: &Path) -> Result<Vec<Row>> {
    let content = Content::of_this_machine(BYTES_OF_EACH)?;
    let mut rows = Vec::new();
    for (what, parts) in [(name::UNPACK_ONE, 1), (name::UNPACK_MANY, 8)] {
        let layout = layout::make(&work.join(format!("layout-{parts}")), &content, parts)?;
        if layout.uncompressed < 200 << 20 {
            return Err(Failure::new("make an image", format!("/usr gave only {} bytes", layout.uncompressed)));
        }
        rows.extend(of(work, what, &layout)?);
        fs::remove_dir_all(&layout.directory).step("remove the layout")?;
    }
    Ok(rows)
}

fn of(work: &Path, what: &'static str, layout: &Layout) -> Result<Vec<Row>> {
    let umoci = tools::find("umoci", "umoci");
    let mut contenders: Vec<Box<dyn Contender>> = vec![Box::new(ours(work, layout)?), Box::new(tar(work, layout))];
    if let Ok(program) = &umoci {
        contenders.push(Box::new(umoci_unpack(program, work, layout)));
    }
    let samples = interleaved(&mut contenders, ROUNDS)?;
    let mut sides = samples.iter().map(Side::from);
    let (Some(ours), Some(tar)) = (sides.next(), sides.next()) else {
        return Err(Failure::new(what, "not measured"));
    };
    let umoci = sides.next().unwrap_or_else(|| Side::Missing(umoci.err().unwrap_or_default()));
    let row = |peer_name, peer| Row { name: what, ours: ours.clone(), peer, peer_name, unit: "ms" };
    let [first, second] = name::UNPACK_PEERS;
    Ok(vec![row(first, umoci), row(second, tar)])
}

fn ours(work: &Path, layout: &Layout) -> Result<Fresh> {
    let result = work.join("import");
    let argv: Vec<OsString> = vec![
        Instance::program()?.into(),
        "image".into(),
        "import".into(),
        layout.directory.clone().into(),
        "--state-dir".into(),
        result.join("state").into(),
        "--run-dir".into(),
        result.join("run").into(),
    ];
    Ok(Fresh { command: Timed::new(argv), result, remade: true })
}

fn umoci_unpack(program: &Path, work: &Path, layout: &Layout) -> Fresh {
    let result = work.join("umoci");
    let image = format!("{}:bench", layout.directory.display());
    let argv: Vec<OsString> =
        vec![program.into(), "unpack".into(), "--image".into(), image.into(), result.clone().into()];
    Fresh { command: Timed::new(argv), result, remade: false }
}

/// One shell, one tar a layer.
fn tar(work: &Path, layout: &Layout) -> Fresh {
    let result = work.join("tar");
    let script = "for layer; do tar -xzf \"$layer\" -C \"$0\" || exit 1; done";
    let mut argv: Vec<OsString> = vec!["/bin/sh".into(), "-c".into(), script.into(), result.clone().into()];
    argv.extend(layout.layers.iter().map(|layer| layer.clone().into()));
    Fresh { command: Timed::new(argv), result, remade: true }
}
