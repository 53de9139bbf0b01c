//! 1,000 containers of one file under a service manager: start, memory, `ps`, reload of one changed line and `down`, each divided by
//! the number of containers and beside the same with 100. What grows faster than the number of containers has a ratio above 1.

use crate::failure::Result;
use crate::instance::{self, Instance};
use crate::measure::Samples;
use crate::rows::{Row, Side, name};
use crate::running::PAYLOAD;
use crate::service::Service;
use casemate_engine::control::Request;
use std::path::{Path, PathBuf};

const COUNTS: [u32; 2] = [1000, 100];
const ROUNDS: usize = 3;
/// Requests of a round, of which the median counts.
const REPEATS: usize = 11;
/// Names, units, and how many of the unit are one of what is measured.
const FIGURES: [(&str, &str, f64); 5] = [
    (name::THOUSAND_START, "ms", 1.0),
    (name::THOUSAND_MEMORY, "KiB", 1.0),
    (name::THOUSAND_PS, "us", 1e3),
    (name::THOUSAND_RELOAD, "us", 1e3),
    (name::THOUSAND_DOWN, "ms", 1.0),
];

/// The five rows.
pub fn rows(work: &Path, root: &Path) -> Result<Vec<Row>> {
    let mut values: [[Vec<f64>; FIGURES.len()]; COUNTS.len()] = Default::default();
    let instances = COUNTS.map(|count| Instance::new(work, &format!("of-{count}")));
    let mut services = Vec::new();
    for (count, instance) in COUNTS.into_iter().zip(&instances) {
        let instance = instance.as_ref().map_err(Clone::clone)?;
        let pin = instance.pack(root)?;
        let service = Service::start(instance, &format!("of-{count}"))?;
        services.push(Subject { count, instance, pin, service });
    }
    for round in 0..ROUNDS {
        let mut order: Vec<_> = services.iter_mut().zip(&mut values).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (subject, values) in order {
            let measured = subject.round()?;
            for ((value, values), (.., factor)) in measured.into_iter().zip(values).zip(FIGURES) {
                values.push(value * factor / f64::from(subject.count));
            }
        }
    }
    let [thousand, hundred] = values.map(|figures| figures.map(|values| Side::from(&Samples::new(values))));
    let rows = FIGURES.into_iter().zip(thousand.into_iter().zip(hundred));
    let row = |((name, unit, _), (ours, peer))| Row { name, ours, peer, peer_name: name::HUNDRED, unit };
    Ok(rows.map(row).collect())
}

/// An instance with so many containers.
struct Subject<'a> {
    count: u32,
    instance: &'a Instance,
    pin: String,
    service: Service<'a>,
}

impl Subject<'_> {
    /// One value for each of [`FIGURES`]; times in milliseconds.
    fn round(&mut self) -> Result<[f64; FIGURES.len()]> {
        let start = self.service.up(&self.file("")?)?.as_secs_f64() * 1e3;
        self.service.expect_all_running()?;
        let memory = self.service.memory()?;
        let mut lists = Vec::new();
        let mut reloads = Vec::new();
        for repeat in 0..REPEATS {
            lists.push(self.service.ask(&Request::Ps {})?.as_secs_f64() * 1e3);
            self.file(&format!("environment = {{ REPEAT = \"{repeat}\" }}\n"))?;
            reloads.push(self.service.ask(&Request::Reload {})?.as_secs_f64() * 1e3);
        }
        let down = self.service.down()?.as_secs_f64() * 1e3;
        Ok([start, memory, Samples::new(lists).median(), Samples::new(reloads).median(), down])
    }

    /// The file, with these lines for the container in the middle. An init is in each, which a stop signal ends.
    fn file(&self, lines: &str) -> Result<PathBuf> {
        let mut text = String::from(instance::HEAD);
        for number in 1..=self.count {
            let lines = if number == self.count / 2 { lines } else { "" };
            let keys = format!("init = true\n{lines}");
            text.push_str(&instance::container(&format!("c{number}"), number, &self.pin, &PAYLOAD, &keys));
        }
        self.instance.write("casemate.toml", &text)
    }
}
