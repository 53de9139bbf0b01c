//! What a person sees who follows the README, and what becomes of it when the output goes nowhere.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::{Container, Feature, Instance, Spec, both_modes, finish, needs, place, poll};
use std::fs::{self, File};
use std::process::Stdio;

const BUSYBOX: &str = "/bin/busybox";
const SCRIPT: &str = "/usr/bin/script";

/// The code blocks of README's session: a command, the file, and two more commands.
fn blocks() -> Vec<String> {
    let readme = fs::read_to_string(place::repository().join("README.md")).unwrap();
    let section = readme.split("## A first container").nth(1).unwrap().split("\n## ").next().unwrap();
    let fenced = section.split("```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').unwrap().1.to_owned()).collect()
}

/// The command of a block, and what it prints.
fn command(block: &str) -> (Vec<&str>, &str) {
    let (line, printed) = block.split_once('\n').unwrap();
    (line.strip_prefix("$ casemate ").unwrap().split(' ').collect(), printed)
}

both_modes! {
    fn readme_output_is_what_the_program_prints(mode) {
        if !needs("readme_output_is_what_the_program_prints", &[Feature::Program(BUSYBOX)]) {
            return;
        }
        let casemate = Instance::new(mode);
        let blocks = blocks();
        let [pack, text, up, check] = blocks.as_slice() else { panic!("{} blocks", blocks.len()) };
        let digest_of = |text: &str| text.split("sha256:").nth(1).unwrap()[..64].to_owned();

        let (mut words, pin) = command(pack);
        for word in &mut words {
            *word = if *word == "busybox" { BUSYBOX } else { word };
        }
        let packed = casemate.run(&words).expect(0);
        // Which busybox it is differs from host to host.
        assert_eq!(packed.stdout.replace(&digest_of(&packed.stdout), &digest_of(pin)), *pin);

        let text = text.replace(&digest_of(text), &digest_of(&packed.stdout));
        let file = casemate.write("casemate.toml", &text);
        let (words, printed) = command(up);
        if needs("readme_output_is_what_the_program_prints", &[Feature::Limits(mode)]) {
            let output = finish(casemate.in_cgroup(&[words[0], &file]), poll::PATIENCE).expect(0);
            let (ours, mut theirs): (Vec<&str>, Vec<&str>) = printed.lines().partition(|line| line.starts_with("casemate: "));
            let mut shown: Vec<&str> = output.stdout.lines().chain(output.stderr.lines().filter(|line| !ours.contains(line))).collect();
            shown.sort_unstable();
            theirs.sort_unstable();
            assert_eq!(shown, theirs);
            assert!(!ours.is_empty() && ours.iter().all(|line| output.stderr.lines().any(|there| there == *line)), "{ours:?}: {output:?}");
        }

        let file = casemate.write("casemate.toml", &text.replace("\"10001:10001\"", "\"0\""));
        let (words, printed) = command(check);
        let output = casemate.run(&[words[0], &file]).expect(3);
        assert_eq!(output.stderr.replace(&file, "casemate.toml"), printed);
    }

    fn closed_stdout_is_no_error_and_a_full_disk_is(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        casemate.up_to_the_end(&Spec::new([Container::new("a", &image, 10_001).command(&["misbehave", "lines", "2000"])])).expect(0);
        for arguments in [&["image", "ls"][..], &["image", "inspect", "probe"], &["logs", "a"]] {
            let mut command = casemate.command(arguments);
            let (read, write) = rustix::pipe::pipe().unwrap();
            drop(read);
            let ended = command.stdout(write).stderr(Stdio::piped()).output().unwrap();
            assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).contains("Broken pipe")), (Some(0), false), "{arguments:?}");
            let mut command = casemate.command(arguments);
            let full = File::options().write(true).open("/dev/full").unwrap();
            let ended = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
            assert_eq!(ended.status.code(), Some(1), "{arguments:?}");
            assert!(String::from_utf8_lossy(&ended.stderr).contains("No space left"), "{ended:?}");
        }
    }

    fn colours_and_progress_are_for_terminals_only(mode) {
        let test = "colours_and_progress_are_for_terminals_only";
        if !needs(test, &[Feature::Program(SCRIPT)]) {
            return;
        }
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let archive = casemate.directory().join("probe.tar");
        casemate.run(&["image", "pack", "--name", "probe", "--output", archive.to_str().unwrap(), "--binary", place::program("casemate-probe").to_str().unwrap()]).expect(0);
        casemate.run(&["image", "rm", "probe"]).expect(0);
        let import = ["image", "import", archive.to_str().unwrap()];
        let seen = on_a_terminal(&casemate, &import);
        assert!(seen.contains("unpacking layer 1 of 1") && seen.contains(&image), "{seen}");
        assert_eq!(casemate.run(&import).expect(0).stderr, "");

        let file = casemate.write("casemate.toml", &Spec::new([Container::new("a", &image, 0)]).text());
        assert!(on_a_terminal(&casemate, &["check", &file]).contains("\u{1b}["));
        assert!(!casemate.run(&["check", &file]).expect(3).stderr.contains('\u{1b}'));
    }
}

/// What a command of casemate writes to a terminal.
fn on_a_terminal(casemate: &Instance, arguments: &[&str]) -> String {
    let command = casemate.command(arguments);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut script = casemate.mode().command(SCRIPT);
    script.args(["-qfec", &words.join(" "), "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null());
    String::from_utf8(script.output().unwrap().stdout).unwrap()
}
