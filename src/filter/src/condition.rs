//! Conditions on the arguments of a system call.

/// A test of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// 0 to 5.
    pub argument: u8,
    /// Look at the low 32 bits only, as the kernel does with an `int`.
    pub bits32: bool,
    /// How to compare.
    pub operator: Operator,
    /// With what.
    pub value: u64,
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// Equal in the bits of this mask.
    MaskedEqual(u64),
}
