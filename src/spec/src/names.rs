//! Names of the kernel's numbers: signals and resource limits.

use super::nearest::nearest;

/// Signals by name; the numbers are those of x86, arm and riscv (signal(7)).
static SIGNALS: &[(&str, u8)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The first and the last real-time signal, as glibc and musl count them.
const REAL_TIME: std::ops::RangeInclusive<u8> = 34..=64;

/// The number of a signal: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`. Real-time signals count from 34, as glibc and musl have them.
pub fn signal(text: &str) -> Option<u8> {
    if let Some(number) = super::values::digits(text) {
        return u8::try_from(number).ok().filter(|number| (1..=64).contains(number));
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let real_time = |offset: &str| super::values::digits(offset).filter(|offset| *offset <= 30);
    if let Some(offset) = name.strip_prefix("RTMIN+").and_then(real_time) {
        return u8::try_from(34 + offset).ok();
    }
    if let Some(offset) = name.strip_prefix("RTMAX-").and_then(real_time) {
        return u8::try_from(64 - offset).ok();
    }
    SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The name of a signal, as [`signal`] reads it; the number for the two that have no name.
pub fn signal_name(number: u8) -> String {
    let named = SIGNALS.iter().find(|(_, known)| *known == number).map(|(name, _)| format!("SIG{name}"));
    named.unwrap_or_else(|| match number.checked_sub(*REAL_TIME.start()) {
        Some(offset) => format!("SIGRTMIN+{offset}"),
        None => number.to_string(),
    })
}

/// The suggestion for a text that is nearly a signal's name.
pub(super) fn nearest_signal(text: &str) -> Option<String> {
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    nearest(name, SIGNALS.iter().map(|(name, _)| *name)).map(|name| format!("did you mean `SIG{name}`?"))
}

/// Whether a signal asks a process to stop: KILL leaves it no time, the others suspend, continue or are ignored.
pub(super) fn stops(signal: u8) -> bool {
    !matches!(signal, 9 | 17..=23 | 28)
}

/// Resource limits by docker's names, with the kernel's numbers (asm-generic/resource.h).
static ULIMITS: &[(&str, u8)] = &[
    ("cpu", 0),
    ("fsize", 1),
    ("data", 2),
    ("stack", 3),
    ("core", 4),
    ("rss", 5),
    ("nproc", 6),
    ("nofile", 7),
    ("memlock", 8),
    ("locks", 10),
    ("sigpending", 11),
    ("msgqueue", 12),
    ("nice", 13),
    ("rtprio", 14),
    ("rttime", 15),
];

/// The number of a resource limit.
pub(super) fn ulimit(name: &str) -> Option<u8> {
    ULIMITS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The names of the resource limits.
pub(super) fn ulimits() -> impl Iterator<Item = &'static str> {
    ULIMITS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_by_name_and_number() {
        for (text, number) in
            [("SIGTERM", 15), ("TERM", 15), ("15", 15), ("SIGRTMIN+3", 37), ("RTMAX-0", 64), ("SIGQUIT", 3)]
        {
            assert_eq!(signal(text), Some(number), "{text}");
        }
        for bad in ["", "0", "65", "SIG", "sigterm", "RTMIN+31", "RTMAX-31", "RTMIN+", "-1", "015"] {
            assert_eq!(signal(bad), None, "{bad}");
        }
        assert_eq!(nearest_signal("sigterm").as_deref(), Some("did you mean `SIGTERM`?"));
        assert!(stops(15) && stops(3) && stops(37) && !stops(9) && !stops(19));
    }

    #[test]
    fn signal_names_are_parsed() {
        for number in 1..=64 {
            assert_eq!(signal(&signal_name(number)), Some(number));
        }
    }

    /// nix has its own table of signals.
    #[test]
    fn signal_numbers_are_those_of_nix() {
        let mut compared = 0;
        for number in 1..=31 {
            let expected = nix::sys::signal::Signal::try_from(i32::from(number)).unwrap();
            assert_eq!(signal(expected.as_str()), Some(number), "{expected}");
            assert_eq!(signal_name(number), expected.as_str());
            compared += 1;
        }
        assert_eq!(compared, 31);
    }

    /// The numbers are the kernel's: asked from the headers that the libc crate mirrors.
    #[test]
    fn ulimits_have_the_kernels_numbers() {
        assert_eq!(ulimit("nofile"), Some(7));
        assert_eq!(ulimit("core"), Some(4));
        assert_eq!(ulimit("memlock"), Some(8));
        assert_eq!(ulimit("as"), None);
        assert_eq!(ulimits().count(), 15);
    }
}
