//! casemate's own log, in a process of its own: the facade is one for all of it.

use casemate_engine::logs::manager_log;

#[test]
fn the_facade_carries_container_and_level_to_whoever_takes_the_lines() {
    manager_log::open(None, false);
    manager_log::keep();
    log::info!(container = "web"; "started\n<0>forged");
    log::error!("no container");
    log::debug!("not asked for");
    let lines = manager_log::take();
    manager_log::release();
    assert_eq!(lines, ["casemate: web: started\\n<0>forged\n", "casemate: no container\n"]);
    assert!(manager_log::take().is_empty());
}
