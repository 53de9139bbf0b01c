//! WWW-Authenticate and Location: any bytes are parsed or refused without a panic, and parsed values keep the bounds of the client.
#![no_main]

use casemate_fetch::challenge::{Challenge, choose, parse};
use casemate_fetch::url::Url;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let found = parse(bytes);
    assert_eq!(choose([bytes]).is_some(), !found.is_empty());
    for challenge in found {
        let Challenge::Bearer { realm, service } = challenge else { continue };
        assert!(!realm.contains(char::is_control) && realm.len() <= 4096);
        assert!(service.is_none_or(|service| !service.contains(char::is_control)));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let here = Url::parse("https://registry.example/v2/a").expect("a URL");
    if let Ok(url) = here.join(text) {
        assert!(url.path.starts_with('/') && url.port > 0 && !url.host.is_empty());
        assert!(!url.host.contains(['@', '/', '?', '#', ' ']));
        assert_eq!(Url::parse(&url.text()), Ok(url));
    }
});
