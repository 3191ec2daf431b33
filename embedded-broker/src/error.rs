//! What can stop a broker from starting or stopping cleanly.
//!
//! Faults of a single request never appear here: they are answered with the protocol's error code.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::ConfigError;

/// An error of the broker as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// A setting is unknown or has a value it can't take.
    #[error("invalid broker setting")]
    Config(#[from] ConfigError),
    /// The listen address can't be bound.
    #[error(
        "cannot listen on {address}: choose a free port (0 lets the system choose) on an address of this machine"
    )]
    Listen {
        /// The address asked for.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another broker has the data directory.
    #[error("data directory {path} is in use by another broker: stop it or choose another directory", path = .path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The data directory can't be read or written.
    #[error("cannot {action} {path}", path = .path.display())]
    Storage {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the broker's own has content it never writes.
    #[error("{path} is damaged: {reason}; restore it from a copy or start with an empty data directory", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The log of committed offsets can't be created or read: starting without it would lose every group's place.
    #[error("cannot load the committed offsets and consumer groups")]
    Offsets(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The log of transactions can't be created or read: starting without it would leave transactions open for ever.
    #[error("cannot load the state of transactions")]
    Transactions(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A log can't be flushed and closed at the end; what it acknowledged is checked at the next start.
    #[error("cannot close the logs cleanly")]
    Close(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The broker's threads can't be started, or one of them failed.
    #[error("the broker's threads failed")]
    Threads {
        /// What the system said.
        source: io::Error,
    },
    /// Connections were still being answered when the time allowed for a clean stop ran out.
    #[error("broker at {address} stopped with {connections} connections still busy")]
    StoppedBusy {
        /// The broker's address.
        address: SocketAddr,
        /// Connections cut off.
        connections: usize,
    },
}

impl BrokerError {
    /// An I/O fault on a file of the broker; `action` reads well after "cannot".
    pub(crate) fn storage(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        BrokerError::Storage { action, path: path.into(), source }
    }
}
