//! `systemctl reload casemate`: the file is read again by a manager that has shut itself in, and applied as a whole or not at all.

use super::file::{Faulty, File};
use super::orders::{self, Ground};
use super::{Code, Error, host_log, preloaded};
use casemate_engine::logs::{Host, Kind, own};
use casemate_engine::supervise::{self, Attendance, Order, revisions};
use std::collections::BTreeMap;
use std::path::Path;

/// What the file asks for now, with nothing missing.
struct Next {
    revision: String,
    orders: Vec<Order>,
    hosts: BTreeMap<Kind, Host>,
    own: Option<Option<Host>>,
}

/// Reads and applies, or says everything that is wrong and leaves all as it was. Fails when supervising has.
pub fn reload(attendance: &mut Attendance, path: &Path, ground: &Ground<'_>) -> Result<(), supervise::Error> {
    attendance.reloading();
    log::info!("reads {} again", path.display());
    match next(attendance, path, ground) {
        Ok(next) => {
            if let Some(host) = next.own {
                own::open(host, false);
            }
            attendance.show().connect(next.hosts);
            log::info!("applies {} of {}", next.revision, path.display());
            attendance.apply(next.orders)
        }
        Err(errors) => {
            errors.iter().for_each(|error| log::error!("{error}"));
            log::error!("{}: not applied: everything goes on as it was", path.display());
            let code = errors.first().map_or(Code::Failed, Error::code);
            attendance.refuse_reload(&summary(&errors), code);
            Ok(())
        }
    }
}

/// What whoever asked is told: the first error, and that there are more.
fn summary(errors: &[Error]) -> String {
    let first = errors.first().map(ToString::to_string).unwrap_or_default();
    match errors.len() {
        0 | 1 => first,
        count => format!("{first}; and {} more, which the manager's log has", count - 1),
    }
}

/// Nothing is changed but for layers and the revision, which are kept for it.
fn next(attendance: &mut Attendance, path: &Path, ground: &Ground<'_>) -> Result<Next, Vec<Error>> {
    let state = &ground.session.directories.state;
    let elsewhere = |error: Error| vec![error.remedy(RESTART)];
    let file = File::read(path, Some(state)).map_err(elsewhere)?.map_err(Faulty::errors)?;
    file.words().iter().for_each(|word| log::warn!("{word}"));
    if preloaded(&file.spec.store) != ground.session.directories.preloaded() {
        let error = Error::new(Code::Failed, file.path.display(), "reload", "`store.preload` is another");
        return Err(vec![error.remedy("a reload does not open other stores: systemctl restart casemate.service")]);
    }
    let outside = orders::outside(&file, ground.machine)?;
    let hosts = host_log::connect(&file.spec, |kind| attendance.show().has(kind)).map_err(elsewhere)?;
    let own = match host_log::own_kind(&file.spec) {
        kind if kind == own::kind() => None,
        _ => Some(host_log::own(&file.spec).map_err(elsewhere)?),
    };
    let (orders, using) = orders::ready(&file, &outside, attendance.client(), ground)?;
    let kept = revisions::apply(state, &file.text, file.spec.store.keep);
    drop(using);
    let failed = |error| Error::new(Code::Failed, state.join("revisions").display(), "keep the file", error);
    kept.map_err(|error| vec![failed(error)])?;
    Ok(Next { revision: revisions::revision(&file.text).to_string(), orders, hosts, own })
}

const RESTART: &str =
    "a reload reaches what lies in the directory of the file; for all else: systemctl restart casemate.service";
