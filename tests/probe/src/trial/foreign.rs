//! Ways into the kernel that a filter for this architecture does not see by number: the 32-bit entry and x32.

use crate::process::isolated;

/// Something tried in a process of its own.
type Attempt = fn() -> std::io::Result<()>;

/// The answers; none on an architecture that has no such entry.
pub fn answers() -> impl Iterator<Item = (String, String)> {
    ENTRIES.iter().map(|(name, attempt)| ((*name).to_owned(), isolated(attempt).to_string()))
}

#[cfg(not(target_arch = "x86_64"))]
const ENTRIES: [(&str, Attempt); 0] = [];

// i386: getpid is 20, socketcall 102 with SYS_SOCKET 1. x32: bit 30 and getpid's 39.
#[cfg(target_arch = "x86_64")]
const ENTRIES: [(&str, Attempt); 3] = [
    ("int 0x80 getpid", || int_0x80(20, 0, 0)),
    ("int 0x80 socketcall(SYS_SOCKET)", || int_0x80(102, 1, 8)),
    ("x32 getpid", || super::raw(0x4000_0000 | 39, [0; 6]).map(drop)),
];

#[cfg(target_arch = "x86_64")]
fn int_0x80(number: i32, first: u64, second: u64) -> std::io::Result<()> {
    let mut value = number;
    // SAFETY: rbx belongs to the compiler and is put back; the calls made write to no memory of this process (the only
    // address among the arguments is never mapped); everything the old entry may clobber is named.
    unsafe {
        std::arch::asm!(
            "xchg {first}, rbx",
            "int 0x80",
            "xchg {first}, rbx",
            first = inout(reg) first => _,
            inout("eax") value,
            in("rcx") second,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if value < 0 { Err(std::io::Error::from_raw_os_error(-value)) } else { Ok(()) }
}
