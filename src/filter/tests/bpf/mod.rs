//! An interpreter of classic BPF as seccomp takes it (linux/filter.h), for programs of any compiler: what they answer, and after
//! how many instructions.

/// One instruction: code, jt, jf, k.
pub type Instruction = (u16, u8, u8, u32);

/// What a filter looks at.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// AUDIT_ARCH of the entry.
    pub architecture: u32,
    /// Number of the system call.
    pub number: u32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// Runs a program.
#[allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "a test reports by panicking")]
pub fn run(program: &[Instruction], call: &Call) -> (u32, usize) {
    let mut data = Vec::new();
    data.extend(call.number.to_ne_bytes());
    data.extend(call.architecture.to_ne_bytes());
    data.extend([0; 8]);
    call.arguments.iter().for_each(|argument| data.extend(argument.to_ne_bytes()));
    let mut accumulator = 0_u32;
    let mut at = 0;
    for steps in 1.. {
        let (code, jt, jf, k) = program[at];
        let test = |yes| usize::from(if yes { jt } else { jf });
        at += 1;
        match code {
            // BPF_LD | BPF_W | BPF_ABS
            0x20 => accumulator = u32::from_ne_bytes(data[k as usize..][..4].try_into().unwrap()),
            // BPF_ALU | BPF_AND | BPF_K
            0x54 => accumulator &= k,
            // BPF_JMP | BPF_JA
            0x05 => at += k as usize,
            // BPF_JMP | BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET
            0x15 => at += test(accumulator == k),
            0x25 => at += test(accumulator > k),
            0x35 => at += test(accumulator >= k),
            0x45 => at += test(accumulator & k != 0),
            // BPF_RET | BPF_K
            0x06 => return (k, steps),
            other => panic!("instruction {other:#x}"),
        }
    }
    unreachable!()
}
