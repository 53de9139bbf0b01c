//! Compiles the filters of the helper's two processes, so that the helper carries instructions and no compiler.

use casemate_filter::{Program, listener, outer};
use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    // The compiler knows the system calls of the machine that it runs on.
    if env::var("CARGO_CFG_TARGET_ARCH")? != env::consts::ARCH {
        return Err("the built-in filters can only be compiled on the architecture that they are for".into());
    }
    let out = env::var("OUT_DIR")?;
    let write = |name: &str, program: Program| fs::write(Path::new(&out).join(name), program.to_bytes());
    write("outer", outer()?)?;
    write("listener", listener()?)?;
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}
