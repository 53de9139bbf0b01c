//! The exit codes: what a failure means to a script.

use casemate_wire::FailureKind;
use std::process::ExitCode;

/// The exit codes besides 0, stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A container, or the work itself, failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The file is wrong.
    Spec = 3,
    /// Bytes are not what was pinned.
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
