//! RocksDB tells its errors as text; here they become what the runtime can act on.

use std::path::Path;

use ::rocksdb::ErrorKind;

use crate::StoreError;

/// Names the failure of `action` on the database in `path`.
pub(super) fn database_error(path: &Path, action: &str, error: ::rocksdb::Error) -> StoreError {
    let path = path.to_owned();
    let kind = error.kind();
    let text = error.to_string();
    let source = error.into();
    if kind == ErrorKind::Corruption {
        StoreError::Corrupted { path, source }
    } else if text.contains("No space left") {
        StoreError::DiskFull { path, source }
    } else if text.contains("lock file") || text.contains("lock hold") || text.contains("LOCK") {
        StoreError::Locked { path, source }
    } else {
        StoreError::Database { path, action: action.to_owned(), source }
    }
}

/// Names the failure of `action` on the files of the database in `path`.
pub(super) fn file_error(path: &Path, action: &str, error: std::io::Error) -> StoreError {
    let path = path.to_owned();
    match error.kind() {
        std::io::ErrorKind::StorageFull => StoreError::DiskFull { path, source: error.into() },
        _ => StoreError::Database { path, action: action.to_owned(), source: error.into() },
    }
}
