//! `logging.driver` and `appliance.log`: connections to host logs, and the containers whose lines go there.

use super::forwarder::{Forwarder, HostLog, Origin};
use casemate_error::{Code, Error};
use casemate_spec::{ContainerSpec, LogDriver, ManagerLog, Spec};
use casemate_wire::{Digest, Name};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Connects to the host logs that containers of the file use, except those already connected.
pub fn connect_host_logs(spec: &Spec, connected: &[HostLog]) -> Result<BTreeMap<HostLog, Forwarder>, Error> {
    let mut forwarders = BTreeMap::new();
    for (container, log) in host_log_of_containers(spec).filter(|(_, log)| !connected.contains(log)) {
        let failed = |errno| {
            let object = format!("container `{}`: logging: {}", container.name, log.socket());
            Error::new(Code::NotEnforceable, object, "connect", errno)
                .remedy("write driver = \"file\" for a host without this log")
        };
        if let Entry::Vacant(place) = forwarders.entry(log) {
            place.insert(Forwarder::connect(log).map_err(failed)?);
        }
    }
    Ok(forwarders)
}

/// The host log of the manager's own log.
pub fn host_log_of_manager(spec: &Spec) -> Option<HostLog> {
    match spec.log {
        ManagerLog::Stderr => None,
        ManagerLog::Journald => Some(HostLog::Journald),
        ManagerLog::Syslog => Some(HostLog::Syslog),
    }
}

/// Connects to the host log of the manager's own log.
pub fn connect_manager_log(spec: &Spec) -> Result<Option<Forwarder>, Error> {
    let Some(log) = host_log_of_manager(spec) else { return Ok(None) };
    let failed = |errno| {
        Error::new(Code::NotEnforceable, format!("appliance: log: {}", log.socket()), "connect", errno)
            .remedy("write log = \"stderr\" for a host without this log")
    };
    Forwarder::connect(log).map(Some).map_err(failed)
}

/// The host log of each container that has one, and the fields that identify the container there; `revision`: the digest of the file.
pub fn origins(spec: &Spec, revision: &Digest) -> BTreeMap<Name, (HostLog, Origin)> {
    let origin = |container: &ContainerSpec| Origin {
        container: container.name.to_string(),
        revision: revision.to_string(),
        image: container.image.digest.to_string(),
    };
    host_log_of_containers(spec).map(|(container, log)| (container.name.clone(), (log, origin(container)))).collect()
}

fn host_log_of_containers(spec: &Spec) -> impl Iterator<Item = (&ContainerSpec, HostLog)> {
    spec.containers.iter().filter_map(|container| {
        let log = match container.logging.driver {
            LogDriver::File => None,
            LogDriver::Journald => Some(HostLog::Journald),
            LogDriver::Syslog => Some(HostLog::Syslog),
        };
        Some((container, log?))
    })
}
