//! What a container notices of another whose image of 200 MB is proven and started again and again: how late a line that it writes every
//! 20 ms is taken from its pipe, and the slowest of 1,000 `ps`; beside the same while nothing is started.

use crate::failure::{Failure, Result, Step};
use crate::instance::{self, Instance};
use crate::layout::Content;
use crate::measure::Samples;
use crate::payload::{self, PROGRAM, TICKS};
use crate::records::{self, between};
use crate::rows::{Row, Side, name};
use crate::service::Service;
use casemate_engine::control::Request;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;
const BYTES_OF_EACH: u64 = 70 << 20;
const REQUESTS: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(5);

/// The two rows, and how often the other container was started.
pub fn rows(work: &Path, root: &Path) -> Result<(Vec<Row>, String)> {
    let instance = Instance::new(work, "neighbour")?;
    Content::of_this_machine(BYTES_OF_EACH)?.copy_to(root)?;
    let pin = instance.pack(root)?;
    let mut text = String::from(instance::HEAD) + "\n[store]\nverify = \"start\"\n";
    text += &instance::container("neighbour", 1, &pin, &[PROGRAM, TICKS], "");
    text += &instance::container("other", 2, &pin, &["/bin/true"], "");
    let file = instance.write("casemate.toml", &text)?;
    let mut service = Service::start(&instance, "neighbour")?;
    service.up(&file)?;
    let mut busy = Sides::default();
    let mut quiet = Sides::default();
    let mut starts = 0;
    for round in 0..ROUNDS {
        // Busy and quiet in turn, the other way round in every second round.
        for is_busy in [round % 2 == 0, round % 2 == 1] {
            let (began, slowest) = if is_busy {
                let (count, began, slowest) = while_proving(&service)?;
                starts += count;
                (began, slowest)
            } else {
                requests(&service)?
            };
            let delay = longest_delay(&instance, began)?;
            let sides = if is_busy { &mut busy } else { &mut quiet };
            sides.delays.push(delay);
            sides.requests.push(slowest);
        }
    }
    service.down()?;
    let row = |name, ours, peer| {
        let side = |values| Side::from(&Samples::new(values));
        Row { name, ours: side(ours), peer: side(peer), peer_name: name::QUIET, unit: "ms" }
    };
    let rows = vec![
        row(name::NEIGHBOUR_LOG, busy.delays, quiet.delays),
        row(name::NEIGHBOUR_PS, busy.requests, quiet.requests),
    ];
    let line = format!("while the image was proven in a loop: {starts} starts in {ROUNDS} rounds of {REQUESTS} ps\n");
    Ok((rows, line))
}

/// Milliseconds of each round.
#[derive(Debug, Default)]
struct Sides {
    delays: Vec<f64>,
    requests: Vec<f64>,
}

/// As [`requests`], while the other container is proven and started without a pause; how often it was.
fn while_proving(service: &Service<'_>) -> Result<(u32, u128, f64)> {
    let done = AtomicBool::new(false);
    let restart = || -> Result<u32> {
        let mut starts = 0;
        while !done.load(Ordering::Relaxed) {
            service.ask(&Request::Restart { names: vec!["other".to_owned()] })?;
            starts += 1;
        }
        Ok(starts)
    };
    std::thread::scope(|scope| {
        let starts = scope.spawn(restart);
        let measured = requests(service);
        done.store(true, Ordering::Relaxed);
        let starts = starts.join().map_err(|_| Failure::new("start again and again", "the thread panicked"))??;
        let (began, slowest) = measured?;
        Ok((starts, began, slowest))
    })
}

/// When it began, and the slowest of so many `ps` in milliseconds.
fn requests(service: &Service<'_>) -> Result<(u128, f64)> {
    let began = payload::now();
    let mut slowest = Duration::ZERO;
    for _ in 0..REQUESTS {
        let next = Instant::now() + PAUSE;
        slowest = slowest.max(service.ask(&Request::Ps {})?);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok((began, slowest.as_secs_f64() * 1e3))
}

/// The longest time, in milliseconds, that a line which was written since then has waited for its record.
fn longest_delay(instance: &Instance, since: u128) -> Result<f64> {
    const DAY: u128 = 86_400_000_000_000;
    let log = records::read(&instance.state().join("logs/neighbour"))?;
    let mut longest = None;
    for record in records::parse(&log) {
        let written: u128 = record.text.parse().step("read a line of the neighbour")?;
        if written >= since {
            longest = longest.max(Some(between((written % DAY) as f64, record.time).to_bits()));
        }
    }
    let longest = longest.ok_or_else(|| Failure::new("read the neighbour's log", "it has no line of this time"))?;
    Ok(f64::from_bits(longest) / 1e6)
}
