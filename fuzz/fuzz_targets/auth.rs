//! docker's config.json: any bytes give a login or an error, and an error does not quote them.
#![no_main]

use casemate_fetch_wire::Login;
use casemate_image::registry::auth::login;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for registry in ["docker.io", "registry.example:5000"] {
        match login(bytes, registry, "team/app") {
            Ok(None) => {}
            Ok(Some(Login::Password { user, password })) => {
                assert!(!user.expose().is_empty() && !user.expose().contains(':'));
                assert!(!password.expose().contains(char::is_control));
            }
            Ok(Some(Login::RefreshToken(token))) => assert!(!token.expose().is_empty()),
            Err(error) => assert!(error.to_string().len() < 200),
        }
    }
});
