//! The table of keys: the documents made from it are those in the repository, the JSON Schema and the decoder agree, and an
//! accepted file answers for every key.
//!
//! `CASEMATE_BLESS=1 cargo test -p casemate-spec --test keys` writes the documents anew; read the difference before committing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod json_schema;

use casemate_spec::{self as spec, Date, Explained, KeyInfo, Origin, Position, Spec, Widens};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn today() -> Date {
    Date::new(2026, 11, 21).unwrap()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn accepted(text: &str) -> Spec {
    match spec::parse(text, today()) {
        Ok((spec, _)) => spec,
        Err(found) => panic!("{}", spec::render("file", text, &found, false)),
    }
}

mod documents {
    use super::*;

    fn is_in_the_repository(path: &str, text: &str) {
        let file = repository().join(path);
        if std::env::var_os("CASEMATE_BLESS").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
        }
        let found = fs::read_to_string(&file).unwrap_or_default();
        assert!(found == text, "{path} is not what the table of keys makes; CASEMATE_BLESS=1 writes it anew");
    }

    #[test]
    fn reference_is_generated_from_the_table_of_keys() {
        is_in_the_repository("docs/reference.md", &spec::reference());
    }

    #[test]
    fn schema_is_generated_from_the_table_of_keys() {
        is_in_the_repository("docs/casemate.schema.json", &format!("{:#}\n", spec::schema()));
    }

    #[test]
    fn example_file_is_generated_from_the_table_of_keys() {
        is_in_the_repository("config/casemate.toml", &spec::example());
    }

    #[test]
    fn reference_fits_into_100_columns() {
        for line in spec::reference().lines() {
            let is_example = line.trim_start().starts_with('`') || line.contains("digest in the file");
            assert!(line.chars().count() <= 100 || is_example, "{line}");
        }
    }

    #[test]
    fn reference_has_every_key() {
        let text = spec::reference();
        for key in spec::keys() {
            let name = key.path.rsplit('.').next().unwrap().trim_end_matches("[]");
            let described = text.contains(&format!("- **`{name}`**: {}", key.meaning.split(' ').next().unwrap()));
            assert!(described, "{}", key.path);
        }
    }

    #[test]
    fn help_of_a_key_a_table_and_a_name_fits_into_80_columns() {
        let memory = spec::help("containers.web.resources.memory", 80).unwrap();
        assert!(memory.starts_with("  containers.NAME.resources.memory\n"), "{memory}");
        assert!(memory.contains("memory.max") && memory.contains("`\"256MiB\"`"), "{memory}");
        let resources = spec::help("containers.web.resources", 80).unwrap();
        assert!(resources.starts_with("[containers.NAME.resources]\n") && resources.contains("\n  pids\n"));
        assert_eq!(spec::help("containers.NAME.resources", 80).unwrap(), resources);
        assert_eq!(spec::help("memory_high", 80).unwrap().matches("memory.high").count(), 1);
        assert_eq!(spec::help("no_such_key", 80), None);
        assert_eq!(spec::help("containers.web.no_such_key", 80), None);
        assert_eq!(spec::nearest_key("containers.web.resources.memroy"), Some("memory"));
        assert_eq!(spec::nearest_key("no_such_key"), None);
        let whole = spec::help("", 80).unwrap();
        for line in whole.lines() {
            let fits = line.chars().count() <= 80 || line.trim_start().starts_with('`');
            assert!(fits, "{line}");
        }
        for key in spec::keys() {
            assert!(whole.contains(key.meaning.split(' ').next().unwrap()), "{}", key.path);
        }
    }
}

mod table {
    use super::*;

    #[test]
    fn keys_have_distinct_paths() {
        let keys = spec::keys();
        let paths: BTreeSet<&str> = keys.iter().map(|key| key.path.as_str()).collect();
        assert_eq!(paths.len(), keys.len());
        assert!(keys.len() > 100, "{}", keys.len());
    }

