//! From the caller's identity to the manager's: directories, users, locks, and a running helper.
//!
//! [`enter`] is the whole sequence. As root it does what only root may do, and has dropped root for good when it returns; as an
//! ordinary user it skips those parts. Afterwards this process is the manager's user without capabilities, every directory has its
//! owner, and the helper, if the role needs one, listens.

mod cgroup_delegation;
mod cgroup_hierarchies;
mod confine;
mod directories;
mod error;
pub mod fetch;
mod helper_process;
mod identity;
mod lock;
mod privilege;
mod read_only_stores;
mod secure_path;
pub mod stages;
mod systemd_socket;

pub use directories::Directories;
pub use error::Error;
pub use identity::{Identities, Ids, Range};

use casemate_client::{Client, Error as ClientError};
use casemate_wire::Request;
use helper_process::LaunchedHelper;
use lock::Lock;
use rustix::fd::OwnedFd;
use std::path::{Path, PathBuf};
use systemd_socket::{Service, SystemdSocket};

/// What the caller needs of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The store, without the helper.
    Store,
    /// Requests to the helper, whether or not a manager runs.
    Client,
    /// To supervise containers: `casemate up`. One manager at a time.
    Supervisor,
    /// To supervise containers as casemate.service: this process runs as the manager's user already, and systemd starts the helper.
    Service,
}

/// An entered instance.
#[derive(Debug)]
pub struct Session {
    /// Its directories.
    pub directories: Directories,
    /// Its users.
    pub identities: Identities,
    run: OwnedFd,
    helper: HelperSource,
    _manager_locks: Option<[Lock; 2]>,
}

/// How the helper is started.
#[derive(Debug)]
enum HelperSource {
    /// Not at all: the role needs none.
    None,
    /// By the first process that needs it; the last process that used it ends it.
    Launched(LaunchedHelper),
    /// By systemd.
    Systemd(SystemdSocket),
}

/// Fails unless this process runs as the manager's user. Called before a service reads its directories, which that user can fill with
/// links: no other user may follow them.
pub fn verify_manager_user() -> Result<(), Error> {
    privilege::verify_user(Identities::of_units()?.manager())
}

/// Makes and checks the directories, takes the locks of the role, starts the helper if the role needs it and none runs, and switches
/// to the manager's user for good. Files that only the caller may open have to be opened before.
pub fn enter(directories: Directories, role: Role) -> Result<Session, Error> {
    casemate_sys::inherited::keep_from_children()
        .map_err(|errno| Error::new("this process", "mark inherited descriptors", errno))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let identities = match role {
        Role::Service => Identities::of_units()?,
        Role::Store | Role::Client | Role::Supervisor => Identities::of_caller()?,
    };
    directories.read_only_stores().iter().try_for_each(|store| read_only_stores::check(store, &identities))?;
    let run = directories.prepare(&identities)?;
    let manager_locks = match role {
        Role::Supervisor | Role::Service => Some(lock_as_manager(&run, &directories, &identities)?),
        Role::Store | Role::Client => None,
    };
    let helper = match role {
        Role::Store => HelperSource::None,
        Role::Service => HelperSource::Systemd(SystemdSocket::require_helper(&directories, &identities)?),
        // Where systemd has a helper, a second one would work in the same directories.
        Role::Client | Role::Supervisor => match SystemdSocket::find(Service::Helper, &directories, &identities)? {
            Some(socket) => HelperSource::Systemd(socket),
            None => HelperSource::Launched(LaunchedHelper::ensure_running(&run, &directories, &identities)?),
        },
    };
    privilege::drop_privileges(identities.manager())?;
    Ok(Session { directories, identities, run, helper, _manager_locks: manager_locks })
}

/// Closes the descriptors that the caller left open, except the standard streams and those in `keep`: a later change of user would
/// not take them away. Call it while this process has opened nothing itself.
pub fn close_inherited(keep: &[i32]) -> Result<(), Error> {
    let failed = |error| Error::new("/proc/self/fd", "list inherited descriptors", error);
    let names = std::fs::read_dir("/proc/self/fd").map_err(failed)?.flatten().map(|entry| entry.file_name());
    let numbers = names.filter_map(|name| name.to_str()?.parse().ok());
    let numbers: Vec<i32> = numbers.filter(|number| *number > 2 && !keep.contains(number)).collect();
    // The list's own descriptor is in it, and closed by now.
    numbers.into_iter().for_each(|number| drop(casemate_sys::inherited::take(number)));
    Ok(())
}

