//! What RocksDB counts while it works, for metrics. It costs some percent of each call, so it counts only where it is asked to.

use ::rocksdb::Options;
use ::rocksdb::statistics::{Histogram, HistogramData, StatsLevel, Ticker};

use super::db::TaskDb;

/// What RocksDB has counted of a task's database since it was opened, of all its stores together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RocksDbStatistics {
    /// Bytes of keys and values put.
    pub bytes_written: u64,
    /// Bytes of values got.
    pub bytes_read: u64,
    /// Bytes of memtables flushed to files.
    pub memtable_bytes_flushed: u64,
    /// Gets that a memtable answered.
    pub memtable: HitsAndMisses,
    /// Look-ups of data blocks in the block cache.
    pub block_cache_data: HitsAndMisses,
    /// Look-ups of index blocks in the block cache.
    pub block_cache_index: HitsAndMisses,
    /// Look-ups of filter blocks in the block cache.
    pub block_cache_filter: HitsAndMisses,
    /// Bytes that compactions read.
    pub bytes_read_compaction: u64,
    /// Bytes that compactions wrote.
    pub bytes_written_compaction: u64,
    /// Microseconds that writes had to wait for flushes or compactions.
    pub write_stall_micros: u64,
    /// Errors of files.
    pub file_errors: u64,
    /// How long each wait of a write took, in microseconds.
    pub write_stall: Durations,
    /// How long each flush of a memtable took, in microseconds.
    pub memtable_flush: Durations,
    /// How long each compaction took, in microseconds.
    pub compaction: Durations,
}

/// How many look-ups found what they looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HitsAndMisses {
    /// Found.
    pub hits: u64,
    /// Not found.
    pub misses: u64,
}

/// Average, least and greatest of durations; all 0 before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Durations {
    /// Average.
    pub avg: f64,
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
}

/// Makes databases that are opened with these options count.
pub(super) fn enable(options: &mut Options) {
    options.enable_statistics();
    // As the JVM: all but the time spent on mutexes and compression.
    options.set_statistics_level(StatsLevel::ExceptDetailedTimers);
}

impl TaskDb {
    /// What RocksDB has counted; `None` where it does not count
    /// ([`RocksDbSettings::statistics`](super::RocksDbSettings::statistics)).
    pub fn statistics(&self) -> Option<RocksDbStatistics> {
        let options = self.counting()?;
        let count = |ticker| options.get_ticker_count(ticker);
        let found = |hits, misses| HitsAndMisses { hits: count(hits), misses: count(misses) };
        let durations = |histogram| durations(&options.get_histogram_data(histogram));
        Some(RocksDbStatistics {
            bytes_written: count(Ticker::BytesWritten),
            bytes_read: count(Ticker::BytesRead),
            memtable_bytes_flushed: count(Ticker::FlushWriteBytes),
            memtable: found(Ticker::MemtableHit, Ticker::MemtableMiss),
            block_cache_data: found(Ticker::BlockCacheDataHit, Ticker::BlockCacheDataMiss),
            block_cache_index: found(Ticker::BlockCacheIndexHit, Ticker::BlockCacheIndexMiss),
            block_cache_filter: found(Ticker::BlockCacheFilterHit, Ticker::BlockCacheFilterMiss),
            bytes_read_compaction: count(Ticker::CompactReadBytes),
            bytes_written_compaction: count(Ticker::CompactWriteBytes),
            write_stall_micros: count(Ticker::StallMicros),
            file_errors: count(Ticker::NoFileErrors),
            write_stall: durations(Histogram::WriteStall),
            memtable_flush: durations(Histogram::FlushTime),
            compaction: durations(Histogram::CompactionTime),
        })
    }
}

fn durations(histogram: &HistogramData) -> Durations {
    match histogram.count() {
        0 => Durations::default(),
        _ => Durations { avg: histogram.average(), min: histogram.min(), max: histogram.max() },
    }
}
