//! Numbers that differ from run to run, and can be had again from the seed that a failure names.

use std::time::{SystemTime, UNIX_EPOCH};

/// A sequence.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The sequence of `CASEMATE_VM_SEED`, else a new one; says which.
    pub fn new() -> Self {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into();
        let given = std::env::var("CASEMATE_VM_SEED").ok();
        let seed: u64 = given.map_or_else(now, |text| text.parse().expect("CASEMATE_VM_SEED is a number"));
        println!("CASEMATE_VM_SEED={seed}");
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below this one.
    pub fn roll(&mut self, below: u64) -> u64 {
        // xorshift: any sequence will do.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % below
    }
}
