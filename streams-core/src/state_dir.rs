//! The folder of an application's local state, and who may use it.
//!
//! ```text
//! <state.dir>/<application.id>/
//!   .lock                              held by the one process that uses the folder
//!   kafka-streams-process-metadata     {"processId":"<uuid>"}: the same id after a restart
//!   <sub-topology>_<partition>/        one per task: 0_0, 0_1, 1_0
//!   global/                            global stores
//! ```
//!
//! As in Kafka Streams (`StateDirectory`). The lock is `flock`'s; the JVM's is another kind that this one does not see: do not run a
//! JVM instance and this library in one `state.dir` at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use uuid::Uuid;

use crate::task::TaskId;

const LOCK_FILE: &str = ".lock";
const PROCESS_FILE: &str = "kafka-streams-process-metadata";
const GLOBAL_DIR: &str = "global";

/// What is wrong with a folder of local state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateDirError {
    /// Another process, or another instance in this process, uses the folder.
    #[error(
        "state directory {} is in use by another instance (process {holder}): stop it, or give this one its own `state.dir`",
        path.display()
    )]
    Locked {
        /// The application's folder.
        path: PathBuf,
        /// Id of the process that holds the lock, as far as known.
        holder: String,
    },
    /// The folder cannot be written by this user.
    #[error(
        "state directory {} cannot be written: make it writable for this user, or set `state.dir` to a folder that is",
        path.display()
    )]
    NotWritable {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk, or the user's quota, is used up.
    #[error("the disk that holds {} is full: free space there, or set `state.dir` to a larger disk", path.display())]
    DiskFull {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A path of the state directory is something else, a file for instance.
    #[error("{} is not a directory: remove it, or set `state.dir` to another folder", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// A task's folder is in use already.
    #[error("the state of task {task} in {} is still in use by another thread", path.display())]
    TaskInUse {
        /// The task.
        task: TaskId,
        /// Its folder.
        path: PathBuf,
    },
    /// The state cannot be deleted while tasks use it.
    #[error("the local state in {} cannot be cleaned up while tasks run: close the instance first", path.display())]
    CleanUpWhileRunning {
        /// The application's folder.
        path: PathBuf,
    },
    /// Anything else that the system said.
    #[error("{action} {} failed", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StateDirError {
    /// The error that says most about what the system answered.
    fn of(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                StateDirError::NotWritable { path, source }
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StateDirError::DiskFull { path, source },
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => StateDirError::NotADirectory { path },
            _ => StateDirError::Io { action, path, source },
        }
    }
}

/// An application's folder, locked for this instance until dropped. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StateDirectory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    process_id: Uuid,
    /// Whether the user's group may write into the folders.
    group_writes: bool,
    tasks: Mutex<Tasks>,
    /// Held for its lock; the system releases it with the process, however that ends.
    _lock: File,
}

#[derive(Debug, Default)]
struct Tasks {
    in_use: BTreeSet<TaskId>,
    /// When a task's folder was last given back (wall clock, ms): its age counts from there.
    released_ms: BTreeMap<TaskId, i64>,
}

impl StateDirectory {
    /// Creates the folder where it is missing, locks it, and finds or makes the process id.
    ///
    /// # Errors
    /// `Locked` when another instance uses it; `NotWritable`, `DiskFull`, `NotADirectory` and `Io` when it cannot be made.
    pub fn open(state_dir: &Path, application_id: &str) -> Result<Self, StateDirError> {
        Self::open_for(state_dir, application_id, false)
    }