    #[test]
    fn keys_say_what_they_mean_and_what_holds_without_them() {
        for KeyInfo { path, value, default, meaning, effect, .. } in spec::keys() {
            assert!(!meaning.is_empty() && !meaning.ends_with('.') && !meaning.contains('\n'), "{path}: {meaning}");
            assert!(!value.is_empty(), "{path}");
            let is_table = value.contains("table") && !value.contains("table of");
            assert!(!default.is_empty() || is_table, "{path} has no default in words");
            assert!(!effect.ends_with('.'), "{path}: {effect}");
        }
    }

    #[test]
    fn words_from_strict_to_weak_are_words_of_their_key() {
        for key in spec::keys() {
            if let Widens::Words(words) = key.widens {
                assert!(words.iter().all(|word| key.value.contains(&format!("\"{word}\""))), "{}", key.path);
            }
        }
    }
}

mod schema {
    use super::json_schema::{errors, is_valid};
    use super::*;
    use serde_json::{Map, Value};

    fn json(value: &toml::Value) -> Value {
        match value {
            toml::Value::String(text) => text.clone().into(),
            toml::Value::Integer(number) => (*number).into(),
            toml::Value::Float(number) => (*number).into(),
            toml::Value::Boolean(truth) => (*truth).into(),
            toml::Value::Datetime(date) => date.to_string().into(),
            toml::Value::Array(elements) => elements.iter().map(json).collect(),
            toml::Value::Table(table) => table.iter().map(|(key, value)| (key.clone(), json(value))).collect(),
        }
    }

    /// The file as JSON; None where it is no TOML.
    fn read(text: &str) -> Option<Value> {
        toml::from_str::<toml::Value>(text).ok().map(|value| json(&value))
    }

    /// The JSON as a file, each key in a line of its own.
    fn written(value: &Value) -> String {
        fn one(value: &Value) -> String {
            match value {
                Value::Object(fields) => {
                    let pair = |(key, value): (&String, &Value)| format!("{key:?} = {}", one(value));
                    format!("{{ {} }}", fields.iter().map(pair).collect::<Vec<_>>().join(", "))
                }
                Value::Array(elements) => format!("[{}]", elements.iter().map(one).collect::<Vec<_>>().join(", ")),
                Value::String(text) if Date::new(2099, 12, 31).is_some_and(|date| date.to_string() == *text) => {
                    text.clone()
                }
                other => other.to_string(),
            }
        }
        let fields = value.as_object().unwrap().iter();
        fields.map(|(key, value)| format!("{key:?} = {}\n", one(value))).collect()
    }

