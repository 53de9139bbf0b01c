//! AppArmor's say about user namespaces.
//!
//! `kernel.apparmor_restrict_unprivileged_userns` is a patch of Ubuntu's: no kernel of Debian's or of kernel.org has it. What those
//! have is the same question asked of programs with a profile, so that is asked here.

use super::appliance::{HELPER, anchor, apply, probe, until_state};
use super::command::sh;
use super::run::note;
use super::wait::until;
use casemate_e2e::Spec;
use std::fs;

const SWITCH: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
const PROFILE: &str = "/etc/apparmor.d/casemate-helper";
/// A host's policy that lets the helper do everything but what the profile is for.
const WITHOUT: &str = "abi <abi/4.0>,
profile casemate-helper /usr/libexec/casemate/casemate-helper {
  allow all,
  deny userns,
}
";

/// The package has loaded it, and it is the helper's.
pub fn has_the_profile_of_the_helper() {
    let mediated = fs::read_to_string("/sys/kernel/security/apparmor/features/namespaces/mask").unwrap();
    assert!(mediated.contains("userns_create"), "{mediated}");
    note(format!("{SWITCH}: {}", fs::read_to_string(SWITCH).unwrap_or_else(|error| error.to_string())));
    apply(&Spec::new([anchor(&probe())]));
    until_state("anchor", "running");
    assert_eq!(label(), "casemate-helper (unconfined)");
}

/// A helper that may not make user namespaces says so and starts nothing; with the package's profile it does.
pub fn can_stop_a_helper_and_the_profile_lets_it_go() {
    fs::write("/run/without", WITHOUT).unwrap();
    sh("apparmor_parser --replace /run/without").expect(0);
    sh(&format!("systemctl restart --no-block {HELPER}")).expect(0);
    let command = format!("journalctl --boot --output=cat --unit={HELPER}");
    until("the helper to be refused", || {
        sh(&command).stdout.contains("make user namespace A: Permission denied").then_some(())
    });
    sh(&format!("apparmor_parser --replace {PROFILE}")).expect(0);
    until_state("anchor", "running");
    assert_eq!(label(), "casemate-helper (unconfined)");
}

fn label() -> String {
    let line = format!("cat /proc/$(systemctl show --value -p MainPID {HELPER})/attr/current");
    sh(&line).expect(0).stdout.trim().to_owned()
}
