//! The file, judged by the program: what is wrong is shown at its place, all at once, and nothing has happened.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::{Container, Instance, Mode, Output, Spec, both_modes, oci, place};
use std::fs;

const PIN: &str = "localhost/probe@sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn good() -> Container {
    Container::new("a", PIN, 10_001)
}

/// `check` and `up` refuse the text alike, with a caret below the place and these words.
#[track_caller]
fn refused(casemate: &Instance, text: &str, words: &[&str]) -> Output {
    let file = casemate.write("casemate.toml", text);
    let check = casemate.run(&["check", &file]);
    assert_eq!(check.code, 3, "{text}\n{check:?}");
    assert!(check.stderr.contains('^'), "no caret:\n{}", check.stderr);
    for word in words {
        assert!(check.stderr.contains(word), "no {word:?} in:\n{}", check.stderr);
    }
    let up = casemate.run(&["up", &file]);
    assert_eq!(up.code, 3, "{up:?}");
    assert!(!casemate.run_directory().join("control.sock").exists(), "a manager was started");
    check
}

both_modes! {
    fn a_good_file_passes_without_a_word_of_error(mode) {
        let casemate = Instance::new(mode);
        let file = casemate.write("casemate.toml", &Spec::new([good()]).text());
        let output = casemate.run(&["check", &file]).expect(0);
        assert!(!output.stderr.contains('^'), "{output:?}");
    }

    fn an_unknown_key_is_shown_with_the_nearest_name(mode) {
        let casemate = Instance::new(mode);
        let text = Spec::new([good().set("comand", "[\"x\"]")]).text();
        refused(&casemate, &text, &["comand = [\"x\"]", "did you mean `command`", "unknown-key"]);
    }

    fn a_profile_that_is_not_the_pinned_one_is_told_by_check(mode) {
        let casemate = Instance::new(mode);
        let text = "schema = 1\ncomment = \"own\"\n[[allow]]\ncomment = \"all\"\ncalls = [\"execve\"]\n";
        casemate.write("own.toml", text);
        let check = |digest: &str| {
            let seccomp = format!("{{ seccomp = {{ profile = \"own.toml\", sha256 = \"{digest}\" }} }}");
            let file = casemate.write("casemate.toml", &Spec::new([good().set("security", &seccomp)]).text());
            casemate.run(&["check", &file])
        };
        check(&oci::sha256(text.as_bytes())).expect(0);
        let other = check(&"0".repeat(64)).expect(4);
        assert!(other.stderr.contains("own.toml has digest sha256:"), "{other:?}");
        let broken = casemate.write("own.toml", "schema = 1\n");
        let error = check(&oci::sha256(&fs::read(broken).unwrap())).expect(3);
        assert!(error.stderr.contains("policies/seccomp"), "{error:?}");
    }

    fn a_misspelt_table_is_no_loophole(mode) {
        let casemate = Instance::new(mode);
        let text = format!("{}\n[containers.a.securty]\nseccomp = \"casemate:minimal\"\n", Spec::new([good()]).text());
        refused(&casemate, &text, &["securty", "security"]);
    }

    fn an_image_without_a_digest_is_refused(mode) {
        let casemate = Instance::new(mode);
        for image in ["docker.io/library/redis:7", "redis", "redis@sha256:12", "redis@md5:00000000000000000000000000000000"] {
            refused(&casemate, &Spec::new([good().set("image", &format!("{image:?}"))]).text(), &["image = "]);
        }
    }

    fn root_is_refused_however_it_is_written(mode) {
        let casemate = Instance::new(mode);
        for user in ["0", "0:10001", "10001:0", "root", "app", "00010001", "+1", "-1", "4294967295", "4294967296", "65535", " 1", "1:", ""] {
            refused(&casemate, &Spec::new([good().set("user", &format!("{user:?}"))]).text(), &["user = "]);
        }
        refused(&casemate, &Spec::new([good().without("user")]).text(), &["user"]);
    }

    fn two_containers_may_not_share_a_uid_by_accident(mode) {
        let casemate = Instance::new(mode);
        let other = Container::new("b", PIN, 10_001);
        refused(&casemate, &Spec::new([good(), other]).text(), &["share_user_with"]);
    }

    fn limits_that_the_policy_requires_have_to_be_there(mode) {
        let casemate = Instance::new(mode);
        for limit in ["memory", "pids", "cpus"] {
            let text = Spec::new([good().without(limit)]).head(&format!("[policy]\nrequire_limits = [\"{limit}\"]")).text();
            refused(&casemate, &text, &[limit, "limits-required"]);
        }
        for (limit, value) in [("memory", "\"0\""), ("pids", "0"), ("cpus", "0.0"), ("memory", "\"unlimited\""), ("pids", "-1")] {
            refused(&casemate, &Spec::new([good().resource(limit, value)]).text(), &[limit]);
        }
    }

    fn mount_targets_have_to_be_plain_absolute_paths(mode) {
        let casemate = Instance::new(mode);
        for target in ["data", "/", "/data/../etc", "/proc/sys", "/dev/x", "/sys/x", "/./data", "", "/a//b", "/data\u{0}x"] {
            let volume = format!("[{{ type = \"volume\", source = \"v\", target = {} }}]", casemate_e2e::quoted(target));
            let text = Spec::new([good().set("volumes", &volume)]).head("[volumes.v]").text();
            refused(&casemate, &text, &["target"]);
        }
    }

    fn a_bind_source_has_to_be_absolute_and_a_volume_declared(mode) {
        let casemate = Instance::new(mode);
        for volume in [
            "[{ type = \"bind\", source = \"data\", target = \"/data\" }]",
            "[{ type = \"bind\", source = \"/a/../b\", target = \"/data\" }]",
            "[{ type = \"volume\", source = \"nowhere\", target = \"/data\" }]",
            "[{ type = \"nfs\", source = \"v\", target = \"/data\" }]",
        ] {
            refused(&casemate, &Spec::new([good().set("volumes", volume)]).text(), &["volumes = "]);
        }
    }

    fn all_errors_of_a_file_are_shown_at_once(mode) {
        let casemate = Instance::new(mode);
        let text = Spec::new([good().set("user", "\"0\"").set("image", "\"redis\"").set("nonsense", "1")]).text();
        let output = refused(&casemate, &text, &["user = \"0\"", "image = \"redis\"", "nonsense"]);
        assert!(output.stderr.matches('^').count() >= 3, "{}", output.stderr);
    }

    fn an_expired_waiver_fails(mode) {
        let casemate = Instance::new(mode);
        let text = Spec::new([good()]).without_limits().text().replace("2099-12-31", "2020-01-01");
        refused(&casemate, &text, &["expires = 2020-01-01"]);
    }

    fn text_that_is_no_toml_is_shown_where_it_breaks(mode) {
        let casemate = Instance::new(mode);
        for text in ["schema = ", "schema = 1\nschema = 1\n", "[containers.a\n", "x = \"\u{1b}[2J\"\n", "schema = 2\n", ""] {
            let output = {
                let file = casemate.write("casemate.toml", text);
                casemate.run(&["check", &file]).expect(3)
            };
            assert!(!output.stderr.contains('\u{1b}'), "{output:?}");
        }
    }

    fn a_file_that_cannot_be_read_is_no_panic(mode) {
        let casemate = Instance::new(mode);
        for file in ["/nonexistent.toml", "/", "/dev/null"] {
            let output = casemate.run(&["check", file]);
            assert!([2, 3].contains(&output.code), "{file}: {output:?}");
            assert!(!output.stderr.contains("panicked"), "{output:?}");
        }
        let file = casemate.directory().join("bytes.toml");
        fs::write(&file, b"schema = 1\n# \xff\xfe\n").unwrap();
        casemate.run(&["check", file.to_str().unwrap()]).expect(3);
    }

    fn an_image_that_is_not_in_the_store_is_named(mode) {
        let casemate = Instance::new(mode);
        let output = casemate.up_to_the_end(&Spec::new([good().command(&["true"])]));
        assert_eq!(output.code, 4, "{output:?}");
        assert!(output.stderr.contains("probe"), "{output:?}");
    }

    fn a_wrong_command_line_is_2(mode) {
        let casemate = Instance::new(mode);
        for arguments in [&["nonsense"][..], &["up"], &["check", "--nonsense", "x"], &["logs"]] {
            assert_eq!(casemate.run(arguments).code, 2, "{arguments:?}");
        }
    }
}

#[test]
fn every_file_that_is_shipped_is_good() {
    let casemate = Instance::new(Mode::User);
    let mut seen = 0;
    for entry in fs::read_dir(place::repository().join("config")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        // A profile is judged with the file that names it.
        if name.ends_with(".toml") && !name.ends_with(".seccomp.toml") {
            let output = casemate.run(&["check", entry.path().to_str().unwrap()]);
            assert_eq!(output.code, 0, "{}: {output:?}", entry.path().display());
            seen += 1;
        }
    }
    assert!(seen >= 2, "{seen} files in config/");
}