    fn rules(text: &str) -> BTreeSet<&'static str> {
        let found = spec::parse(text, today()).map_or_else(|found| found, |(_, warnings)| warnings);
        found.into_iter().map(|finding| finding.rule).collect()
    }

    fn files(directory: &str) -> Vec<(String, String)> {
        let mut files: Vec<_> =
            fs::read_dir(repository().join(directory)).unwrap().map(|e| e.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|end| end == "toml"));
        files.sort();
        files.iter().map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect()
    }

    #[test]
    fn schema_accepts_every_shipped_file() {
        let schema = spec::schema();
        for (name, text) in files("config").into_iter().chain(files("src/spec/tests/spec")) {
            let is_good = name.ends_with("good.toml") || name.contains("config/");
            if !is_good || name.ends_with(".seccomp.toml") {
                continue;
            }
            let file = read(&text).unwrap();
            assert_eq!(errors(&schema, &file), [""; 0], "{name}");
        }
    }

    #[test]
    fn schema_refuses_every_file_that_breaks_keys_or_types() {
        let schema = spec::schema();
        let mut refused = 0;
        for (name, text) in files("src/spec/tests/spec") {
            let Some(file) = read(&text) else { continue };
            let broken = rules(&text);
            if ["unknown-key", "missing-key", "wrong-type", "word", "schema"].iter().any(|rule| broken.contains(rule)) {
                assert!(!is_valid(&schema, &file), "{name}");
                refused += 1;
            }
        }
        assert!(refused >= 8, "{refused}");
    }

    /// Calls a function with every copy of a file in which one table has one key more, one less, or one under another name.
    fn each_change(file: &Value, path: &str, put_back: &dyn Fn(Value) -> Value, call: &mut dyn FnMut(&str, &Value)) {
        if let Value::Object(fields) = file {
            let mut changes = vec![("no_such_key added".to_owned(), {
                let mut more = fields.clone();
                more.insert("no_such_key".to_owned(), 1.into());
                more
            })];
            for key in fields.keys() {
                let mut less: Map<String, Value> = fields.clone();
                let value = less.remove(key).unwrap();
                changes.push((format!("{key} removed"), less.clone()));
                less.insert(format!("{key}_x"), value);
                changes.push((format!("{key} renamed"), less));
            }
            for (change, fields) in changes {
                call(&format!("{path}: {change}"), &put_back(fields.into()));
            }
            for (key, inner) in fields {
                let put_back = |new: Value| {
                    let mut whole = fields.clone();
                    whole.insert(key.clone(), new);
                    put_back(whole.into())
                };
                each_change(inner, &format!("{path}.{key}"), &put_back, call);
            }
        } else if let Value::Array(elements) = file {
            for (number, inner) in elements.iter().enumerate() {
                let put_back = |new: Value| {
                    let mut whole = elements.clone();
                    whole[number] = new;
                    put_back(whole.into())
                };
                each_change(inner, &format!("{path}[{number}]"), &put_back, call);
            }
        }
    }

    #[test]
    fn schema_and_decoder_agree_on_the_keys_of_every_table() {
        let schema = spec::schema();
        let file = read(&spec::example()).unwrap();
        assert!(rules(&written(&file)).is_empty(), "{:?}", rules(&written(&file)));
        let mut accepted = 0;
        let mut refused = 0;
        each_change(&file, "", &|whole| whole, &mut |change, changed| {
            // The schema does not know which keys a `type` asks for.
            if change.contains(".volumes[") && change.ends_with("source removed") {
                return;
            }
            let broken = rules(&written(changed));
            // The names of sysctls and ulimits are keys for the schema and values with a rule of their own for the decoder.
            let keys = ["unknown-key", "missing-key", "wrong-type", "ulimit", "sysctl"];
            let decoder = !keys.iter().any(|rule| broken.contains(rule));
            assert_eq!(is_valid(&schema, changed), decoder, "{change}: {broken:?}");
            if decoder { accepted += 1 } else { refused += 1 }
        });
        assert!(accepted > 100 && refused > 150, "{accepted} accepted, {refused} refused");
    }
}

mod explain {
    use super::*;

    /// Whether a path of a file is one of a key: a name stands for any name, an element for its list.
    fn is_of(key: &str, path: &str) -> bool {
        let key: Vec<&str> = key.split('.').collect();
        let mut parts: Vec<String> = Vec::new();
        let mut quoted = false;
        let mut part = String::new();
        for c in path.chars() {
            match c {
                '"' => quoted = !quoted,
                '.' if !quoted => parts.push(std::mem::take(&mut part)),
                c => part.push(c),
            }
        }
        parts.push(part);
        let same = |(key, part): (&&str, &String)| match key.strip_suffix("[]") {
            Some(list) => part.split_once('[').is_some_and(|(name, _)| name == list),
            None => key == part || *key == "NAME" || key.starts_with("\"HOST"),
        };
        key.len() == parts.len() && key.iter().zip(&parts).all(same)
    }

