use crate::Error;

/// Why a worker cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The name cannot name a mailbox.
    #[error(transparent)]
    Name(#[from] Error),
    /// The name is in use.
    #[error("{0:?} is there already")]
    Taken(String),
    /// There are as many as there may be.
    #[error("there are {0} already, which is the most; end one first")]
    Full(usize),
}

/// Why a letter is not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Nobody but the sender would get it.
    #[error("nobody but you would get this letter")]
    NobodyElse,
    /// There is nobody of this name; the names that there are.
    #[error("there is no {0:?} to write to; there is: {1}")]
    Unknown(String, String),
    /// So many were allowed, and are written.
    #[error("{0} letters were written since the last prompt, which is the most; come to an end")]
    TooMany(usize),
    /// The transport failed.
    #[error(transparent)]
    Transport(#[from] Error),
}
