//! The first instructions of every filter of ours: the calls that no rule looks at.

use super::table;
use casemate_sys::seccomp::Instruction;

/// Offsets in `struct seccomp_data`. linux/seccomp.h.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const JUMP_SET: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Kills a call of a foreign architecture (on x86_64: `int 0x80`, whose socketcall cannot be judged by its arguments, and
/// x32). Answers ENOSYS to a number that the table does not reach, and to clone3, whose flags lie in memory where no filter
/// can read them: a C library then uses clone.
pub(super) fn prologue() -> Vec<Instruction> {
    let kill = libc::SECCOMP_RET_KILL_PROCESS;
    let not_there = super::errno(libc::ENOSYS);
    let mut program = vec![
        statement(LOAD, ARCHITECTURE),
        jump(JUMP_EQUAL, table::AUDIT_ARCH, 1, 0),
        statement(RETURN, kill),
        statement(LOAD, NUMBER),
    ];
    if let Some(bit) = table::FOREIGN_BIT {
        program.push(jump(JUMP_SET, bit, 0, 1));
        program.push(statement(RETURN, kill));
    }
    program.push(jump(JUMP_GREATER, table::highest(), 0, 1));
    program.push(statement(RETURN, not_there));
    if let table::Lookup::Here(clone3) = table::lookup("clone3") {
        program.push(jump(JUMP_EQUAL, clone3, 0, 1));
        program.push(statement(RETURN, not_there));
    }
    program
}

const fn statement(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

/// Skips `yes` or `no` instructions.
const fn jump(code: u16, k: u32, yes: u8, no: u8) -> Instruction {
    Instruction { code, jt: yes, jf: no, k }
}
