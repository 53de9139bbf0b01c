//! `casemate check` and invalid files: all errors are shown at their places, and nothing is started.
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
    fn check_accepts_a_good_file_without_output_on_stderr(mode) {
        let casemate = Instance::new(mode);
        let file = casemate.write("casemate.toml", &Spec::new([good()]).text());
        let output = casemate.run(&["check", &file]).expect(0);
        assert!(!output.stderr.contains('^'), "{output:?}");
    }

    fn check_names_the_nearest_key_for_an_unknown_one(mode) {
        let casemate = Instance::new(mode);
        let text = Spec::new([good().set("comand", "[\"x\"]")]).text();
        refused(&casemate, &text, &["comand = [\"x\"]", "did you mean `command`", "unknown-key"]);
    }

    fn check_refuses_a_profile_with_another_digest(mode) {
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

    fn check_refuses_a_misspelt_table(mode) {
        let casemate = Instance::new(mode);
        let text = format!("{}\n[containers.a.securty]\nseccomp = \"casemate:minimal\"\n", Spec::new([good()]).text());
        refused(&casemate, &text, &["securty", "security"]);
    }

    fn check_refuses_an_image_without_a_digest(mode) {
        let casemate = Instance::new(mode);
        for image in ["docker.io/library/redis:7", "redis", "redis@sha256:12", "redis@md5:00000000000000000000000000000000"] {
            refused(&casemate, &Spec::new([good().set("image", &format!("{image:?}"))]).text(), &["image = "]);
        }
    }

    fn check_refuses_root_in_every_spelling(mode) {
        let casemate = Instance::new(mode);
        for user in ["0", "0:10001", "10001:0", "root", "app", "00010001", "+1", "-1", "4294967295", "4294967296", "65535", " 1", "1:", ""] {
            refused(&casemate, &Spec::new([good().set("user", &format!("{user:?}"))]).text(), &["user = "]);
        }
        refused(&casemate, &Spec::new([good().without("user")]).text(), &["user"]);
    }

    fn check_refuses_an_undeclared_shared_uid(mode) {
        let casemate = Instance::new(mode);
        let other = Container::new("b", PIN, 10_001);
        refused(&casemate, &Spec::new([good(), other]).text(), &["share_user_with"]);
    }

    fn check_refuses_missing_required_limits(mode) {
        let casemate = Instance::new(mode);
        for limit in ["memory", "pids", "cpus"] {
            let text = Spec::new([good().without(limit)]).head(&format!("[policy]\nrequire_limits = [\"{limit}\"]")).text();
            refused(&casemate, &text, &[limit, "limits-required"]);
        }
        for (limit, value) in [("memory", "\"0\""), ("pids", "0"), ("cpus", "0.0"), ("memory", "\"unlimited\""), ("pids", "-1")] {
            refused(&casemate, &Spec::new([good().resource(limit, value)]).text(), &[limit]);
        }
    }

    fn check_refuses_mount_targets_that_are_not_absolute_and_normal(mode) {
        let casemate = Instance::new(mode);
        for target in ["data", "/", "/data/../etc", "/proc/sys", "/dev/x", "/sys/x", "/./data", "", "/a//b", "/data\u{0}x"] {
            let volume = format!("[{{ type = \"volume\", source = \"v\", target = {} }}]", casemate_e2e::quoted(target));
            let text = Spec::new([good().set("volumes", &volume)]).head("[volumes.v]").text();
            refused(&casemate, &text, &["target"]);
        }
    }

    fn check_refuses_relative_bind_sources_and_undeclared_volumes(mode) {
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

    fn check_shows_all_errors_at_once(mode) {
        let casemate = Instance::new(mode);
        let text = Spec::new([good().set("user", "\"0\"").set("image", "\"redis\"").set("nonsense", "1")]).text();
        let output = refused(&casemate, &text, &["user = \"0\"", "image = \"redis\"", "nonsense"]);
        assert!(output.stderr.matches('^').count() >= 3, "{}", output.stderr);
    }

    fn check_refuses_an_expired_waiver(mode) {
        let casemate = Instance::new(mode);
        let text = Spec::new([good()]).without_limits().text().replace("2099-12-31", "2020-01-01");
        refused(&casemate, &text, &["expires = 2020-01-01"]);
    }

    fn check_shows_the_place_of_a_syntax_error(mode) {
        let casemate = Instance::new(mode);
        for text in ["schema = ", "schema = 1\nschema = 1\n", "[containers.a\n", "x = \"\u{1b}[2J\"\n", "schema = 2\n", ""] {
            let output = {
                let file = casemate.write("casemate.toml", text);
                casemate.run(&["check", &file]).expect(3)
            };
            assert!(!output.stderr.contains('\u{1b}'), "{output:?}");
        }
    }

    fn check_of_an_unreadable_file_fails_without_panic(mode) {
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

    fn up_names_an_image_that_is_not_in_the_store(mode) {
        let casemate = Instance::new(mode);
        let output = casemate.up_to_the_end(&Spec::new([good().command(&["true"])]));
        assert_eq!(output.code, 4, "{output:?}");
        assert!(output.stderr.contains("probe"), "{output:?}");
    }

    fn wrong_command_line_exits_with_2(mode) {
        let casemate = Instance::new(mode);
        for arguments in [&["nonsense"][..], &["up"], &["check", "--nonsense", "x"], &["logs"]] {
            assert_eq!(casemate.run(arguments).code, 2, "{arguments:?}");
        }
    }
}

#[test]
fn check_accepts_every_shipped_file() {
    let casemate = Instance::new(Mode::User);
    let mut seen = 0;
    for entry in fs::read_dir(place::repository().join("config")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        // A profile is checked with the file that names it.
        if name.ends_with(".toml") && !name.ends_with(".seccomp.toml") {
            let output = casemate.run(&["check", entry.path().to_str().unwrap()]);
            assert_eq!(output.code, 0, "{}: {output:?}", entry.path().display());
            seen += 1;
        }
    }
    assert!(seen >= 2, "{seen} files in config/");
}
