//! The tasks' databases: opened here, with what they share.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kstreams_state_stores::{
    RocksDbConfigSetter, RocksDbResources, RocksDbSettings, SharedStores, StoreError, StoreSpec, TaskBackend,
    TaskDb,
};

use super::instance::Instance;
use crate::config::{MemoryPlan, MetricsRecordingLevel};
use crate::error::StreamsError;
use crate::state_dir::{StateDirectory, TaskDirectory};
use crate::task::{TaskId, TopicPartition};
use crate::topology::{SubTopology, Topology};

/// What all databases of an instance share.
pub(crate) struct Databases {
    pub(crate) resources: Arc<RocksDbResources>,
    pub(crate) setter: Option<Arc<dyn RocksDbConfigSetter>>,
}

impl Databases {
    pub(crate) fn new(
        memory: MemoryPlan,
        setter: Option<Arc<dyn RocksDbConfigSetter>>,
        level: MetricsRecordingLevel,
    ) -> Self {
        let memory_bytes = usize::try_from(memory.rocksdb_bytes).unwrap_or(usize::MAX);
        let statistics = level >= MetricsRecordingLevel::Debug;
        let settings = RocksDbSettings { memory_bytes, statistics, ..RocksDbSettings::default() };
        let resources = RocksDbResources::new(settings);
        Databases { resources, setter }
    }
}

/// Opens the database of a task in its folder; a task whose stores are all in memory has none. A damaged database is
/// deleted and made anew: the changelogs have everything.
///
/// # Errors
/// When it can't be opened, for instance because another process has it.
pub(crate) fn open(
    instance: &Instance,
    task: TaskId,
) -> Result<(TaskBackend, Option<TaskDirectory>), StreamsError> {
    let specs = specs(instance, &*instance.part_of(task)?);
    let Some(state) = instance.state_dir.lock().clone().filter(|_| specs.iter().any(|spec| spec.persistent))
    else {
        return Ok((TaskBackend::Memory, None));
    };
    let directory = state.task_dir(task)?;
    let db = open_or_wipe(instance, task, directory.path(), &specs, || Ok(directory.wipe()?))?;
    Ok((TaskBackend::Rocks(Arc::new(db)), Some(directory)))
}

/// Opens the global stores, and answers the folder that has to stay locked meanwhile.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_global(
    instance: &Instance,
) -> Result<(SharedStores, Option<StateDirectory>), StreamsError> {
    let specs: Vec<StoreSpec> =
        instance.topology.global_stores().into_iter().map(|store| store.spec).collect();
    let Some(state) = instance.state_dir.lock().clone().filter(|_| specs.iter().any(|spec| spec.persistent))
    else {
        return Ok((SharedStores::new(None), None));
    };
    let folder = state.global_dir()?;
    let db = open_or_wipe(instance, TaskId::GLOBAL, &folder, &specs, || Ok(state.wipe_global()?))?;
    Ok((SharedStores::new(Some(Arc::new(db))), Some(state)))
}

fn open_or_wipe(
    instance: &Instance,
    task: TaskId,
    folder: &Path,
    specs: &[StoreSpec],
    wipe: impl FnOnce() -> Result<(), StreamsError>,
) -> Result<TaskDb, StreamsError> {
    let path = folder.join("rocksdb");
    let databases = &instance.databases;
    let open = || TaskDb::open(&path, specs, &databases.resources, databases.setter.clone());
    let db = match open() {
        Err(error) if error.needs_wipe() => {
            tracing::warn!(
                %task, path = %path.display(), %error,
                "the local state is damaged; it is deleted and restored"
            );
            wipe()?;
            open()
        }
        answer => answer,
    };
    db.map_err(|source| StreamsError::Store { task: task.to_string(), source })
}

/// Whether the topology keeps anything on disk.
pub(crate) fn has_local_state(topology: &Topology) -> bool {
    topology.stores.values().any(|store| store.spec.persistent)
}

/// The stores that a task of this sub-topology has.
fn specs(instance: &Instance, part: &SubTopology) -> Vec<StoreSpec> {
    let stores = instance.topology.stores.values();
    stores
        .filter(|store| store.global.is_none() && store.users.iter().any(|user| part.nodes.contains(user)))
        .map(|store| store.spec.clone())
        .collect()
}

/// The next offset to restore of each changelog, as far as the database knows.
///
/// # Errors
/// Those of the database.
pub(crate) fn changelog_offsets(backend: &TaskBackend) -> Result<BTreeMap<TopicPartition, i64>, StoreError> {
    let Some(db) = backend.db() else { return Ok(BTreeMap::new()) };
    let offsets = db.changelog_offsets()?.into_iter();
    Ok(offsets.map(|((topic, partition), offset)| (TopicPartition::new(topic, partition), offset)).collect())
}

/// Makes what is committed safe against a crash: at close.
///
/// # Errors
/// Those of the database.
pub(crate) fn flush(backend: &TaskBackend) -> Result<(), StoreError> {
    match backend {
        TaskBackend::Rocks(db) if db.has_unflushed() => db.flush(),
        _ => Ok(()),
    }
}

/// The same, if the last time is long ago: a quiet task's offsets must not fall behind the retention of its changelogs.
///
/// # Errors
/// Those of the database.
pub(crate) fn flush_if_due(backend: &TaskBackend) -> Result<(), StoreError> {
    match backend {
        TaskBackend::Rocks(db) => db.flush_if_due(Instant::now()),
        _ => Ok(()),
    }
}
