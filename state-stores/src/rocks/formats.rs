//! In which format each store's entries are: noted in the database, so that a store whose kind (with headers, versioned) or
//! key layout (segments depend on the retention) has changed since is not misread. It is emptied, and restored from its
//! changelog, which is the same for all formats.

use ::rocksdb::WriteBatch;

use super::db::TaskDb;
use super::meta::{CHANGELOG_OFFSET, META_FAMILY, STORE_FORMAT, partition_key};
use crate::StoreError;
use crate::building::layout_of;
use crate::contract::{StoreKind, StoreSpec};
use crate::cursor::successor;
use crate::keys::KeyLayout;
use crate::time_index::is_indexed;

/// What distinguishes the formats, as text; it is compared, never taken apart.
fn format_of(spec: &StoreSpec) -> String {
    let values = match spec.kind {
        StoreKind::KeyValue | StoreKind::Window | StoreKind::Session => "values",
        StoreKind::TimestampedKeyValue | StoreKind::TimestampedWindow => "times and values",
        StoreKind::Versioned => "versions",
        StoreKind::TimestampedKeyValueWithHeaders | StoreKind::TimestampedWindowWithHeaders => {
            "headers, times and values"
        }
        StoreKind::SessionWithHeaders => "headers and values",
    };
    let layout = layout_of(spec);
    let index = if is_indexed(spec, layout) { ", indexed by time" } else { "" };
    match layout {
        KeyLayout::Segments { interval_ms, .. } if spec.kind.is_session() => {
            format!("{values} by sessions in segments of {interval_ms} ms{index}")
        }
        KeyLayout::Segments { interval_ms, .. } => {
            format!("{values} by windows in segments of {interval_ms} ms{index}")
        }
        KeyLayout::Plain | KeyLayout::Times { .. } | KeyLayout::Versions => format!("{values} by key"),
    }
}

impl TaskDb {
    /// Empties the stores whose format is another one than that of their entries, and makes the task restore.
    pub(super) fn check_store_formats(&self, stores: &[StoreSpec]) -> Result<(), StoreError> {
        let meta = self.meta_family()?;
        let mut batch = WriteBatch::default();
        let mut changed = Vec::new();
        for spec in stores.iter().filter(|spec| spec.persistent) {
            let (key, format) = (format!("{STORE_FORMAT}{}", spec.name), format_of(spec));
            let noted = self.db.get_pinned_cf(meta, &key);
            let noted = noted.map_err(|error| self.error("read of the stores' formats", error))?;
            if noted.as_deref() == Some(format.as_bytes()) {
                continue;
            }
            batch.put_cf(meta, &key, &format);
            if noted.is_some() {
                changed.push(spec.name.as_str());
                self.empty_store(&spec.name, &mut batch)?;
            }
        }
        if !changed.is_empty() {
            tracing::warn!(path = %self.path().display(), stores = ?changed,
                "these stores are kept in another format than before; the task restores them from their changelogs");
            // Which topics are theirs is not known here, so all of the task is restored.
            for (topic, partition) in self.changelog_offsets()?.into_keys() {
                batch.delete_cf(meta, partition_key(CHANGELOG_OFFSET, &topic, partition));
            }
        }
        if batch.is_empty() { Ok(()) } else { self.write(batch, 0) }
    }

    /// Removes all entries of a store.
    pub(super) fn empty_store(&self, store: &str, batch: &mut WriteBatch) -> Result<(), StoreError> {
        debug_assert_ne!(store, META_FAMILY);
        let family = self.family(store)?;
        let mut last = self.db.raw_iterator_cf(family);
        last.seek_to_last();
        last.status().map_err(|error| self.error("read of a store's last key", error))?;
        if let Some(last) = last.key() {
            batch.delete_range_cf(family, Vec::new(), successor(last.to_vec()));
        }
        Ok(())
    }
}
