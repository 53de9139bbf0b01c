//! What an earlier manager left running: attached where the job is the same, stopped where it is another or none.

use super::Error;
use super::container::{Container, Phase, Then};
use super::supervisor::{Supervisor, attach};
use casemate_client::ClientError;
use casemate_wire::{Reply, Request, State};
use std::time::Instant;

/// Goes through what the helper has.
pub fn adopt(supervisor: &mut Supervisor) -> Result<(), Error> {
    let containers = match supervisor.client.call(Request::Containers, &[]).map_err(Error::Helper)? {
        (Reply::Containers(containers), _) => containers,
        _ => return Err(Error::Helper(ClientError::Protocol("not the list of containers"))),
    };
    for found in containers {
        let known = supervisor.containers.iter().position(|container| container.name == found.name);
        let n = known.unwrap_or_else(|| {
            let stranger = Container::new(found.name.clone(), None, Instant::now());
            supervisor.containers.push(stranger);
            supervisor.containers.len() - 1
        });
        let exited = match found.state {
            State::Running => None,
            State::Exited(exit) => Some(exit),
        };
        let request = Request::Attach(found.name.clone());
        let descriptors = match supervisor.client.call(request, &[]).map_err(Error::Helper)? {
            (Reply::Attached, descriptors) => descriptors,
            _ => return Err(Error::Helper(ClientError::Protocol("not the answer to an attach"))),
        };
        let Some(container) = supervisor.containers.get_mut(n) else { continue };
        let (mut live, complaint) =
            attach(&supervisor.directories, &supervisor.glass, container, descriptors, found.started, exited)?;
        let same = container.order.as_ref().is_some_and(|order| order.job.digest == found.digest);
        let wanted = container.order.is_some();
        live.outdated = !same;
        (container.live, container.phase) = (Some(live), Phase::Running);
        let note = match (same, wanted) {
            (true, _) => "taken over",
            (false, true) => "changed: stopped and started anew",
            (false, false) => "not in the file any more: stopped",
        };
        log::info!(container:% = found.name; "{note}");
        if let Some(complaint) = complaint {
            log::warn!(container:% = found.name; "{complaint}");
        }
        let host = container.order.as_ref().and_then(|order| order.host.clone());
        supervisor.show.send_on(&found.name, host);
        if !same {
            supervisor.stop(n, if wanted { Then::Start } else { Then::Rest })?;
        }
    }
    Ok(())
}