/// Switches to the manager's user for good, for a verb that needs nothing else of an instance.
pub fn switch_to_manager_user() -> Result<(), Error> {
    privilege::drop_privileges(Identities::of_caller()?.manager())
}

/// Whether a manager has locked this instance; it may not listen yet. Root and the manager's user can ask.
pub fn is_supervised(directories: &Directories) -> Result<bool, Error> {
    Lock::is_held(&directories.run.join("manager.lock"))
}

/// One manager per run directory and per state directory: a second one would not know which images the first one's containers use.
fn lock_as_manager(run: &OwnedFd, directories: &Directories, identities: &Identities) -> Result<[Lock; 2], Error> {
    let failed = |errno| Error::at(&directories.run.join("manager.lock"), "lock", errno);
    let lock = Lock::open(run, &directories.run, "manager.lock", identities.manager())?;
    if lock.try_exclusive().map_err(failed)? {
        lock.write_pid().map_err(failed)?;
        let state = Lock::of_directory(&directories.state.join("revisions"))?;
        if state.try_exclusive().map_err(|errno| Error::at(&directories.state, "lock", errno))? {
            return Ok([lock, state]);
        }
        return Err(Error::at(&directories.state, "lock", "an instance with another run directory uses it")
            .remedy("stop that instance, or give another --state-dir"));
    }
    let holder = lock.holder_pid().map_or("another process".to_owned(), |pid| format!("process {pid}"));
    Err(Error::at(&directories.run, "lock", format!("{holder} supervises this instance already"))
        .remedy("stop that manager, or give another --run-dir and --state-dir"))
}

impl Session {
    /// Connects to the helper that [`enter`] found or started. If it has ended by now, as without user namespaces, the last line of
    /// its log is the reason.
    pub fn connect(&self, supervise: bool) -> Result<Client, Error> {
        let own = self.directories.helper_socket();
        let (path, socket) = match &self.helper {
            HelperSource::Systemd(socket) => (socket.path(), socket.connect()?),
            _ => {
                let socket = helper_process::connect(&self.run).map_err(|errno| Error::at(&own, "connect", errno))?;
                (own.as_path(), socket)
            }
        };
        Client::connect(socket, supervise).map_err(|error| match (error, &self.helper) {
            (ClientError::Closed, HelperSource::Systemd(_)) => {
                Error::at(path, "connect", "the helper did not start").remedy("journalctl -u casemate-helper says why")
            }
            (ClientError::Closed, _) => {
                Error::at(path, "connect", helper_process::start_failure(&self.directories)).not_enforceable()
            }
            (error, _) => Error::at(path, "connect to the helper", error),
        })
    }

    /// Confines this process to what a manager needs: afterwards it can open the files of this instance only.
    pub fn confine(&self) -> Result<(), Error> {
        confine::confine(&self.directories, None)
    }

    /// Like [`Self::confine`]; files below `readable` can be read too, as a reload reads its file again.
    pub fn confine_with_readable(&self, readable: &Path) -> Result<(), Error> {
        confine::confine(&self.directories, Some(readable))
    }

    /// Uses these read-only stores too, where no file named them before [`enter`]. Returns an error for each store that is left out.
    /// Call it before [`Self::confine`].
    pub fn add_read_only_stores(&mut self, stores: Vec<PathBuf>) -> Vec<Error> {
        let mut accepted = Vec::new();
        let mut errors = Vec::new();
        for store in stores {
            match read_only_stores::check(&store, &self.identities) {
                Ok(()) => accepted.push(store),
                Err(error) => errors.push(error),
            }
        }
        self.directories.read_only_stores = Some(accepted);
        errors
    }

    /// The run directory, open.
    pub fn run_directory(&self) -> &OwnedFd {
        &self.run
    }

    /// Leaves the instance. The last process that used a launched helper asks it to quit, which the helper refuses while a container
    /// runs, and removes its socket and cgroups.
    pub fn leave(self) -> Result<(), Error> {
        let launched = matches!(self.helper, HelperSource::Launched(_));
        let connection = if launched { self.connect(false).ok() } else { None };
        match (self.helper, connection) {
            (HelperSource::Launched(helper), Some(client)) => helper.quit_if_unused(&self.run, client),
            _ => Ok(()),
        }
    }
}

/// Asks the helper to quit; `false` if it refuses.
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
