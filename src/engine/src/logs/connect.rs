//! `logging.driver` and `appliance.log`: the connections to the host's logs, and whose lines go there.

use super::forwarder::{Forwarder, HostLog, Origin};
use casemate_error::{Code, Error};
use casemate_spec::{ContainerSpec, LogDriver, ManagerLog, Spec};
use casemate_wire::{Digest, Name};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Connects to the logs that containers of the file need, but for those that are connected.
pub fn connect(spec: &Spec, connected: &[HostLog]) -> Result<BTreeMap<HostLog, Forwarder>, Error> {
    let mut forwarders = BTreeMap::new();
    for (container, log) in needed(spec).filter(|(_, log)| !connected.contains(log)) {
        let failed = |errno| {
            let object = format!("container `{}`: logging: {}", container.name, log.socket());
            Error::new(Code::NotEnforceable, object, "connect", errno)
                .remedy("write driver = \"file\" for a host where no such log listens")
        };
        if let Entry::Vacant(place) = forwarders.entry(log) {
            place.insert(Forwarder::connect(log).map_err(failed)?);
        }
    }
    Ok(forwarders)
}

/// The log of the host that the manager's own log goes to.
pub fn own_host_log(spec: &Spec) -> Option<HostLog> {
    match spec.log {
        ManagerLog::Stderr => None,
        ManagerLog::Journald => Some(HostLog::Journald),
        ManagerLog::Syslog => Some(HostLog::Syslog),
    }
}

/// Connects to it.
pub fn connect_own(spec: &Spec) -> Result<Option<Forwarder>, Error> {
    let Some(log) = own_host_log(spec) else { return Ok(None) };
    let failed = |errno| {
        Error::new(Code::NotEnforceable, format!("appliance: log: {}", log.socket()), "connect", errno)
            .remedy("write log = \"stderr\" for a host where no such log listens")
    };
    Forwarder::connect(log).map(Some).map_err(failed)
}

/// What identifies each container whose lines go to a log of the host, and the log; `revision` is the digest of the file's text.
pub fn origins(spec: &Spec, revision: &Digest) -> BTreeMap<Name, (HostLog, Origin)> {
    let origin = |container: &ContainerSpec| Origin {
        container: container.name.to_string(),
        revision: revision.to_string(),
        image: container.image.digest.to_string(),
    };
    needed(spec).map(|(container, log)| (container.name.clone(), (log, origin(container)))).collect()
}

fn needed(spec: &Spec) -> impl Iterator<Item = (&ContainerSpec, HostLog)> {
    spec.containers.iter().filter_map(|container| {
        let log = match container.logging.driver {
            LogDriver::File => None,
            LogDriver::Journald => Some(HostLog::Journald),
            LogDriver::Syslog => Some(HostLog::Syslog),
        };
        Some((container, log?))
    })
}
