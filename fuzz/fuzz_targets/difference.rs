//! Two inventories of a layer: any bytes give differences without control characters or an error, and equal inventories have none.
#![no_main]

use casemate_image::store::difference::differences;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (before, now) = bytes.iter().position(|&byte| byte == 0).map_or((bytes, &[][..]), |at| bytes.split_at(at));
    let Ok(found) = differences(before, now) else { return };
    assert!(found.len() <= 8);
    assert!(found.iter().all(|line| !line.contains(char::is_control)));
    assert!(differences(before, before).is_ok_and(|found| found.is_empty()));
});
