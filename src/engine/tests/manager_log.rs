//! The manager's own log. In a test program of its own, because the logger is one per process.

use casemate_engine::logs::manager_log;

#[test]
fn log_lines_name_the_container_and_debug_records_are_left_out() {
    manager_log::open(None, false);
    manager_log::buffer_lines();
    log::info!(container = "web"; "started\n<0>forged");
    log::error!("no container");
    log::debug!("not asked for");
    let lines = manager_log::take_lines();
    manager_log::unbuffer();
    assert_eq!(lines, ["casemate: web: started\\n<0>forged\n", "casemate: no container\n"]);
    assert!(manager_log::take_lines().is_empty());
}
