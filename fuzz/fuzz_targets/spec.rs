//! casemate.toml: any bytes give a spec or a bounded list of errors with positions in the text, printed without control characters.
#![no_main]

use casemate_spec::{self as spec, Date, Severity};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let found = match spec::text(bytes) {
        Err(found) => found,
        Ok(text) => {
            let result = spec::parse(text, Date::from_unix(1_795_219_200));
            let good = result.is_ok();
            let found = result.map_or_else(|found| found, |(_, warnings)| warnings);
            assert_eq!(good, found.iter().all(|finding| finding.severity == Severity::Warning));
            for finding in &found {
                assert!(text.get(finding.span.clone()).is_some());
            }
            let shown = spec::render("casemate.toml", text, &found, false);
            assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
            found
        }
    };
    assert!(found.len() <= 200);
});