    /// Paths of the example file that could be those of a key.
    fn candidates(key: &str) -> Vec<String> {
        let mut paths = vec![String::new()];
        for part in key.split('.') {
            let choices: Vec<String> = match part {
                "NAME" => ["db", "db-backup", "nofile"].map(str::to_owned).to_vec(),
                host if host.starts_with("\"HOST") => {
                    ["\"docker.io\"", "\"mirror.site.example\""].map(str::to_owned).to_vec()
                }
                list if list.ends_with("[]") => (0..3).map(|n| list.replace("[]", &format!("[{n}]"))).collect(),
                plain => vec![plain.to_owned()],
            };
            let join = |path: &String, choice: &String| {
                if path.is_empty() { choice.clone() } else { format!("{path}.{choice}") }
            };
            paths = paths.iter().flat_map(|path| choices.iter().map(move |choice| join(path, choice))).collect();
        }
        paths
    }

    #[test]
    fn explain_answers_for_every_key_of_the_table() {
        let spec = accepted(&spec::example());
        for key in spec::keys() {
            let explained: Vec<Explained> =
                candidates(&key.path).iter().filter_map(|path| spec.explain(path)).collect();
            // The names below [containers], [volumes] and [registries] are not values.
            let is_value = !key.value.contains("that the file names");
            let same = |e: &Explained| {
                (e.meaning, e.effect, e.widens, &e.default) == (key.meaning, key.effect, key.widens, &key.default)
            };
            assert!(explained.iter().all(same), "{}", key.path);
            let in_file = explained.iter().any(|e| matches!(e.origin, Origin::File(_)) && e.value.is_some());
            let shown = in_file || !is_value || key.path.starts_with("defaults.");
            assert!(shown, "{}: not set in config/casemate.toml, or not explained: {explained:?}", key.path);
            assert!(!explained.is_empty(), "{}", key.path);
        }
    }

    #[test]
    fn values_are_those_that_explain_gives() {
        let spec = accepted(&spec::example());
        let values = spec.values();
        assert!(values.len() > 150);
        let keys = spec::keys();
        for value in &values {
            assert_eq!(spec.explain(&value.path).as_ref(), Some(value), "{}", value.path);
            assert!(keys.iter().any(|key| is_of(&key.path, &value.path)), "{}", value.path);
        }
    }

