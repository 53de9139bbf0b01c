//! Capability sets: none, a few for one of our programs, or a container's ambient ones. capabilities(7).
//!
//! Enters: a thread with CAP_SETPCAP in its user namespace (all but [`drop_held`]). Leaves: exactly the sets asked for, read
//! back from the kernel, and the secure bits locked, so that neither uid 0 nor a change of ids gives one back.

use crate::Error;
use rustix::io::Errno;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySets, capabilities, capability_is_in_ambient_set,
    capability_is_in_bounding_set, clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
};

pub use rustix::thread::CapabilitySet;

/// All secure bits but KEEP_CAPS, and every bit locked.
const SECURE_BITS: CapabilitiesSecureBits = CapabilitiesSecureBits::NO_ROOT
    .union(CapabilitiesSecureBits::NO_ROOT_LOCKED)
    .union(CapabilitiesSecureBits::NO_SETUID_FIXUP)
    .union(CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED)
    .union(CapabilitiesSecureBits::KEEP_CAPS_LOCKED)
    .union(CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE)
    .union(CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED);

/// Empties all five sets.
pub fn drop_all() -> Result<(), Error> {
    confine(CapabilitySet::empty(), CapabilitySet::empty())
}

/// Empties all sets but the bounding set, for a thread that has no CAP_SETPCAP to change that one with. Together with
/// no_new_privs and a uid other than 0 the bounding set gives nothing back.
pub fn drop_held() -> Result<(), Error> {
    clear_ambient_capability_set().map_err(|errno| Error::AmbientSet(None, errno))?;
    set(CapabilitySet::empty(), CapabilitySet::empty())?;
    read_back(CapabilitySet::empty(), CapabilitySet::empty())
}

/// Keeps these as effective and permitted; inheritable, ambient and bounding set are empty, so an execve ends them.
pub fn keep_only(kept: CapabilitySet) -> Result<(), Error> {
    confine(kept, CapabilitySet::empty())
}

/// Makes all five sets exactly these numbers, so that they outlive the execve of a payload that is not root.
pub fn hold_ambient(numbers: &[u8]) -> Result<(), Error> {
    let mut held = CapabilitySet::empty();
    for &number in numbers {
        held |= single(number).ok_or(Error::UnknownCapability(number))?;
    }
    confine(held, held)
}

/// The set of one capability.
fn single(number: u8) -> Option<CapabilitySet> {
    1_u64.checked_shl(number.into()).map(CapabilitySet::from_bits_retain)
}

/// `kept` stays effective and permitted, `ambient` (a part of it) also goes into the other three sets.
fn confine(kept: CapabilitySet, ambient: CapabilitySet) -> Result<(), Error> {
    clear_ambient_capability_set().map_err(|errno| Error::AmbientSet(None, errno))?;
    let known = bound(ambient)?;
    if let Some(number) = numbers(kept).find(|&number| number >= known) {
        return Err(Error::UnknownCapability(number));
    }
    let held = capabilities(None).map_err(Error::CapabilitySets)?.permitted;
    set(held, ambient)?;
    for number in numbers(ambient) {
        let one = single(number).unwrap_or(CapabilitySet::empty());
        configure_capability_in_ambient_set(one, true)
            .map_err(|errno| Error::AmbientSet(Some(number), errno))?;
    }
    set_capabilities_secure_bits(SECURE_BITS).map_err(Error::SecureBits)?;
    set(kept, ambient)?;
    read_back(kept, ambient)?;
    for number in 0..known {
        let one = single(number).unwrap_or(CapabilitySet::empty());
        let left = capability_is_in_bounding_set(one).map_err(|errno| Error::BoundingSet(number, errno))?;
        if left != ambient.contains(one) {
            return Err(Error::CapabilitiesDiffer("bounding", one.bits()));
        }
    }
    Ok(())
}

/// Takes all but `kept` out of the bounding set; answers how many capabilities this kernel has.
fn bound(kept: CapabilitySet) -> Result<u8, Error> {
    for number in 0..64 {
        let Some(one) = single(number) else { return Ok(number) };
        let result = if kept.contains(one) {
            capability_is_in_bounding_set(one).map(drop)
        } else {
            remove_capability_from_bounding_set(one)
        };
        match result {
            Ok(()) => {}
            // Both answer EINVAL above the last one.
            Err(Errno::INVAL) => return Ok(number),
            Err(errno) => return Err(Error::BoundingSet(number, errno)),
        }
    }
    Ok(64)
}

/// The numbers in a set.
fn numbers(set: CapabilitySet) -> impl Iterator<Item = u8> {
    (0..64).filter(move |&number| single(number).is_some_and(|one| set.contains(one)))
}

/// capset for effective and permitted, and for inheritable.
fn set(held: CapabilitySet, inheritable: CapabilitySet) -> Result<(), Error> {
    set_capabilities(None, CapabilitySets { effective: held, permitted: held, inheritable })
        .map_err(Error::CapabilitySets)
}

/// Compares four sets with what the kernel says.
fn read_back(held: CapabilitySet, ambient: CapabilitySet) -> Result<(), Error> {
    let found = capabilities(None).map_err(Error::CapabilitySets)?;
    for (name, found, wanted) in [
        ("effective", found.effective, held),
        ("permitted", found.permitted, held),
        ("inheritable", found.inheritable, ambient),
    ] {
        if found != wanted {
            return Err(Error::CapabilitiesDiffer(name, found.bits()));
        }
    }
    for number in 0..64 {
        let Some(one) = single(number) else { break };
        match capability_is_in_ambient_set(one) {
            Ok(set) if set == ambient.contains(one) => {}
            Ok(_) => return Err(Error::CapabilitiesDiffer("ambient", one.bits())),
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(Error::AmbientSet(Some(number), errno)),
        }
    }
    Ok(())
}
