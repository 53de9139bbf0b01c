//! `logging.driver` and `appliance.log`: the connections to the host's logs, and whose lines go there.

use super::file::File;
use super::{Code, Error};
use casemate_engine::logs::{Host, Kind, Origin};
use casemate_engine::supervise::revisions;
use casemate_spec::{ContainerSpec, LogDriver, ManagerLog, Spec};
use casemate_wire::Name;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Connects to what containers of the file need and is not there.
pub fn connect(spec: &Spec, mut is_there: impl FnMut(Kind) -> bool) -> Result<BTreeMap<Kind, Host>, Error> {
    let mut hosts = BTreeMap::new();
    for (container, kind) in wanted(spec).filter(|(_, kind)| !is_there(*kind)) {
        let failed = |errno| {
            let object = format!("container `{}`: logging: {}", container.name, kind.socket());
            Error::new(Code::NotEnforceable, object, "connect", errno)
                .remedy("write driver = \"file\" for a host where nobody listens there")
        };
        if let Entry::Vacant(place) = hosts.entry(kind) {
            place.insert(Host::connect(kind).map_err(failed)?);
        }
    }
    Ok(hosts)
}

/// Which log of the host casemate's own log goes to.
pub fn own_kind(spec: &Spec) -> Option<Kind> {
    match spec.log {
        ManagerLog::Stderr => None,
        ManagerLog::Journald => Some(Kind::Journald),
        ManagerLog::Syslog => Some(Kind::Syslog),
    }
}

/// The same, connected.
pub fn own(spec: &Spec) -> Result<Option<Host>, Error> {
    let Some(kind) = own_kind(spec) else { return Ok(None) };
    let failed = |errno| {
        Error::new(Code::NotEnforceable, format!("appliance: log: {}", kind.socket()), "connect", errno)
            .remedy("write log = \"stderr\" for a host where nobody listens there")
    };
    Host::connect(kind).map(Some).map_err(failed)
}

/// What a log of the host is told of each container whose lines it gets.
pub fn origins(file: &File) -> BTreeMap<Name, (Kind, Origin)> {
    let revision = revisions::revision(&file.text).to_string();
    let origin = |container: &ContainerSpec| Origin {
        container: container.name.to_string(),
        revision: revision.clone(),
        image: container.image.digest.to_string(),
    };
    wanted(&file.spec).map(|(container, kind)| (container.name.clone(), (kind, origin(container)))).collect()
}

fn wanted(spec: &Spec) -> impl Iterator<Item = (&ContainerSpec, Kind)> {
    spec.containers.iter().filter_map(|container| {
        let kind = match container.logging.driver {
            LogDriver::File => None,
            LogDriver::Journald => Some(Kind::Journald),
            LogDriver::Syslog => Some(Kind::Syslog),
        };
        Some((container, kind?))
    })
}
