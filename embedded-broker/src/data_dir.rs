//! The data directory: its lock, its identity, the mark of a clean stop, and files replaced atomically.
//!
//! ```text
//! <data dir>/
//!   .lock             held while a broker runs
//!   meta.properties   cluster.id, version of this layout
//!   clean-shutdown    present only between a clean stop and the next start
//!   producer-ids      first producer id not yet handed out in blocks
//!   topics/           see topics::store
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use uuid::Uuid;

use crate::error::BrokerError;

/// Version of the directory's layout.
const VERSION: &str = "1";

/// A data directory this process has to itself.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    cluster_id: String,
    was_clean: bool,
    // Order of drop: the lock goes before the temporary directory that holds its file.
    _lock: File,
    temporary: Option<TempDir>,
}

impl DataDir {
    /// Opens or creates `path` (`None`: a temporary directory, deleted on drop) and locks it.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, BrokerError> {
        let temporary = match path {
            Some(_) => None,
            None => {
                Some(tempfile::Builder::new().prefix("embedded-broker-").tempdir().map_err(|source| {
                    BrokerError::storage("create a directory in", std::env::temp_dir(), source)
                })?)
            }
        };
        let path = match (path, &temporary) {
            (Some(path), _) => path.to_owned(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => PathBuf::new(),
        };
        fs::create_dir_all(&path)
            .map_err(|source| BrokerError::storage("create directory", &path, source))?;
        let lock = lock(&path)?;
        let cluster_id = identity(&path)?;
        let marker = path.join("clean-shutdown");
        let was_clean = marker.exists();
        if was_clean {
            // Gone before the first write: after a crash from here on the logs must be checked.
            fs::remove_file(&marker).map_err(|source| BrokerError::storage("remove", &marker, source))?;
            sync_directory(&path).map_err(|source| BrokerError::storage("sync directory", &path, source))?;
        }
        Ok(DataDir { path, cluster_id, was_clean, _lock: lock, temporary })
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The id clients see; made up when the directory was created.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Whether the last broker here stopped cleanly, so that its logs need no check.
    pub(crate) fn was_clean(&self) -> bool {
        self.was_clean
    }

    /// Deletes a temporary directory now, not when the last thread lets go of it: a program may end before.
    pub(crate) fn discard_temporary(&self) {
        if self.temporary.is_some() {
            // What is left is the system's to clean, as with every temporary file of a program that died.
            let _ = fs::remove_dir_all(&self.path);
        }
    }

    /// Notes that everything was flushed.
    pub(crate) fn mark_clean(&self) -> Result<(), BrokerError> {
        let marker = self.path.join("clean-shutdown");
        write_atomically(&marker, b"").map_err(|source| BrokerError::storage("write", marker, source))
    }
}

fn lock(dir: &Path) -> Result<File, BrokerError> {
    let path = dir.join(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| BrokerError::storage("open", &path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BrokerError::Locked { path: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(BrokerError::storage("lock", path, source)),
    }
}

/// Reads or makes up the cluster id.
fn identity(dir: &Path) -> Result<String, BrokerError> {
    let path = dir.join("meta.properties");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let cluster_id = short_id(Uuid::new_v4());
            let text = format!("version={VERSION}\ncluster.id={cluster_id}\n");
            write_atomically(&path, text.as_bytes())
                .map_err(|source| BrokerError::storage("write", &path, source))?;
            return Ok(cluster_id);
        }
        Err(source) => return Err(BrokerError::storage("read", path, source)),
    };
    let damaged = |reason: &str| BrokerError::Damaged { path: path.clone(), reason: reason.to_owned() };
    let properties = parse_properties(&text);
    match properties.iter().find(|(key, _)| *key == "version") {
        Some((_, VERSION)) => {}
        Some((_, other)) => {
            return Err(damaged(&format!("layout version {other}, this broker knows {VERSION}")));
        }
        None => return Err(damaged("no version")),
    }
    let id = properties.iter().find(|(key, _)| *key == "cluster.id");
    id.map(|(_, id)| (*id).to_owned()).ok_or_else(|| damaged("no cluster.id"))
}

/// `key=value` lines; blank lines and comments are skipped.
pub(crate) fn parse_properties(text: &str) -> Vec<(&str, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).collect()
}

/// 22 characters of URL-safe base64 without padding: how Apache Kafka writes a UUID.
pub(crate) fn short_id(id: Uuid) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let number = id.as_u128();
    // 128 bits are 21 digits of 6 bits and one of 2 bits, padded on the right.
    (0..22)
        .map(|digit| {
            let shift = 122 - 6 * digit;
            let bits = if shift >= 0 { number >> shift } else { number << -shift };
            char::from(DIGITS[usize::try_from(bits & 63).unwrap_or(0)])
        })
        .collect()
}

/// Replaces the file as a whole: after a crash it holds either the old or the new content.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes the directory's entries (creations, renames) durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    // Windows can't open directories as files, and needs no such call.
    if cfg!(windows) { Ok(()) } else { File::open(path)?.sync_all() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_kafka_writes_them() {
        // Kafka's Uuid.METADATA_TOPIC_ID and a value checked with java.util.Base64.
        assert_eq!(short_id(Uuid::from_u128(1)), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(short_id(Uuid::from_u128(u128::MAX)), "_____________________w");
    }

    #[test]
    fn two_brokers_cannot_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(Some(dir.path())).unwrap();
        assert!(matches!(DataDir::open(Some(dir.path())), Err(BrokerError::Locked { .. })));
        let id = first.cluster_id().to_owned();
        drop(first);
        assert_eq!(DataDir::open(Some(dir.path())).unwrap().cluster_id(), id);
    }

    #[test]
    fn the_mark_of_a_clean_stop_holds_for_one_start() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(Some(dir.path())).unwrap();
        assert!(!first.was_clean());
        first.mark_clean().unwrap();
        drop(first);
        assert!(DataDir::open(Some(dir.path())).unwrap().was_clean());
        assert!(!DataDir::open(Some(dir.path())).unwrap().was_clean());
    }

    #[test]
    fn a_directory_of_another_layout_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("meta.properties"), "version=9\ncluster.id=x\n").unwrap();
        let error = DataDir::open(Some(dir.path())).unwrap_err();
        assert!(error.to_string().contains("layout version 9"), "{error}");
    }
}
