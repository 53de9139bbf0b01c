//! Capability sets: none, a few for one of our programs, or a container's ambient ones. capabilities(7).
//!
//! Enters: a thread with CAP_SETPCAP in its user namespace (all but [`drop_held`]). Leaves: exactly the sets asked for, read
//! back from the kernel, and the secure bits locked, so that neither uid 0 nor a change of ids gives one back.

use crate::{At, Error};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitiesSecureBits as SecureBits, CapabilitySets, capabilities, capability_is_in_ambient_set,
    capability_is_in_bounding_set, clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
};
use std::fmt::Display;

pub use rustix::thread::CapabilitySet;

/// All secure bits but KEEP_CAPS, and every bit locked.
fn secure_bits() -> SecureBits {
    let set = SecureBits::NO_ROOT | SecureBits::NO_SETUID_FIXUP | SecureBits::NO_CAP_AMBIENT_RAISE;
    let locked = SecureBits::NO_ROOT_LOCKED | SecureBits::NO_SETUID_FIXUP_LOCKED | SecureBits::KEEP_CAPS_LOCKED;
    set | locked | SecureBits::NO_CAP_AMBIENT_RAISE_LOCKED
}

/// Empties all sets but the bounding set, for a thread that has no CAP_SETPCAP to change that one with. Together with
/// no_new_privs and a uid other than 0 the bounding set gives nothing back.
pub fn drop_held() -> Result<(), Error> {
    clear_ambient_capability_set().at("clear the ambient capabilities")?;
    set(CapabilitySet::empty(), CapabilitySet::empty())?;
    read_back(CapabilitySet::empty(), CapabilitySet::empty())
}

/// Keeps these as effective and permitted; inheritable, ambient and bounding set are empty, so an execve ends them.
pub fn keep_only(kept: CapabilitySet) -> Result<(), Error> {
    confine(kept, CapabilitySet::empty())
}

/// Keeps these as effective, permitted and bounding set, for a program that is root of its user namespace and starts others:
/// what it starts has no more. The secure bits stay open, so uid 0 has these again after an execve.
pub fn keep_within(kept: CapabilitySet) -> Result<(), Error> {
    bound(kept)?;
    set(kept, CapabilitySet::empty())
}

/// Makes all five sets exactly these numbers, often none, so that they outlive the execve of a payload that is not root.
pub fn hold_ambient(numbers: &[u8]) -> Result<(), Error> {
    let one = |&number: &u8| 1_u64.checked_shl(number.into()).ok_or_else(|| unknown(number));
    let bits = numbers.iter().map(one).try_fold(0, |all, one| one.map(|one| all | one))?;
    let held = CapabilitySet::from_bits_retain(bits);
    confine(held, held)
}

/// Makes every permitted capability effective: a change of the ids keeps them permitted where the thread asked for that
/// (PR_SET_KEEPCAPS), and never effective.
pub fn raise_permitted() -> Result<(), Error> {
    let held = capabilities(None).at("capability sets")?.permitted;
    set(held, CapabilitySet::empty())
}

/// Every capability that there could be, as a set of one.
fn every() -> impl Iterator<Item = CapabilitySet> {
    (0..64).map(|number| CapabilitySet::from_bits_retain(1 << number))
}

fn unknown(number: impl Display) -> Error {
    Error::container(format_args!("this kernel has no capability {number}"))
}

/// What a call is about that takes a set of one.
fn in_the(set: &str, one: CapabilitySet) -> String {
    format!("capability {} in the {set} set", one.bits().trailing_zeros())
}

/// `kept` stays effective and permitted, `ambient` (a part of it) also goes into the other three sets.
fn confine(kept: CapabilitySet, ambient: CapabilitySet) -> Result<(), Error> {
    clear_ambient_capability_set().at("clear the ambient capabilities")?;
    let more = kept - bound(ambient)?;
    if !more.is_empty() {
        return Err(unknown(more.bits().trailing_zeros()));
    }
    set(capabilities(None).at("capability sets")?.permitted, ambient)?;
    for one in every().filter(|&one| ambient.contains(one)) {
        let raised = configure_capability_in_ambient_set(one, true);
        raised.at(in_the("ambient", one))?;
    }
    set_capabilities_secure_bits(secure_bits()).at("lock the secure bits")?;
    set(kept, ambient)?;
    read_back(kept, ambient)?;
    same("bounding", collect("bounding", capability_is_in_bounding_set)?, ambient)
}

/// Takes all but `kept` out of the bounding set; answers which capabilities this kernel has.
fn bound(kept: CapabilitySet) -> Result<CapabilitySet, Error> {
    collect("bounding", |one| match kept.contains(one) {
        true => capability_is_in_bounding_set(one).map(|_| true),
        false => remove_capability_from_bounding_set(one).map(|()| true),
    })
}

/// capset for effective and permitted, and for inheritable.
fn set(held: CapabilitySet, inheritable: CapabilitySet) -> Result<(), Error> {
    let sets = CapabilitySets { effective: held, permitted: held, inheritable };
    set_capabilities(None, sets).at("capability sets")
}

/// Compares four sets with what the kernel says.
fn read_back(held: CapabilitySet, ambient: CapabilitySet) -> Result<(), Error> {
    let found = capabilities(None).at("capability sets")?;
    same("effective", found.effective, held)?;
    same("permitted", found.permitted, held)?;
    same("inheritable", found.inheritable, ambient)?;
    same("ambient", collect("ambient", capability_is_in_ambient_set)?, ambient)
}

/// Asks the kernel one by one; every call answers EINVAL above the last capability.
fn collect(set: &str, ask: impl Fn(CapabilitySet) -> Result<bool, Errno>) -> Result<CapabilitySet, Error> {
    let mut found = CapabilitySet::empty();
    for one in every() {
        match ask(one) {
            Err(Errno::INVAL) => break,
            answer => found.set(one, answer.at(in_the(set, one))?),
        }
    }
    Ok(found)
}

fn same(set: &str, found: CapabilitySet, wanted: CapabilitySet) -> Result<(), Error> {
    if found == wanted {
        return Ok(());
    }
    let found = found.bits();
    let wanted = wanted.bits();
    Err(Error::not_enforceable(format_args!(
        "the {set} capabilities read back as {found:#x}, and were set to {wanted:#x}"
    )))
}
