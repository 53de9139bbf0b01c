//! The most that a file may ask for: capabilities and sysctls. The lists are `confine`'s, where the helper reads them too; here
//! they get the words of the file and the reason of a refusal.

use casemate_confine::ceiling;

/// Why a sysctl is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its name is not on the list.
    Name,
    /// Its value is not numbers.
    Value,
}

/// The number of a capability that a container can be given, with or without `CAP_`.
pub(super) fn capability(text: &str) -> Option<u8> {
    let name = text.strip_prefix("CAP_").unwrap_or(text);
    ceiling::CAPABILITIES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The names of those capabilities.
pub(super) fn capabilities() -> impl Iterator<Item = &'static str> {
    ceiling::CAPABILITIES.iter().map(|(name, _)| *name)
}

/// Whether a sysctl can be set to a value.
pub(super) fn sysctl(name: &str, value: &str) -> Result<(), Refusal> {
    if ceiling::sysctl(name, value) {
        Ok(())
    } else if ceiling::SYSCTLS.contains(&name) {
        Err(Refusal::Value)
    } else {
        Err(Refusal::Name)
    }
}

/// The names of the sysctls that can be set.
pub(super) fn sysctls() -> impl Iterator<Item = &'static str> {
    ceiling::SYSCTLS.iter().copied()
}
