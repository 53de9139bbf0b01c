//! casemate's own log, in a process of its own: the facade is one for all of it.

use casemate_engine::logs::own;

#[test]
fn the_facade_carries_container_and_level_to_whoever_takes_the_lines() {
    own::open(None, false);
    own::keep();
    log::info!(container = "web"; "started\n<0>forged");
    log::error!("no container");
    log::debug!("not asked for");
    let lines = own::take();
    own::release();
    assert_eq!(lines, ["casemate: web: started\\n<0>forged\n", "casemate: no container\n"]);
    assert!(own::take().is_empty());
}
