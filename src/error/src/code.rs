//! The exit codes, for scripts.

use casemate_wire::FailureKind;
use std::process::ExitCode;

/// Exit codes other than 0. They do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A container, or the verb itself, failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The file is wrong.
    Spec = 3,
    /// Bytes do not have the pinned digest.
    Verification = 4,
    /// This host cannot apply a control.
    NotEnforceable = 5,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

impl From<FailureKind> for Code {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Container | FailureKind::Refused | FailureKind::UnknownRequest => Self::Failed,
            FailureKind::Verification | FailureKind::BlobDiffers | FailureKind::BytesLimit => Self::Verification,
            FailureKind::NotEnforceable => Self::NotEnforceable,
        }
    }
}