    /// As [`open`](Self::open); with `group_writes` the user's group may write into what is made
    /// (`allow.os.group.write.access`).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_for(
        state_dir: &Path,
        application_id: &str,
        group_writes: bool,
    ) -> Result<Self, StateDirError> {
        let path = state_dir.join(application_id);
        create_dir(&path, group_writes)?;
        let lock = lock(&path)?;
        let process_id = process_id(&path)?;
        tracing::debug!(path = %path.display(), %process_id, "state directory locked");
        Ok(StateDirectory {
            inner: Arc::new(Inner { path, process_id, group_writes, tasks: Mutex::default(), _lock: lock }),
        })
    }

    /// The application's folder.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Id of this instance in the group and in its clients' ids; survives restarts with the folder.
    pub fn process_id(&self) -> Uuid {
        self.inner.process_id
    }

    /// The folder of a task, made where it is missing, for the holder of the guard alone.
    ///
    /// # Errors
    /// `TaskInUse` while another guard of the task lives; the folder's own troubles as for [`open`](Self::open).
    pub fn task_dir(&self, task: TaskId) -> Result<TaskDirectory, StateDirError> {
        let path = self.inner.path.join(task.to_string());
        if !self.inner.tasks.lock().in_use.insert(task) {
            return Err(StateDirError::TaskInUse { task, path });
        }
        // From here the guard gives the task back, also when the folder cannot be made.
        let guard = TaskDirectory { directory: self.clone(), task, path };
        create_dir(&guard.path, self.inner.group_writes)?;
        Ok(guard)
    }

    /// The folder of global stores, made where it is missing.
    ///
    /// # Errors
    /// The folder's own troubles as for [`open`](Self::open).
    pub fn global_dir(&self) -> Result<PathBuf, StateDirError> {
        let path = self.inner.path.join(GLOBAL_DIR);
        create_dir(&path, self.inner.group_writes)?;
        Ok(path)
    }

    /// Deletes what is in the folder of global stores, which nobody may have open.
    ///
    /// # Errors
    /// `NotWritable` or `Io` when something cannot be deleted.
    pub fn wipe_global(&self) -> Result<(), StateDirError> {
        let path = self.global_dir()?;
        fs::remove_dir_all(&path).map_err(|source| StateDirError::of("deleting", &path, source))?;
        create_dir(&path, self.inner.group_writes)
    }

    /// Tasks whose folders exist, in use or not: those that this instance can take over with little to restore.
    ///
    /// # Errors
    /// `Io` when the folder cannot be listed.
    pub fn existing_tasks(&self) -> Result<Vec<TaskId>, StateDirError> {
        let failed = |source| StateDirError::of("listing", &self.inner.path, source);
        let mut tasks = Vec::new();
        for entry in fs::read_dir(&self.inner.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let task: Option<TaskId> = entry.file_name().to_str().and_then(|name| name.parse().ok());
            tasks.extend(task.filter(|_| entry.path().is_dir()));
        }
        tasks.sort_unstable();
        Ok(tasks)
    }

    /// Deletes the folders of tasks that nobody uses and whose newest file is older than `delay` at `now_ms` (wall clock), and
    /// answers which (`state.cleanup.delay.ms`). A folder that cannot be deleted is left for the next time, with a warning.
    ///
    /// # Errors
    /// `Io` when the application's folder cannot be listed.
    pub fn clean_obsolete(&self, now_ms: i64, delay: Duration) -> Result<Vec<TaskId>, StateDirError> {
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        let mut deleted = Vec::new();
        for task in self.existing_tasks()? {
            // Locked over the deletion, so that nobody takes the folder meanwhile.
            let mut tasks = self.inner.tasks.lock();
            if tasks.in_use.contains(&task) {
                continue;
            }
            let path = self.inner.path.join(task.to_string());
            let last_used =
                tasks.released_ms.get(&task).copied().unwrap_or(i64::MIN).max(newest_change_ms(&path));
            if now_ms.saturating_sub(last_used) < delay_ms {
                continue;
            }
            match fs::remove_dir_all(&path) {
                Ok(()) => {
                    tracing::info!(%task, path = %path.display(), "obsolete state deleted");
                    tasks.released_ms.remove(&task);
                    deleted.push(task);
                }
                Err(error) => {
                    tracing::warn!(%task, path = %path.display(), %error, "obsolete state cannot be deleted")
                }
            }
        }
        Ok(deleted)
    }

    /// Deletes all local state of the application (`KafkaStreams.cleanUp`): task and global folders. The process id stays. Nothing
    /// else in the folder is touched.
    ///
    /// # Errors
    /// `CleanUpWhileRunning` while a task's folder is in use; `NotWritable` or `Io` when something cannot be deleted.
    pub fn clean_up(&self) -> Result<(), StateDirError> {
        let mut tasks = self.inner.tasks.lock();
        if !tasks.in_use.is_empty() {
            return Err(StateDirError::CleanUpWhileRunning { path: self.inner.path.clone() });
        }
        let folders =
            self.existing_tasks()?.into_iter().map(|task| task.to_string()).chain([GLOBAL_DIR.to_owned()]);
        for path in folders.map(|name| self.inner.path.join(name)) {
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(StateDirError::of("deleting", &path, error));
                }
                _ => {}
            }
        }
        tasks.released_ms.clear();
        Ok(())
    }
}

/// The folder of a task, in use until dropped.
#[derive(Debug)]
pub struct TaskDirectory {
    directory: StateDirectory,
    task: TaskId,
    path: PathBuf,
}

impl TaskDirectory {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The task.
    pub fn task(&self) -> TaskId {
        self.task
    }

    /// Gives the folder back at `now_ms` (wall clock): `state.cleanup.delay.ms` counts from here. Dropping it gives it back too; its
    /// age then counts from its newest file.
    pub fn release(self, now_ms: i64) {
        self.directory.inner.tasks.lock().released_ms.insert(self.task, now_ms);
    }

