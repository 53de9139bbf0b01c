//! The built-in profiles and the errors of invalid ones.

use super::*;
use std::collections::BTreeSet;

/// System calls that moby's default profile allows without a condition (moby/profiles, seccomp/default.json).
const MOBY: usize = 361;

fn names(text: &str) -> BTreeSet<String> {
    format::read(text).unwrap().into_iter().map(|call| call.name).collect()
}

#[test]
fn threat_25_default_profile_allows_less_than_dockers() {
    let service = names(SERVICE);
    assert!(service.len() < MOBY, "{}", service.len());
    assert!(names(MINIMAL).is_subset(&service));
    assert!(names(MINIMAL).len() < service.len());
    for closed in [
        "ptrace", "memfd_secret", "io_uring_setup", "name_to_handle_at", "bpf", "listmount", "unshare", "mount",
        "add_key",
    ] {
        assert!(!service.contains(closed), "{closed}");
    }
}

#[test]
fn built_in_profiles_compile_and_fit_into_a_job() {
    for text in [SERVICE, MINIMAL] {
        let program = compile(text).unwrap();
        assert!(casemate_confine::seccomp::instructions(&program.to_bytes()).is_ok());
    }
}

#[test]
fn invalid_profile_is_refused_with_its_reason() {
    let rule = |rule: &str| format!("schema = 1\ncomment = \"c\"\n[[allow]]\n{rule}");
    let when = |when: &str| rule(&format!("comment = \"c\"\ncalls = [\"read\"]\nwhen = [{{ {when} }}]"));
    let table = [
        ("schema = 2\ncomment = \"c\"".to_owned(), "schema"),
        ("schema = 1".to_owned(), "comment"),
        ("schema = 1\ncomment = \" \"".to_owned(), "comment"),
        ("schema = 1\ncomment = \"c\"".to_owned(), "allows nothing"),
        ("schema = 1\ncomment = \"c\"\ndefault = \"allow\"".to_owned(), "default"),
        (rule("calls = [\"read\"]"), "comment"),
        (rule("comment = \"\"\ncalls = [\"read\"]"), "comment is empty"),
        (rule("comment = \"c\"\ncalls = []"), "no system call"),
        (rule("comment = \"c\"\ncalls = [\"raed\"]"), "raed"),
        (rule("comment = \"c\"\ncalls = [\"SYS_read\"]"), "SYS_read"),
        (rule("comment = \"c\"\ncalls = [\"read\"]\naction = \"allow\""), "line 6: unknown field `action`"),
        (when("arg = 6, op = \"eq\", value = 1"), "0 to 5"),
        (when("arg = 0, op = \"gt\", value = 1"), "gt"),
        (when("arg = 0, op = \"eq\", value = -1"), "-1"),
        (when("arg = 0, op = \"eq\", value = 0x100000000"), "bits = 64"),
        (when("arg = 0, op = \"eq\", value = 1, bits = 16"), "16"),
        (when("arg = 0, op = \"eq\", value = 1, mask = 1"), "masked_eq"),
        (when("arg = 0, op = \"masked_eq\", value = 1"), "needs a mask"),
        (when("arg = 0, op = \"masked_eq\", mask = 2, value = 1"), "never be equal"),
        ("\0".to_owned(), "parse"),
    ];
    for (text, part) in table {
        let error = compile(&text).err().unwrap_or_else(|| panic!("{text}")).to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{text}\n{error}");
    }
    assert!(compile(&rule("comment = \"c\"\ncalls = [\"read\", \"riscv_hwprobe\"]")).is_ok());
    assert!(compile(&when("arg = 0, op = \"eq\", value = 0x100000000, bits = 64")).is_ok());
}
