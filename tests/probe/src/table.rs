//! The report as a table that a person understands: 80 columns, one question a line, what is open stands out.

use crate::report::Report;
use std::collections::BTreeMap;
use std::fmt::Write;

const WIDTH: usize = 80;
const LABEL: usize = 20;

/// Renders the table; ends without a newline.
pub fn render(report: &Report) -> String {
    let mut table = Table::default();
    table.heading(&format!("What {} sees of its sandbox", report.surroundings.hostname));
    who(&mut table, report);
    table.heading("What the kernel answers");
    kernel(&mut table, report);
    table.heading("What is there");
    things(&mut table, report);
    table.text.trim_end().to_owned()
}

fn who(table: &mut Table, report: &Report) {
    let id = &report.identity;
    let three = |ids: &[u32; 3]| match ids {
        [real, effective, saved] if real == effective && effective == saved => real.to_string(),
        [real, effective, saved] => format!("{real} (effective {effective}, saved {saved})"),
    };
    let groups = match id.groups.as_slice() {
        [] => "no other group".to_owned(),
        more => format!("groups {more:?}"),
    };
    table.row("user", &format!("{}, group {}, {groups}", three(&id.uid), three(&id.gid)));
    let map = id.uid_map.iter().map(|[inside, _, count]| match count {
        1 => format!("{inside} alone"),
        _ => format!("{inside} and {} more", count - 1),
    });
    table.row("ids that exist", &map.collect::<Vec<_>>().join(", "));
    let sets = &id.capabilities;
    let held: Vec<&str> = [
        ("inheritable", &sets.inheritable),
        ("permitted", &sets.permitted),
        ("effective", &sets.effective),
        ("bounding", &sets.bounding),
        ("ambient", &sets.ambient),
    ]
    .into_iter()
    .filter(|(_, set)| set.bytes().any(|digit| digit != b'0'))
    .map(|(name, _)| name)
    .collect();
    table.row(
        "capabilities",
        &if held.is_empty() { "none, in all five sets".to_owned() } else { format!("in {}", held.join(", ")) },
    );
    let gain = if id.no_new_privs { "nothing: no_new_privs is on" } else { "OPEN: no_new_privs is off" };
    table.row("exec can gain", gain);
    let attempts = &report.surroundings.attempts;
    for (name, answer) in attempts.iter().filter(|(name, _)| name.starts_with("become")) {
        table.row(name, answer);
    }
}

fn kernel(table: &mut Table, report: &Report) {
    let id = &report.identity;
    table.row("seccomp", &format!("mode {}, {} filters", id.seccomp_mode, id.seccomp_filters));
    let (open, refused) = split(&report.calls);
    table.row("forbidden calls", &format!("{} tried: {}", report.calls.len(), tally(&refused)));
    table.row("still open", &or_none(&open));
    let (open, refused) = split(&report.sockets);
    table.row("sockets", &format!("{} tried: {}", report.sockets.len(), tally(&refused)));
    table.row("sockets to be had", &or_none(&open));
    table.row("landlock", &format!("ABI or answer: {}", report.surroundings.landlock));
}

fn things(table: &mut Table, report: &Report) {
    let mounts = report.mounts.iter().map(|mount| {
        let read_only = if mount.options.iter().any(|option| option == "ro") { " (ro)" } else { "" };
        format!("{}{read_only}", mount.target)
    });
    table.row("mounts", &or_none(&mounts.collect::<Vec<_>>()));
    let descriptors = report.descriptors.iter().map(|d| format!("{} {}", d.number, d.target));
    table.row("descriptors", &or_none(&descriptors.collect::<Vec<_>>()));
    table.row("interfaces", &or_none(&report.procfs.interfaces));
    let processes: Vec<String> = report.procfs.processes.iter().map(ToString::to_string).collect();
    table.row("processes", &or_none(&processes));
    let entries: Vec<&str> = report.procfs.entries.keys().map(String::as_str).collect();
    table.row("in /proc besides", &or_none(&entries));
    let readable = report.procfs.sensitive.iter().filter(|(_, answer)| answer.ends_with("bytes"));
    table.row("sensitive files", &or_none(&readable.map(|(path, _)| path.as_str()).collect::<Vec<_>>()));
    let devices: Vec<&str> = report.surroundings.dev.keys().map(String::as_str).collect();
    table.row("in /dev", &or_none(&devices));
    let writable = &report.writable;
    table.row("writable", &or_none(&writable.directories));
    table.row("writable files", &or_none(&writable.files));
    let scanned = format!("{} entries looked at", writable.entries);
    table.row("writable in /proc", &format!("{} ({scanned})", or_none(&writable.proc)));
    let limits = ["nofile", "nproc", "core"].map(|name| {
        let soft = report.limits.get(name).map_or("unknown", |(soft, _)| soft);
        format!("{name} {soft}")
    });
    table.row("limits", &limits.join(", "));
    table.row("environment", &report.surroundings.environment.join(" "));
}

/// Names that worked, and the answers of those that did not.
fn split(answers: &BTreeMap<String, String>) -> (Vec<&str>, Vec<&str>) {
    let (open, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|(_, answer)| *answer == "worked");
    (open.iter().map(|(name, _)| name.as_str()).collect(), refused.iter().map(|(_, a)| a.as_str()).collect())
}

fn tally(answers: &[&str]) -> String {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in answers {
        *count.entry(answer).or_default() += 1;
    }
    let words: Vec<String> = count.iter().map(|(answer, count)| format!("{count} {answer}")).collect();
    words.join(", ")
}

/// More names than this say nothing to a person.
const MOST_NAMES: usize = 24;

fn or_none<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<&str> = names.iter().take(MOST_NAMES).map(AsRef::as_ref).collect();
    match names.len() {
        0 => "none".to_owned(),
        count if count > MOST_NAMES => format!("{}, and {} more", shown.join(", "), count - MOST_NAMES),
        _ => shown.join(", "),
    }
}

#[derive(Default)]
struct Table {
    text: String,
}

impl Table {
    fn heading(&mut self, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "\n{text}\n{}", "-".repeat(WIDTH));
    }

    fn row(&mut self, label: &str, value: &str) {
        let mut label = label;
        for line in wrap(value, WIDTH - LABEL - 1) {
            let _ = writeln!(self.text, "{label:<LABEL$} {line}");
            label = "";
        }
    }
}

/// Lines of at most `width` characters, broken at blanks where there are any.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        if !line.is_empty() && line.chars().count() + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
        }
        while word.len() > width {
            let rest = word.split_off(width);
            lines.push(word.into_iter().collect());
            word = rest;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let text = render(&crate::report::gather());
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert!(text.contains("What the kernel answers"), "{text}");
    }

    #[test]
    fn long_words_are_broken_and_short_ones_are_not() {
        assert_eq!(wrap("ab cd efghij", 5), ["ab cd", "efghi", "j"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
