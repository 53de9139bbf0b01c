//! From the caller's identity to the manager's: directories, identities, locks, the helper in its cgroups.
//!
//! [`enter`] tells the story. As root it uses what root may do once, and has given it up for good when it returns; as an
//! ordinary user it does the same without the parts that need root. May be relied on afterwards: this process is the
//! manager's user without capabilities, every directory has its owner, and the helper, if one was asked for, listens.

mod delegate;
mod directories;
mod error;
mod fence;
pub mod fetch;
pub mod fetch_stage;
pub mod helper_stage;
mod hierarchies;
mod identity;
mod lock;
mod preload;
mod privilege;
mod spawn;
pub mod start_stage;
mod units;
mod walk;

pub use directories::Directories;
pub use error::Error;
pub use identity::{Identities, Ids, Range};

use casemate_client::{Client, Error as ClientError};
use casemate_wire::Request;
use lock::Lock;
use rustix::fd::OwnedFd;
use spawn::Helper;
use std::path::{Path, PathBuf};
use units::{Service, Units};

/// What the caller is going to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Read and write the store, without the helper.
    Store,
    /// Have the helper do something, beside a supervisor perhaps.
    Client,
    /// Supervise: one at a time.
    Supervisor,
    /// Supervise as casemate.service does: this is the manager's user already, and systemd has the helper.
    Service,
}

/// An instance, entered.
#[derive(Debug)]
pub struct Session {
    /// Its directories.
    pub directories: Directories,
    /// Who is who.
    pub identities: Identities,
    run: OwnedFd,
    helper: Found,
    _supervisor: Option<[Lock; 2]>,
}

/// Whose the helper is.
#[derive(Debug)]
enum Found {
    /// The role needs none.
    None,
    /// It was started by a launcher, and the last one out ends it.
    Launched(Helper),
    /// It is systemd's.
    Units(Units),
}

/// Checks that this process is the manager's user already. To be done before a service reads what lies in its directories: it is that
/// user's, and nobody else is to follow where that leads.
pub fn expect_manager() -> Result<(), Error> {
    privilege::expect(Identities::of_units()?.manager())
}

/// Makes and checks the directories, takes the locks of the role, starts the helper if the role needs it and none runs,
/// and becomes the manager's user for good. Open before it what only the caller may open.
pub fn enter(directories: Directories, role: Role) -> Result<Session, Error> {
    casemate_sys::inherited::keep_from_children()
        .map_err(|errno| Error::new("this process", "mark inherited descriptors", errno))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let identities = match role {
        Role::Service => Identities::of_units()?,
        Role::Store | Role::Client | Role::Supervisor => Identities::of_caller()?,
    };
    directories.preloaded().iter().try_for_each(|store| preload::check(store, &identities))?;
    let run = directories.prepare(&identities)?;
    let supervisor = match role {
        Role::Supervisor | Role::Service => Some(supervisor(&run, &directories, &identities)?),
        Role::Store | Role::Client => None,
    };
    let helper = match role {
        Role::Store => Found::None,
        Role::Service => Found::Units(Units::expect(&directories, &identities)?),
        // Where systemd has a helper, a second one would work in the same directories.
        Role::Client | Role::Supervisor => match Units::find(Service::Helper, &directories, &identities)? {
            Some(units) => Found::Units(units),
            None => Found::Launched(Helper::ensure(&run, &directories, &identities)?),
        },
    };
    privilege::become_powerless(identities.manager())?;
    Ok(Session { directories, identities, run, helper, _supervisor: supervisor })
}

/// Closes what the caller left open besides the standard streams, but for these: no change of user and no rule takes it away again. To
/// be called while nothing of this process's own is open.
pub fn close_inherited(but: &[i32]) -> Result<(), Error> {
    let failed = |error| Error::new("/proc/self/fd", "list inherited descriptors", error);
    let names = std::fs::read_dir("/proc/self/fd").map_err(failed)?.flatten().map(|entry| entry.file_name());
    let numbers = names.filter_map(|name| name.to_str()?.parse().ok());
    let numbers: Vec<i32> = numbers.filter(|number| *number > 2 && !but.contains(number)).collect();
    // The list's own descriptor is in it, and closed by now.
    numbers.into_iter().for_each(|number| drop(casemate_sys::inherited::take(number)));
    Ok(())
}

/// Becomes the manager's user for good, for a verb that needs nothing else of an instance any more.
pub fn become_manager() -> Result<(), Error> {
    privilege::become_powerless(Identities::of_caller()?.manager())
}