    /// Deletes what is in the folder: local state that cannot be trusted.
    ///
    /// # Errors
    /// `NotWritable`, `DiskFull` or `Io`.
    pub fn wipe(&self) -> Result<(), StateDirError> {
        fs::remove_dir_all(&self.path).map_err(|source| StateDirError::of("deleting", &self.path, source))?;
        create_dir(&self.path, self.directory.inner.group_writes)
    }
}

impl Drop for TaskDirectory {
    fn drop(&mut self) {
        self.directory.inner.tasks.lock().in_use.remove(&self.task);
    }
}

/// Makes a folder and those above it, for this user and group alone as the JVM does.
fn create_dir(path: &Path, group_writes: bool) -> Result<(), StateDirError> {
    let failed = |source| StateDirError::of("creating", path, source);
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o750);
    builder.create(path).map_err(failed)?;
    // Set, not asked for at the creation: the process's mask mostly takes that bit away.
    #[cfg(unix)]
    if group_writes {
        let all_of_the_group = std::os::unix::fs::PermissionsExt::from_mode(0o770);
        fs::set_permissions(path, all_of_the_group).map_err(failed)?;
    }
    #[cfg(not(unix))]
    let _ = group_writes;
    Ok(())
}

fn lock(path: &Path) -> Result<File, StateDirError> {
    let file_path = path.join(LOCK_FILE);
    let failed = |source| StateDirError::of("locking", path, source);
    let opened = File::options().read(true).write(true).create(true).truncate(false).open(&file_path);
    let mut file = opened.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message; another kind of instance writes nothing there.
            let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
            let holder = if known { holder.trim().to_owned() } else { "unknown".to_owned() };
            return Err(StateDirError::Locked { path: path.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(failed)?;
    Ok(file)
}

/// The id kept in the folder, or a new one. A file that cannot be understood is replaced: the id has no meaning beyond being the same.
fn process_id(path: &Path) -> Result<Uuid, StateDirError> {
    let file = path.join(PROCESS_FILE);
    match fs::read(&file) {
        Ok(bytes) => match read_process_id(&bytes) {
            Some(id) => return Ok(id),
            None => tracing::warn!(path = %file.display(), "process id unreadable, taking a new one"),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(StateDirError::of("reading", &file, error)),
    }
    let id = Uuid::new_v4();
    let text = serde_json::json!({ "processId": id.to_string() }).to_string();
    fs::write(&file, text).map_err(|source| StateDirError::of("writing", &file, source))?;
    Ok(id)
}

fn read_process_id(bytes: &[u8]) -> Option<Uuid> {
    let json: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    json.get("processId")?.as_str()?.parse().ok()
}

/// The newest change within a task's folder, three levels deep (a store writes below the folder, not in it), in ms since the epoch; the
/// greatest number where that cannot be told, so that nothing is deleted by mistake.
fn newest_change_ms(path: &Path) -> i64 {
    fn walk(path: &Path, depth: u32) -> io::Result<SystemTime> {
        let mut newest = fs::metadata(path)?.modified()?;
        if depth > 0 && path.is_dir() {
            for entry in fs::read_dir(path)? {
                newest = newest.max(walk(&entry?.path(), depth - 1)?);
            }
        }
        Ok(newest)
    }
    let since_epoch = walk(path, 3).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since_epoch.and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId::new(3, 14);

    fn open(folder: &tempfile::TempDir) -> StateDirectory {
        StateDirectory::open(folder.path(), "app").unwrap()
    }

    /// The layout of vector `state_layout.json` ("processDirectory"), which the JVM made.
    #[test]
    fn the_layout_is_the_jvms_and_the_process_id_survives() {
        let folder = tempfile::tempdir().unwrap();
        let directory = open(&folder);
        let task = directory.task_dir(TASK).unwrap();
        let mut names: Vec<_> = fs::read_dir(folder.path().join("app"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, [".lock", "3_14", "kafka-streams-process-metadata"]);
        let id = directory.process_id();
        let text = fs::read_to_string(folder.path().join("app").join(PROCESS_FILE)).unwrap();
        assert_eq!(text, format!("{{\"processId\":\"{id}\"}}"));
        drop(task);
        drop(directory);
        assert_eq!(open(&folder).process_id(), id);
        fs::write(folder.path().join("app").join(PROCESS_FILE), "rubbish").unwrap();
        assert_ne!(open(&folder).process_id(), id);
    }

    #[test]
    fn a_second_instance_is_told_who_holds_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(&folder);
        let error = StateDirectory::open(folder.path(), "app").unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, StateDirError::Locked { .. }), "{error:?}");
        assert!(
            text.contains(&std::process::id().to_string())
                && text.contains("app")
                && text.contains("`state.dir`"),
            "{text}"
        );
        assert!(StateDirectory::open(folder.path(), "other").is_ok());
        drop(first);
        assert!(StateDirectory::open(folder.path(), "app").is_ok());
    }

    #[test]
    fn what_cannot_be_a_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let text = StateDirectory::open(&file, "app").unwrap_err().to_string();
        assert!(text.contains("file") && text.contains("state.dir"), "{text}");
        fs::write(folder.path().join("app"), "").unwrap();
        let error = StateDirectory::open(folder.path(), "app").unwrap_err();
        assert!(matches!(error, StateDirError::NotADirectory { .. }), "{error:?}");
    }

    /// Root may write anywhere and tests cannot fill a disk: the mapping is what can be shown everywhere.
    #[test]
    fn system_errors_become_messages_with_a_remedy() {
        let of = |kind| StateDirError::of("writing", Path::new("/data"), io::Error::from(kind)).to_string();
        assert!(of(ErrorKind::PermissionDenied).contains("writable for this user"));
        assert!(of(ErrorKind::ReadOnlyFilesystem).contains("writable for this user"));
        assert!(of(ErrorKind::StorageFull).contains("full"));
        assert!(of(ErrorKind::QuotaExceeded).contains("full"));
        assert_eq!(of(ErrorKind::Other), "writing /data failed");
    }

    #[test]
    fn a_task_folder_has_one_user_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let directory = open(&folder);
        let task = directory.task_dir(TASK).unwrap();
        assert!(matches!(directory.task_dir(TASK), Err(StateDirError::TaskInUse { task: TASK, .. })));
        fs::write(task.path().join("x"), "").unwrap();
        task.wipe().unwrap();
        assert_eq!(fs::read_dir(task.path()).unwrap().count(), 0);
        drop(task);
        assert!(directory.task_dir(TASK).is_ok());
    }

    #[test]
    fn only_unused_folders_older_than_the_delay_are_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let directory = open(&folder);
        let delay = Duration::from_secs(600);
        let used = directory.task_dir(TaskId::new(0, 0)).unwrap();
        let released = directory.task_dir(TaskId::new(0, 1)).unwrap();
        drop(directory.task_dir(TaskId::new(0, 2)).unwrap());
        fs::create_dir(directory.path().join("not-a-task")).unwrap();
        let now = newest_change_ms(directory.path());
        released.release(now + 500_000);
        assert_eq!(directory.clean_obsolete(now + 100_000, delay).unwrap(), []);
        assert_eq!(directory.clean_obsolete(now + 700_000, delay).unwrap(), [TaskId::new(0, 2)]);
        assert_eq!(directory.clean_obsolete(now + 1_200_000, delay).unwrap(), [TaskId::new(0, 1)]);
        assert_eq!(directory.existing_tasks().unwrap(), [TaskId::new(0, 0)]);
        assert!(directory.path().join("not-a-task").exists());
        drop(used);
    }

    #[cfg(unix)]
    #[test]
    fn the_group_may_write_only_where_that_is_asked_for() {
        use std::os::unix::fs::PermissionsExt as _;
        for (group_writes, mode) in [(false, 0o750), (true, 0o770)] {
            let folder = tempfile::tempdir().unwrap();
            let directory = StateDirectory::open_for(folder.path(), "app", group_writes).unwrap();
            let task = directory.task_dir(TASK).unwrap();
            for path in [directory.path(), task.path()] {
                assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode, "{path:?}");
            }
        }
    }

    #[test]
    fn a_clock_that_went_back_deletes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let directory = open(&folder);
        drop(directory.task_dir(TASK).unwrap());
        assert_eq!(directory.clean_obsolete(0, Duration::from_secs(1)).unwrap(), []);
    }

    #[test]
    fn clean_up_deletes_all_state_and_only_state() {
        let folder = tempfile::tempdir().unwrap();
        let directory = open(&folder);
        let task = directory.task_dir(TASK).unwrap();
        directory.global_dir().unwrap();
        fs::write(directory.path().join("notes.txt"), "mine").unwrap();
        assert!(matches!(directory.clean_up(), Err(StateDirError::CleanUpWhileRunning { .. })));
        drop(task);
        directory.clean_up().unwrap();
        assert_eq!(directory.existing_tasks().unwrap(), []);
        assert!(!directory.path().join(GLOBAL_DIR).exists());
        assert!(directory.path().join("notes.txt").exists());
        directory.clean_up().unwrap();
    }
}
