//! An image of two layers that takes a while to import, and the content of all layers of the run for comparison.

use casemate_e2e::oci;
use serde_json::json;
use std::fs;
use std::path::Path;

/// Makes `tree-0`, `tree-1`, `layout` and `digest` of the image, and `probe`, the one layer of the probe's.
pub fn make(directory: &Path, probe: &Path) {
    let trees = [(0_u8, 6, 20), (1, 3, 40)].map(|(number, directories, files)| {
        let tree = directory.join(format!("tree-{number}"));
        for d in 0..directories {
            let path = tree.join(format!("files-{number}/dir-{d}"));
            fs::create_dir_all(&path).unwrap();
            for f in 0..files {
                // Contents that differ, so that a block in the wrong place shows.
                let line = format!("{number} {d} {f}\n");
                fs::write(path.join(format!("file-{f}")), line.repeat(600)).unwrap();
            }
        }
        tree
    });
    let packed = directory.join("probe");
    fs::create_dir_all(&packed).unwrap();
    fs::copy(probe, packed.join("casemate-probe")).unwrap();
    fs::copy(probe, trees[0].join("probe")).unwrap();
    let layers = trees.each_ref().map(|tree| oci::layer_of(tree));
    let digest = oci::layout(&directory.join("layout"), &layers, &json!({ "Entrypoint": ["/none"] }));
    fs::write(directory.join("digest"), digest).unwrap();
}