/// Whether a supervisor has this instance, be it one that does not listen yet. For whom the lock is its own.
pub fn is_supervised(directories: &Directories) -> Result<bool, Error> {
    Lock::is_held(&directories.run.join("manager.lock"))
}

/// One supervisor per run directory, and per state directory: what another's containers stand on would not be known as in use here.
fn supervisor(run: &OwnedFd, directories: &Directories, identities: &Identities) -> Result<[Lock; 2], Error> {
    let failed = |errno| Error::at(&directories.run.join("manager.lock"), "lock", errno);
    let lock = Lock::open(run, &directories.run, "manager.lock", identities.manager())?;
    if lock.try_alone().map_err(failed)? {
        lock.sign().map_err(failed)?;
        let state = Lock::of_directory(&directories.state.join("revisions"))?;
        if state.try_alone().map_err(|errno| Error::at(&directories.state, "lock", errno))? {
            return Ok([lock, state]);
        }
        return Err(Error::at(&directories.state, "lock", "an instance with another run directory uses it")
            .remedy("end that one, or give --state-dir of another instance"));
    }
    let who = lock.signature().map_or("another process".to_owned(), |pid| format!("process {pid}"));
    Err(Error::at(&directories.run, "lock", format!("{who} supervises this instance already"))
        .remedy("end that one, or give --run-dir and --state-dir of another instance"))
}

impl Session {
    /// Connects to the helper that [`enter`] made sure of. One that could not make user namespace A has ended by now: then
    /// its own words are the reason.
    pub fn connect(&self, supervise: bool) -> Result<Client, Error> {
        let own = self.directories.helper_socket();
        let (at, socket) = match &self.helper {
            Found::Units(units) => (units.path(), units.connect()?),
            _ => (own.as_path(), spawn::connect(&self.run).map_err(|errno| Error::at(&own, "connect", errno))?),
        };
        Client::connect(socket, supervise).map_err(|error| match (error, &self.helper) {
            (ClientError::Closed, Found::Units(_)) => Error::at(at, "greet the helper", "it has ended")
                .remedy("`journalctl -u casemate-helper` has its last words"),
            (ClientError::Closed, _) => {
                Error::at(at, "greet the helper", spawn::last_words(&self.directories)).not_enforceable()
            }
            (error, _) => Error::at(at, "greet the helper", error),
        })
    }

    /// Shuts this process into what supervising takes. Afterwards no file but those of this instance can be opened.
    pub fn confine(&self) -> Result<(), Error> {
        fence::confine(&self.directories, None)
    }

    /// The same, for who is to read its file again: those below its directory can be opened for reading.
    pub fn confine_beside(&self, file: &Path) -> Result<(), Error> {
        fence::confine(&self.directories, Some(file))
    }

    /// Has this instance look into these stores too, where no file was given that names them: those that it may, and what is the
    /// matter with the others. To be done before it shuts itself in.
    pub fn look_into(&mut self, stores: Vec<PathBuf>) -> Vec<Error> {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for store in stores {
            match preload::check(&store, &self.identities) {
                Ok(()) => good.push(store),
                Err(error) => bad.push(error),
            }
        }
        self.directories.preload = Some(good);
        bad
    }

    /// The run directory, open.
    pub fn run_directory(&self) -> &OwnedFd {
        &self.run
    }

    /// The end of the work: the last one out asks the helper to quit, which it refuses while a container runs, and removes
    /// its socket and cgroups. A helper that has ended, or is systemd's, is not asked. Says what could not be removed.
    pub fn leave(self) -> Result<(), Error> {
        let connection = if matches!(self.helper, Found::Launched(_)) { self.connect(false).ok() } else { None };
        match (self.helper, connection) {
            (Found::Launched(helper), Some(client)) => helper.leave(&self.run, client),
            _ => Ok(()),
        }
    }
}

/// Whether the helper of this connection has ended; it ends by itself or by [`Request::Quit`].
fn quit(mut client: Client) -> Result<bool, ClientError> {
    match client.done(&Request::Quit(())) {
        Ok(()) => {}
        Err(ClientError::Failed(_) | ClientError::Answer(_)) => return Ok(false),
        Err(ClientError::Closed) => return Ok(true),
        Err(error) => return Err(error),
    }
    loop {
        match client.wait_event() {
            Ok(_) => {}
            Err(ClientError::Closed) => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}
