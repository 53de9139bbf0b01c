//! A real image from a registry on the loopback to layers that can run: `casemate pull` beside `podman pull` and beside `skopeo copy`
//! with `umoci unpack`, all as whole commands. What it takes of memory is seen in runs of its own, which are not timed.

use crate::failure::{Failure, Result, Step};
use crate::fresh::Fresh;
use crate::instance::Instance;
use crate::layout::{self, Content, Layout};
use crate::measure::{Contender, interleaved};
use crate::peak;
use crate::registry::Registry;
use crate::rows::{Row, Side, name};
use crate::tools;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROUNDS: usize = 5;
const BYTES_OF_EACH: u64 = 110 << 20;
const LAYERS: u64 = 5;
/// The tags of the image, and of the same without its uppermost layer.
const WHOLE: &str = "bench";
const FEWER: &str = "fewer";
/// What casemate-fetch and casemate-unpack may take, in KiB.
const BOUND: f64 = 32.0 * 1024.0;

/// The rows, and what a second pull brings in words.
pub fn rows(work: &Path) -> Result<(Vec<Row>, String)> {
    let registry = match Registry::start(&work.join("registry"))? {
        Ok(registry) => registry,
        Err(missing) => return Ok((all_missing(&missing), String::new())),
    };
    let layout = layout::make(&work.join("layout-pull"), &Content::of_this_machine(BYTES_OF_EACH)?, LAYERS)?;
    if layout.uncompressed < 300 << 20 {
        return Err(Failure::new("make an image", format!("/usr gave only {} bytes", layout.uncompressed)));
    }
    let fewer = layout.add_one_of_fewer_layers(FEWER)?;
    registry.push(&layout.directory, WHOLE)?;
    registry.push(&layout.directory, FEWER)?;
    let mut rows = timed(work, &registry, &layout)?;
    rows.extend(memory(work, &registry, &layout)?);
    let line = second(work, &registry, &layout, &fewer)?;
    Ok((rows, line))
}

fn timed(work: &Path, registry: &Registry, layout: &Layout) -> Result<Vec<Row>> {
    let peers = [podman(work, registry), skopeo_and_umoci(work, registry)];
    let mut contenders: Vec<Box<dyn Contender>> = vec![Box::new(ours(work, "pulled", registry, layout)?)];
    let mut missing = Vec::new();
    for peer in peers {
        match peer {
            Ok(peer) => {
                contenders.push(Box::new(peer));
                missing.push(None);
            }
            Err(reason) => missing.push(Some(reason)),
        }
    }
    let samples = interleaved(&mut contenders, ROUNDS)?;
    let mut sides = samples.iter().map(Side::from);
    let ours = sides.next().ok_or_else(|| Failure::new(name::PULL, "not measured"))?;
    let rows = name::PULL_PEERS.into_iter().zip(missing).map(|(peer_name, missing)| {
        let peer = missing.map_or_else(|| sides.next(), |reason| Some(Side::Missing(reason)));
        let peer = peer.unwrap_or_else(|| Side::Missing("not measured".to_owned()));
        Row { name: name::PULL, ours: ours.clone(), peer, peer_name, unit: "ms" }
    });
    Ok(rows.collect())
}

/// The file that names an image of the registry.
fn file(work: &Path, registry: &Registry, tag: &str, digest: &str) -> Result<PathBuf> {
    let text = format!(
        "schema = 1\n\n[appliance]\nname = \"bench\"\n\n[registries.\"{server}\"]\ninsecure = true\n\n[containers.a]\n\
         image = \"{server}/bench:{tag}@{digest}\"\nuser = \"10001\"\n\
         resources = {{ memory = \"64MiB\", pids = 64, cpus = 1.0 }}\n",
        server = registry.name()
    );
    let path = work.join(format!("{tag}.toml"));
    fs::write(&path, text).step("write the file")?;
    Ok(path)
}

fn pull(program: &Path, result: &Path, file: &Path) -> Vec<OsString> {
    vec![
        program.into(),
        "pull".into(),
        file.into(),
        "--state-dir".into(),
        result.join("state").into(),
        "--run-dir".into(),
        result.join("run").into(),
    ]
}