    const FILE: &str = "\
schema = 1
[appliance]
name = \"a\"
[defaults]
stop_grace_period = \"3s\"
restart = { policy = \"always\", delay = \"2s\" }
security = { masked_paths = [\"/proc/b\"], landlock = { read = [\"/srv\"] } }
[containers.web]
image = \"docker.io/x@sha256:0000000000000000000000000000000000000000000000000000000000000000\"
user = \"7\"
restart = \"no\"
volumes = [{ type = \"tmpfs\", target = \"/t\", size = 1048576 }]
ulimits = { nofile = { soft = 1, hard = 2 }, core = 0 }
environment = { A = \"b\\\"c\" }
[containers.web.resources]
memory = 67108864
pids = 8
[containers.web.security]
masked_paths = [\"/proc/a\"]
";

    fn origin(path: &str) -> (Option<String>, Origin) {
        let explained = accepted(FILE).explain(path).unwrap_or_else(|| panic!("{path}"));
        assert_eq!(explained.path, path);
        (explained.value, explained.origin)
    }

    #[test]
    fn value_of_the_file_has_its_line_and_column() {
        let at = |line, column| Origin::File(Position { line, column });
        for (path, value, origin_wanted) in [
            ("containers.web.resources.memory", "\"64MiB\"", at(16, 10)),
            ("containers.web.user", "\"7:7\"", at(10, 8)),
            ("containers.web.restart.policy", "\"no\"", at(11, 11)),
            ("containers.web.restart", "\"no\"", at(11, 11)),
            ("containers.web.volumes[0].size", "\"1MiB\"", at(12, 52)),
            ("containers.web.ulimits.nofile.hard", "2", at(13, 41)),
            ("containers.web.ulimits.core", "0", at(13, 53)),
            ("containers.web.environment.A", "\"b\\\"c\"", at(14, 21)),
            ("defaults.stop_grace_period", "\"3s\"", at(5, 21)),
            ("defaults.restart.delay", "\"2s\"", at(6, 40)),
        ] {
            assert_eq!(origin(path), (Some(value.to_owned()), origin_wanted), "{path}");
        }
    }

    #[test]
    fn value_of_defaults_has_its_line_there() {
        let at = |line, column| Origin::Defaults(Position { line, column });
        assert_eq!(origin("containers.web.stop_grace_period"), (Some("\"3s\"".to_owned()), at(5, 21)));
        // Each key of `restart` is looked up by itself; `landlock` is one value.
        assert_eq!(origin("containers.web.restart.delay"), (Some("\"2s\"".to_owned()), at(6, 40)));
        assert_eq!(origin("containers.web.security.landlock.read"), (Some("[\"/srv\"]".to_owned()), at(7, 62)));
        let masked = origin("containers.web.security.masked_paths").0;
        assert_eq!(masked.as_deref(), Some("[\"/proc/a\", \"/proc/b\"]"), "entries of [defaults] are added");
    }

    #[test]
    fn value_left_out_is_built_in_or_the_images() {
        assert_eq!(origin("containers.web.resources.cpus"), (Some("1.0".to_owned()), Origin::BuiltIn));
        assert_eq!(origin("containers.web.hostname"), (Some("\"web\"".to_owned()), Origin::BuiltIn));
        assert_eq!(origin("containers.web.resources.memory_high"), (None, Origin::BuiltIn));
        assert_eq!(origin("store.keep"), (Some("2".to_owned()), Origin::BuiltIn));
        assert_eq!(origin("containers.web.command"), (None, Origin::Image));
        let spec = accepted(FILE);
        let command = spec.explain("containers.web.command").unwrap().with_image_value(Some("[\"sh\"]".to_owned()));
        assert_eq!((command.value.as_deref(), command.origin), (Some("[\"sh\"]"), Origin::Image));
        let user = spec.explain("containers.web.user").unwrap();
        assert_eq!(user.clone().with_image_value(Some("0".to_owned())), user, "the file is stronger");
    }

    #[test]
    fn path_without_a_key_has_no_answer() {
        let spec = accepted(FILE);
        for path in [
            "", ".", "x", "containers", "containers.", "containers.db", "containers.db.user", "containers.web.usr",
            "containers.web.volumes[1].size", "containers.web.volumes[x].size", "containers.web.user.uid",
            "containers.web[0]", "containers.web.volumes[0", "registries.\"docker.io", "containers.web.user ",
        ] {
            let group = matches!(path, "containers" | "containers.web");
            assert!(spec.explain(path).is_none() || group, "{path}: {:?}", spec.explain(path));
        }
    }

    /// A default that is written out means what the silent file means: text and value of each default are the same.
    #[test]
    fn every_default_written_out_changes_nothing() {
        let image = format!("docker.io/x@sha256:{:064}", 0);
        let silent = format!(
            "schema = 1\nappliance.name = \"a\"\ncontainers.a.image = \"{image}\"\ncontainers.a.user = \"7:7\"\n\
             containers.a.resources.memory = \"256MiB\"\ncontainers.a.resources.pids = 128\n"
        );
        let before = accepted(&silent);
        let mut written = 0;
        for value in before.values().iter().filter(|value| value.origin == Origin::BuiltIn) {
            let Some(default) = &value.value else { continue };
            // A table of `restart` states its policy.
            let in_restart = value.path.contains("restart.") && !value.path.ends_with(".policy");
            let table = value.path.rsplit_once('.').unwrap().0;
            let policy = if in_restart { format!("{table}.policy = \"on-failure\"\n") } else { String::new() };
            let text = format!("{silent}{} = {default}\n{policy}", value.path);
            let after = accepted(&text);
            assert_eq!(after.containers, before.containers, "{} = {default}", value.path);
            assert_eq!((&after.store, &after.policy, after.log), (&before.store, &before.policy, before.log));
            written += 1;
        }
        assert!(written > 35, "{written}");
    }
}
