//! What is booted, and what is asked in each boot. Each boot finds on its disks what the one before of its host has left.

use crate::guest::{apparmor, crash, host, install, journal, limits, power, pull, service, watchdog};

/// One boot of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Boot {
    /// A word of the kernel's command line.
    pub name: &'static str,
    /// What is asked, in this order.
    pub tests: &'static [Test],
    /// How the machine differs from an ordinary one.
    pub machine: Machine,
}

/// The disk with casemate's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateDisk {
    /// As it is.
    Ordinary,
    /// Every request to it is logged, to make cut disks from.
    Recorded,
    /// As it is, and beside it the cut disks.
    Cut,
}

/// Power cuts in each phase of the recorded boot.
pub const CUTS_A_PHASE: usize = 10;
/// All of them, beside the one that ends the boot. Their disks lie one behind the other on one disk.
pub const CUTS: usize = 30;
/// Bytes of the disk with casemate's state.
pub const STATE_SIZE: u64 = 256 << 20;

/// How a machine is booted.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// The host: a root disk and a state disk. Its boots come one after the other; hosts are booted side by side.
    pub host: &'static str,
    /// Debian's release on the root disk.
    pub suite: &'static str,
    /// What the hardware's clock says, as qemu's `-rtc base=` takes it; none is now.
    pub clock: Option<&'static str>,
    /// The root file system stays read-only.
    pub read_only: bool,
    /// The disk with casemate's state.
    pub state: StateDisk,
    /// The power is cut, up to so many milliseconds after the guest has reported that it is ready for it.
    pub cut: Option<u64>,
}

/// An ordinary one.
const ORDINARY: Machine = Machine {
    host: "appliance",
    suite: "bookworm",
    clock: None,
    read_only: false,
    state: StateDisk::Ordinary,
    cut: None,
};
/// The one whose power is cut.
const UNLUCKY: Machine = Machine { host: "unlucky", ..ORDINARY };

/// A test: its name, and what the guest runs.
#[derive(Debug, Clone, Copy)]
pub struct Test {
    /// Says what holds.
    pub name: &'static str,
    /// Panics if it does not.
    pub run: fn(),
}

/// A list of tests from the paths of functions; the last part of a path is the name.
macro_rules! tests {
    ($($module:ident :: $function:ident),* $(,)?) => {
        &[$(Test { name: concat!(stringify!($module), "::", stringify!($function)), run: $module::$function }),*]
    };
}

/// All boots.
pub const BOOTS: &[Boot] = &[
    Boot {
        name: "power-cut",
        tests: tests![
            install::works,
            power::is_cut_while_images_come,
            power::is_cut_while_files_are_applied,
            power::is_cut_while_logs_rotate,
        ],
        machine: Machine { state: StateDisk::Recorded, cut: Some(3000), ..UNLUCKY },
    },
    Boot {
        name: "after-the-cuts",
        tests: tests![power::came_back_and_the_state_is_whole, power::was_cut_and_every_disk_is_whole],
        machine: Machine { state: StateDisk::Cut, ..UNLUCKY },
    },
    Boot {
        name: "install",
        tests: tests![
            host::is_what_casemate_is_for,
            install::works,
            install::leaves_no_privilege,
            install::is_as_shut_as_it_says,
            pull::goes_through_the_units,
        ],
        machine: ORDINARY,
    },
    Boot {
        name: "crashes",
        tests: tests![
            service::comes_up_with_the_boot_and_without_network,
            crash::of_the_manager_is_followed_by_adoption,
            crash::is_no_worse_than_a_restart,
            crash::is_no_worse_than_an_upgrade,
            crash::of_the_helper_ends_all_and_all_comes_back,
            watchdog::replaces_a_manager_that_hangs,
            watchdog::replaces_a_helper_that_hangs,
            journal::has_the_lines_of_containers,
            service::reloads_its_file,
            service::stops_in_reverse_order,
            service::survives_a_full_disk,
            service::takes_a_file_of_many,
        ],
        machine: ORDINARY,
    },
    Boot {
        name: "read-only",
        tests: tests![service::brings_many_up, service::needs_no_other_place_to_write, service::does_not_mind_the_year,],
        machine: Machine { clock: Some("2038-02-03T04:05:06"), read_only: true, ..ORDINARY },
    },
    Boot {
        name: "newer",
        tests: tests![
            host::is_what_casemate_is_for,
            install::works,
            install::leaves_no_privilege,
            install::is_as_shut_as_it_says,
            pull::goes_through_the_units,
            limits::stand_in_the_kernel,
            limits::memory_kills_the_whole_container,
            crash::of_the_manager_is_followed_by_adoption,
            apparmor::has_the_profile_of_the_helper,
            apparmor::can_stop_a_helper_and_the_profile_lets_it_go,
            install::is_undone_by_a_purge,
        ],
        machine: Machine { host: "newer", suite: "trixie", ..ORDINARY },
    },
    Boot {
        name: "limits",
        tests: tests![
            install::works,
            limits::stand_in_the_kernel,
            limits::memory_kills_the_whole_container,
            limits::memory_high_slows_down,
            limits::pids_hold_a_fork_bomb,
            limits::cpu_quota_is_kept,
            limits::cpu_weight_is_kept,
            limits::io_max_is_kept,
        ],
        machine: Machine { host: "limits", ..ORDINARY },
    },
];

/// The boot of this name.
pub fn find(name: &str) -> Option<&'static Boot> {
    BOOTS.iter().find(|boot| boot.name == name)
}

/// The hosts, in the order of their first boots, and the release of each.
pub fn hosts() -> Vec<(&'static str, &'static str)> {
    let mut hosts: Vec<(&str, &str)> = Vec::new();
    for Machine { host, suite, .. } in BOOTS.iter().map(|boot| boot.machine) {
        if !hosts.contains(&(host, suite)) {
            hosts.push((host, suite));
        }
    }
    hosts
}
