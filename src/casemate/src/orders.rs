//! From a file that is in order to orders for the supervisor: what the plan needs of the host, every container planned, every
//! layer there, before anything is started or stopped. All that is wrong comes back at once.

use super::file::File;
use super::image::progress::progress;
use super::{Code, Error, host_log};
use casemate_client::Client;
use casemate_engine::launch::Session;
use casemate_engine::logs::Bounds;
use casemate_engine::plan::{self, Machine, Outside};
use casemate_engine::supervise::Order;
use casemate_image::{self as image, Image, Limits, Store, Using, unpack_missing};
use casemate_spec::{self as spec, Verify};
use casemate_sys::signal;
use casemate_wire::Facts;
use std::io::Write;
use std::path::Path;

/// What every file of this instance is planned on.
pub struct Ground<'a> {
    pub machine: &'a Machine,
    pub facts: &'a Facts,
    pub session: &'a Session,
}

impl Ground<'_> {
    fn store(&self) -> Result<Store, image::Error> {
        let directories = &self.session.directories;
        Store::open_with(&directories.state, directories.preloaded())
    }
}

/// What the plan needs of the host besides.
pub fn outside(file: &File, machine: &Machine) -> Result<Vec<Outside>, Vec<Error>> {
    let directory = file.path.parent().unwrap_or(Path::new("."));
    let read = |container| Outside::read(container, directory, machine).map_err(Error::from);
    all(file.spec.containers.iter().map(read))
}

/// Every container planned, every layer unpacked. Until the file is applied, what comes with the orders keeps the images there.
pub fn ready(
    file: &File,
    outside: &[Outside],
    client: &mut Client,
    ground: &Ground<'_>,
) -> Result<(Vec<Order>, Using), Vec<Error>> {
    let store = ground.store().map_err(one)?;
    let using =
        image::using(client, &store, || log::info!("waiting for a process that removes images")).map_err(one)?;
    let (orders, mut images) = planned(file, outside, ground)?;
    images.sort_by_key(|image| image.manifest);
    images.dedup_by_key(|image| image.manifest);
    for image in images {
        let failed = |error: image::Error| vec![error.about_image(image.names.first().map(String::as_str))];
        unpack_missing(client, &store, &image, &Limits::default(), progress().as_mut()).map_err(failed)?;
    }
    Ok((orders, using))
}

/// What is to be started, and from which images.
pub fn planned(file: &File, outside: &[Outside], ground: &Ground<'_>) -> Result<(Vec<Order>, Vec<Image>), Vec<Error>> {
    let store = ground.store().map_err(one)?;
    let mut origins = host_log::origins(file);
    let planned = file.spec.containers.iter().zip(outside).map(|(container, outside)| {
        let name = container.image.to_string();
        let unresolved = |error: image::Error| {
            error.about_image(Some(&name)).about(format_args!("container `{}`: {name}", container.name))
        };
        let image = store.resolve(&container.image.digest).map_err(unresolved)?;
        let job = plan::job(&file.spec, container, &image, ground.facts, outside)?;
        let image_signal = image.config.stop_signal.as_deref().and_then(spec::signal);
        let order = Order {
            job,
            prove_layers: file.spec.store.verify == Verify::Start,
            restart: container.restart,
            stop_signal: container.stop_signal.or(image_signal).unwrap_or(signal::TERM),
            grace: container.stop_grace_period,
            bounds: Bounds { size: container.logging.max_size.bytes(), count: container.logging.max_file.into() },
            host: origins.remove(&container.name),
            image: name,
        };
        Ok((order, image))
    });
    Ok(all(planned)?.into_iter().unzip())
}

/// Tells all of them but the last, which the verb ends with.
pub fn tell(file: &File, mut errors: Vec<Error>) -> Error {
    let last = errors.pop();
    for error in errors {
        let _ = writeln!(std::io::stderr(), "casemate: {error}");
    }
    last.unwrap_or_else(|| Error::new(Code::Failed, file.path.display(), "plan", "refused"))
}

fn one(error: impl Into<Error>) -> Vec<Error> {
    vec![error.into()]
}

/// The good ones if there are no others.
fn all<T>(outcomes: impl Iterator<Item = Result<T, Error>>) -> Result<Vec<T>, Vec<Error>> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(value) => good.push(value),
            Err(error) => bad.push(error),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad) }
}
