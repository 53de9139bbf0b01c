//! Conditions on the arguments of a system call.

/// A condition on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Index of the argument, 0 to 5.
    pub argument: u8,
    /// Compare the low 32 bits only, as the kernel does with an `int`.
    pub bits32: bool,
    /// Comparison.
    pub operator: Operator,
    /// Value to compare the argument with.
    pub value: u64,
}

/// Comparison of an argument with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// Equal after this mask is applied to the argument.
    MaskedEqual(u64),
}
