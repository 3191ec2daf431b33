//! Topics on disk.
//!
//! ```text
//! topics/<name>/topic.properties   id, partitions, the topic's own settings; replaced atomically
//! topics/<name>/<partition>/       the partition's log
//! deleted/<id>/                    a deleted topic until its files are gone
//! ```
//! A topic exists from the moment its `topic.properties` is in place until its directory is renamed into
//! `deleted/`: both are single steps, so that a crash leaves no half topic behind. A directory without the file is
//! the rest of a creation that was cut off and is removed at start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::config::Settings;
use crate::data_dir::{parse_properties, sync_directory, write_atomically};
use crate::error::BrokerError;
use crate::log::{Disk, DiskOp};

/// What `topic.properties` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    pub(crate) partitions: i32,
    pub(crate) overrides: Settings,
}

/// The directories of topics.
#[derive(Debug)]
pub(crate) struct Store {
    topics: PathBuf,
    deleted: PathBuf,
    disk: Disk,
}

impl Store {
    /// Opens or creates the directories below `data_dir`.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, BrokerError> {
        let (topics, deleted) = (data_dir.join("topics"), data_dir.join("deleted"));
        let store = Store { topics, deleted, disk: Disk::default() };
        for dir in [&store.topics, &store.deleted] {
            fs::create_dir_all(dir)
                .map_err(|source| BrokerError::storage("create directory", dir, source))?;
        }
        Ok(store)
    }

    /// With a disk on which things go wrong on purpose.
    pub(crate) fn on(self, disk: Disk) -> Self {
        Store { disk, ..self }
    }

    /// Where a partition's log lives.
    pub(crate) fn partition_dir(&self, topic: &str, partition: i32) -> PathBuf {
        self.topics.join(topic).join(partition.to_string())
    }

    /// Every topic, after clearing away what a crash left of creations and deletions.
    pub(crate) fn load(&self) -> Result<Vec<Stored>, BrokerError> {
        for dir in list(&self.deleted)? {
            remove(&dir);
        }
        let mut topics = Vec::new();
        for dir in list(&self.topics)? {
            let path = dir.join("topic.properties");
            match fs::read_to_string(&path) {
                Ok(text) => {
                    topics.push(parse(&dir, &text).map_err(|reason| BrokerError::Damaged { path, reason })?)
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => remove(&dir),
                Err(source) => return Err(BrokerError::storage("read", path, source)),
            }
        }
        Ok(topics)
    }

    /// Makes the directory of a topic to be created. It must not be there: on a file system that takes `A` for `a`, the
    /// new topic would otherwise share the directory of an old one.
    pub(crate) fn begin(&self, topic: &str) -> Result<(), BrokerError> {
        let dir = self.topics.join(topic);
        self.disk
            .allow(DiskOp::Create, &dir)
            .and_then(|()| fs::create_dir(&dir))
            .map_err(|source| BrokerError::storage("create directory", dir, source))
    }

    /// Writes a topic's file: creates the topic or changes its partitions and settings.
    pub(crate) fn save(&self, topic: &Stored) -> Result<(), BrokerError> {
        let dir = self.topics.join(&topic.name);
        let mut text = format!("id={}\npartitions={}\n", topic.id, topic.partitions);
        for (name, value) in &topic.overrides {
            text.push_str(&format!("config.{name}={value}\n"));
        }
        let path = dir.join("topic.properties");
        self.disk
            .allow(DiskOp::Write, &path)
            .and_then(|()| write_atomically(&path, text.as_bytes()))
            .and_then(|()| sync_directory(&self.topics))
            .map_err(|source| BrokerError::storage("write", path, source))
    }

    /// Takes the topic out of existence; returns the directory whose files are still to be removed.
    pub(crate) fn retire(&self, topic: &str, id: Uuid) -> Result<PathBuf, BrokerError> {
        let (from, to) = (self.topics.join(topic), self.deleted.join(id.to_string()));
        self.disk
            .allow(DiskOp::Rename, &from)
            .and_then(|()| fs::rename(&from, &to))
            .and_then(|()| sync_directory(&self.topics))
            .map_err(|source| BrokerError::storage("remove topic directory", from, source))?;
        Ok(to)
    }

    /// Removes what a failed creation left.
    pub(crate) fn discard(&self, topic: &str) {
        remove(&self.topics.join(topic));
    }
}

/// Removes a directory; what can't be removed is tried again at the next start.
pub(crate) fn remove(dir: &Path) {
    if let Err(error) = fs::remove_dir_all(dir) {
        tracing::warn!(dir = %dir.display(), %error, "cannot remove a deleted topic's files; trying again at the next start");
    }
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, BrokerError> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|source| BrokerError::storage("list", dir, source))?;
    let mut paths: Vec<PathBuf> =
        entries.iter().map(fs::DirEntry::path).filter(|path| path.is_dir()).collect();
    paths.sort();
    Ok(paths)
}

fn parse(dir: &Path, text: &str) -> Result<Stored, String> {
    let name =
        dir.file_name().and_then(|name| name.to_str()).ok_or("the directory's name is not a topic's")?;
    super::name::check(name)?;
    let (mut id, mut partitions, mut overrides) = (None, None, Settings::new());
    for (key, value) in parse_properties(text) {
        match key {
            "id" => id = Uuid::parse_str(value).ok(),
            "partitions" => partitions = value.parse().ok().filter(|count| *count > 0),
            _ => {
                let name = key.strip_prefix("config.").ok_or_else(|| format!("unknown entry {key}"))?;
                overrides.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    let id = id.ok_or("no valid id")?;
    let partitions = partitions.ok_or("no valid number of partitions")?;
    Ok(Stored { name: name.to_owned(), id, partitions, overrides })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Stored {
        let overrides = [("cleanup.policy".to_owned(), "compact".to_owned())].into();
        Stored { name: name.to_owned(), id: Uuid::from_u128(7), partitions: 3, overrides }
    }

    #[test]
    fn a_saved_topic_is_loaded_and_a_retired_one_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for name in ["a", "b"] {
            store.begin(name).unwrap();
            store.save(&topic(name)).unwrap();
        }
        assert_eq!(store.load().unwrap(), [topic("a"), topic("b")]);
        let left = store.retire("a", Uuid::from_u128(7)).unwrap();
        assert!(left.exists());
        assert_eq!(store.load().unwrap(), [topic("b")]);
        assert!(!left.exists(), "the start after a crash finishes the deletion");
    }

    #[test]
    fn a_creation_cut_off_by_a_crash_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        fs::create_dir_all(store.partition_dir("half", 0)).unwrap();
        assert_eq!(store.load().unwrap(), []);
        assert!(!store.partition_dir("half", 0).exists());
    }

    #[test]
    fn a_topic_with_the_longest_name_can_be_retired() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let name = "x".repeat(249);
        store.begin(&name).unwrap();
        assert!(store.begin(&name).is_err(), "a directory is never shared");
        store.save(&topic(&name)).unwrap();
        store.retire(&name, Uuid::from_u128(7)).unwrap();
        assert_eq!(store.load().unwrap(), []);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.begin("a").unwrap();
        store.save(&topic("a")).unwrap();
        fs::write(dir.path().join("topics/a/topic.properties"), "id=x\n").unwrap();
        let error = store.load().unwrap_err().to_string();
        assert!(error.contains("topic.properties is damaged: no valid id"), "{error}");
    }
}
