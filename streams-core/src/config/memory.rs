//! One memory budget, and what each part of an instance gets of it.
//!
//! `memory.budget.bytes` bounds what an instance holds by itself: records fetched ahead, records on their way out, updates that are
//! not committed yet, and RocksDB. Beside it stand the record cache (`statestore.cache.max.bytes`, a setting that shows in the
//! results) and what user code and in-memory stores hold.
//!
//! | part | share | for |
//! |---|---|---|
//! | prefetch | 2/32 | records fetched ahead, over all input partitions (`input.buffer.max.bytes` sets it apart) |
//! | produce | 1/32 | records handed to the producers and not acknowledged, over all threads |
//! | uncommitted | 6/32 | updates since the last commit, over all stores; full means an early commit. A restoring task has none and uses this share for its sorted chunks |
//! | restore | 1/32 | changelog records fetched ahead |
//! | RocksDB | 18/32 | block cache and write buffers of all stores: two thirds and at most one third |
//! | clients | 4/32 | what the Kafka client holds beside the bytes of records on their way, and what the allocator keeps |

/// 256 MiB: room for a few dozen partitions at full speed. RocksDB's part is about what three of its stores get in the JVM.
pub(crate) const DEFAULT_BUDGET_BYTES: u64 = 256 * MIB;
/// Below this the parts are too small to work with.
pub(crate) const MIN_BUDGET_BYTES: u64 = 16 * MIB;

const KIB: u64 = 1_024;
const MIB: u64 = 1_024 * KIB;

/// Java's default of `max.partition.fetch.bytes`: more in one answer brings nothing.
const MAX_FETCH_BYTES: u64 = MIB;
/// Less than this per partition makes a request per handful of records.
const MIN_PREFETCH_BYTES: u64 = 64 * KIB;
/// One partition alone gains nothing from more.
const MAX_PREFETCH_BYTES: u64 = 16 * MIB;

/// The parts of the memory budget, in bytes. Made by [`StreamsConfig::memory_plan`](super::StreamsConfig::memory_plan).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryPlan {
    /// Records fetched ahead, over all input partitions of the instance.
    pub prefetch_bytes: u64,
    /// Changelog records fetched ahead by restoration.
    pub restore_bytes: u64,
    /// Records handed to the producers and not acknowledged yet, over all threads.
    pub produce_bytes: u64,
    /// Uncommitted updates over all stores of the instance; a restore sorts in chunks of this size.
    pub uncommitted_bytes: u64,
    /// Block cache and write buffers (memtables) over all RocksDB instances.
    pub rocksdb_bytes: u64,
}

impl MemoryPlan {
    pub(crate) fn new(budget_bytes: u64, input_buffer_max_bytes: Option<u64>) -> Self {
        let share = budget_bytes / 32;
        MemoryPlan {
            prefetch_bytes: input_buffer_max_bytes.unwrap_or(2 * share),
            restore_bytes: share,
            produce_bytes: share,
            uncommitted_bytes: 6 * share,
            rocksdb_bytes: 18 * share,
        }
    }

    /// The part of `all_bytes` for one partition among `partitions`: librdkafka's limits count per partition once queues are split
    /// off, and cannot be changed later, so count every partition that the instance could come to own.
    ///
    /// librdkafka holds up to one fetch answer more than its limit; the answer is bounded by the same number.
    pub(crate) fn per_partition(all_bytes: u64, partitions: usize) -> FetchLimits {
        let partitions = u64::try_from(partitions.max(1)).unwrap_or(u64::MAX);
        let queue_bytes = (all_bytes / partitions / 2).clamp(MIN_PREFETCH_BYTES, MAX_PREFETCH_BYTES);
        FetchLimits { queue_bytes, fetch_bytes: queue_bytes.min(MAX_FETCH_BYTES) }
    }
}

/// Limits of one partition's queue in a consumer, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FetchLimits {
    /// Above this the consumer fetches no more (`queued.max.messages.kbytes`).
    pub(crate) queue_bytes: u64,
    /// What one fetch answer may bring (`max.partition.fetch.bytes`).
    pub(crate) fetch_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_never_exceed_the_budget() {
        for budget in [MIN_BUDGET_BYTES, DEFAULT_BUDGET_BYTES, 3 * MIB + 7, u64::MAX / 2] {
            let plan = MemoryPlan::new(budget, None);
            let queues = plan.prefetch_bytes + plan.restore_bytes + plan.produce_bytes;
            let sum = queues + plan.uncommitted_bytes + plan.rocksdb_bytes;
            assert_eq!(sum, budget / 32 * 28, "the clients' part is left: {budget}: {plan:?}");
        }
    }

    #[test]
    fn prefetch_is_shared_by_all_partitions_within_useful_limits() {
        let limits = |partitions| MemoryPlan::per_partition(24 * MIB, partitions);
        assert_eq!(limits(1), FetchLimits { queue_bytes: 12 * MIB, fetch_bytes: MAX_FETCH_BYTES });
        assert_eq!(limits(24), FetchLimits { queue_bytes: MIB / 2, fetch_bytes: MIB / 2 });
        assert_eq!(
            limits(100_000),
            FetchLimits { queue_bytes: MIN_PREFETCH_BYTES, fetch_bytes: MIN_PREFETCH_BYTES }
        );
        assert_eq!(MemoryPlan::new(DEFAULT_BUDGET_BYTES, Some(4 * MIB)).prefetch_bytes, 4 * MIB);
    }
}
