//! `logging.driver = "journald"`: the connection to the host's journal, and whose lines go there.

use super::file::File;
use super::{Code, Error};
use crate::logs::Journald;
use crate::logs::journald::{Origin, SOCKET};
use crate::spec::{ContainerSpec, LogDriver, Spec};
use crate::supervise::revisions;
use casemate_wire::Name;
use std::collections::BTreeMap;
use std::path::Path;

/// Connects where a container of the file needs it; before this process shuts itself in.
pub fn connect(spec: &Spec) -> Result<Option<Journald>, Error> {
    let Some(first) = wanted(spec).next() else { return Ok(None) };
    let failed = |errno| {
        let object = format!("container `{}`: logging: {SOCKET}", first.name);
        Error::new(Code::NotEnforceable, object, "connect", errno)
            .remedy("write driver = \"file\" for a host without journald")
    };
    Journald::connect(Path::new(SOCKET)).map(Some).map_err(failed)
}

/// What the journal is told of each container whose lines it gets.
pub fn origins(file: &File) -> BTreeMap<Name, Origin> {
    let revision = revisions::revision(&file.text).to_string();
    let origin = |container: &ContainerSpec| Origin {
        container: container.name.to_string(),
        revision: revision.clone(),
        image: container.image.digest.to_string(),
    };
    wanted(&file.spec).map(|container| (container.name.clone(), origin(container))).collect()
}

fn wanted(spec: &Spec) -> impl Iterator<Item = &ContainerSpec> {
    spec.containers.iter().filter(|container| container.logging.driver == LogDriver::Journald)
}
