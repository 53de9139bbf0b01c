//! Image references: a parsed pin prints as the text that was parsed, and has no control character or path component `.` or `..`.
#![no_main]

use casemate_spec::ImagePin;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(pin) = ImagePin::parse(text) else { return };
    assert_eq!(pin.to_string(), text);
    assert!(text.bytes().all(|c| c.is_ascii_graphic()));
    assert!(pin.repository.split('/').all(|part| !matches!(part, "" | "." | "..")));
    assert!(pin.registry.len() + pin.repository.len() < 255);
});
