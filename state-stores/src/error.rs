//! What can go wrong in a store, told so that the runtime knows what to do and a person knows where to look.

use std::error::Error;
use std::path::PathBuf;

use crate::SerdeError;

/// An error of a state store or of the database below it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A key or value could not be written to, or read from, the bytes of a store: most often the serde changed while
    /// the state of the old one was still there.
    #[error(
        "store {store}: the {part} serde failed; does the serde fit the data that the store and its changelog hold? Use the serde that wrote it, or give the store another name"
    )]
    Serde {
        /// Name of the store.
        store: String,
        /// `key` or `value`.
        part: &'static str,
        /// What the serde said.
        #[source]
        source: SerdeError,
    },
    /// A key that is null in bytes was given to a store.
    #[error("store {store}: null is not a key")]
    NullKey {
        /// Name of the store.
        store: String,
    },
    /// The store was used after it was closed.
    #[error("store {store} is closed")]
    Closed {
        /// Name of the store.
        store: String,
    },
    /// A global store is written by its own processor alone.
    #[error("store {store} is global, hence read-only here: write to its topic instead")]
    ReadOnly {
        /// Name of the store.
        store: String,
    },
    /// A store was described in a way that cannot be built.
    #[error("store {store}: {reason}")]
    InvalidStore {
        /// Name of the store.
        store: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A [`BytesStore`](crate::BytesStore) of the user's own failed.
    #[error("store {store}: {action} failed in the store's own engine")]
    OwnStore {
        /// Name of the store.
        store: String,
        /// What was being done, for example `write of a commit`.
        action: &'static str,
        /// What the engine said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The changelog refused an update; raised by implementations of [`ChangelogSink`](crate::ChangelogSink).
    #[error("the changelog of store {store} could not be written")]
    Changelog {
        /// Name of the store, or of its changelog topic.
        store: String,
        /// What the producer said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A changelog record that cannot be one of this store.
    #[error(
        "store {store}: a changelog record does not fit the store: {reason}; was the topic written by another store?"
    )]
    BadChangelogRecord {
        /// Name of the store.
        store: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The database's directory is in use by another process, or by another task of this one.
    #[error(
        "{path} is locked: another process (or another instance with the same state.dir) uses it; stop that one or give each its own state.dir"
    )]
    Locked {
        /// The database's directory.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The disk is full. What was written before stays intact.
    #[error("no space left on the disk of {path}: free some, then restart; no committed data is lost")]
    DiskFull {
        /// The database's directory.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The local copy is damaged. The changelog still has everything: wipe the directory and restore.
    #[error("the state in {path} is damaged: it has to be deleted and restored from the changelog")]
    Corrupted {
        /// The database's directory.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The directory was written by a later version of this library.
    #[error(
        "the state in {path} has format {found}, this version reads up to {supported}: update, or delete the directory to restore from the changelog"
    )]
    UnsupportedFormat {
        /// The database's directory.
        path: PathBuf,
        /// Format found.
        found: i64,
        /// Newest format that this version reads.
        supported: i64,
    },
    /// Any other failure of the database or the file system.
    #[error("{path}: {action} failed")]
    Database {
        /// The database's directory.
        path: PathBuf,
        /// What was being done, for example `write of a commit`.
        action: String,
        /// What the database said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl StoreError {
    /// Whether deleting the task's directory and restoring from the changelog is the remedy.
    pub fn needs_wipe(&self) -> bool {
        matches!(self, StoreError::Corrupted { .. })
    }

    /// Whether trying again later can help (the lock may be released, space may be freed).
    pub fn is_retriable(&self) -> bool {
        matches!(self, StoreError::Locked { .. } | StoreError::DiskFull { .. })
    }

    pub(crate) fn key_serde(store: &str, source: SerdeError) -> Self {
        StoreError::Serde { store: store.to_owned(), part: "key", source }
    }

    pub(crate) fn value_serde(store: &str, source: SerdeError) -> Self {
        StoreError::Serde { store: store.to_owned(), part: "value", source }
    }
}