fn ours(work: &Path, name: &str, registry: &Registry, layout: &Layout) -> Result<Fresh> {
    let program = Instance::program()?;
    let file = file(work, registry, WHOLE, &layout.digest)?;
    Ok(Fresh::new(work.join(name), move |result| pull(&program, result, &file)))
}

fn podman(work: &Path, registry: &Registry) -> std::result::Result<Fresh, String> {
    let program = tools::find("podman", "podman")?;
    let image = format!("{}/bench:{WHOLE}", registry.name());
    Ok(Fresh::new(work.join("podman"), move |result| {
        let mut argv: Vec<OsString> = vec![program.clone().into(), "--root".into(), result.join("root").into()];
        argv.extend(["--runroot".into(), result.join("run").into()]);
        argv.extend(["--storage-driver", "overlay", "pull", "--quiet", "--tls-verify=false"].map(OsString::from));
        argv.push(image.clone().into());
        argv
    }))
}

/// One shell: the image to a layout, the layout to a root.
fn skopeo_and_umoci(work: &Path, registry: &Registry) -> std::result::Result<Fresh, String> {
    let skopeo = tools::find("skopeo", "skopeo")?;
    let umoci = tools::find("umoci", "umoci")?;
    let script = format!(
        "{} copy --quiet --src-tls-verify=false docker://{}/bench:{WHOLE} \"oci:$0/layout:bench\" && \
         {} unpack --image \"$0/layout:bench\" \"$0/bundle\"",
        skopeo.display(),
        registry.name(),
        umoci.display()
    );
    Ok(Fresh::new(work.join("skopeo"), move |result| {
        vec!["/bin/sh".into(), "-c".into(), script.clone().into(), result.into()]
    }))
}

/// What the two programs that read what comes take at the most.
fn memory(work: &Path, registry: &Registry, layout: &Layout) -> Result<Vec<Row>> {
    let command = ours(work, "memory", registry, layout)?.next()?;
    let [program, arguments @ ..] = command.argv.as_slice() else {
        return Err(Failure::new("measure memory", "no command"));
    };
    let programs = ["casemate-fetch", "casemate-unpack"];
    let peaks = peak::during(Command::new(program).args(arguments), programs)?;
    let rows = [name::MEMORY_FETCH, name::MEMORY_UNPACK].into_iter().zip(peaks).map(|(name, peak)| {
        let ours = Side::single(peak);
        let peer = Side::single(BOUND);
        Row { name, ours, peer, peer_name: name::BOUND, unit: "KiB" }
    });
    Ok(rows.collect())
}

/// An image that shares all layers but one with another that is there.
fn second(work: &Path, registry: &Registry, layout: &Layout, fewer: &str) -> Result<String> {
    let result = work.join("second");
    fs::create_dir(&result).step("make a directory")?;
    let casemate = Instance::program()?;
    let mut said = String::new();
    for (tag, digest) in [(FEWER, fewer), (WHOLE, &layout.digest)] {
        let argv = pull(&casemate, &result, &file(work, registry, tag, digest)?);
        let [program, arguments @ ..] = argv.as_slice() else { continue };
        said = tools::run(Command::new(program).args(arguments))?;
    }
    let result = said.rsplit_once("pulled, ").map_or(said.as_str(), |(_, rest)| rest).trim();
    let last = layout.layers.last().map_or(Ok(0), |path| fs::metadata(path).map(|blob| blob.len()));
    let last = last.step("look at the last layer")? as f64 / f64::from(1 << 20);
    Ok(format!("second pull, four of five layers there: {result}, of which the new layer is {last:.1} MiB\n"))
}

fn all_missing(missing: &str) -> Vec<Row> {
    let side = || Side::Missing(missing.to_owned());
    let row = |name, peer_name, unit| Row { name, ours: side(), peer: side(), peer_name, unit };
    let mut rows: Vec<Row> = name::PULL_PEERS.into_iter().map(|peer| row(name::PULL, peer, "ms")).collect();
    rows.extend([name::MEMORY_FETCH, name::MEMORY_UNPACK].map(|name| row(name, name::BOUND, "KiB")));
    rows
}
