//! What a task counts for its metrics, in plain integers: lateness always, per node only where somebody asked.

/// How far the records processed were behind stream time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lateness {
    /// Together, in ms.
    pub(crate) sum_ms: u64,
    /// The latest one, in ms.
    pub(crate) max_ms: u64,
}

impl Lateness {
    #[inline]
    pub(crate) fn add(&mut self, late_ms: i64) {
        let late_ms = u64::try_from(late_ms).unwrap_or(0);
        self.sum_ms = self.sum_ms.saturating_add(late_ms);
        self.max_ms = self.max_ms.max(late_ms);
    }
}

/// What one node did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NodeCounts {
    /// Records that it was given.
    pub(crate) records: u64,
    /// From the records' timestamps to when the node got them; of sources and of nodes without children.
    pub(crate) end_to_end: EndToEnd,
}

/// Times from records' timestamps to now, in ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct EndToEnd {
    pub(crate) count: u64,
    pub(crate) sum_ms: i64,
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
}

impl EndToEnd {
    pub(crate) fn add(&mut self, latency_ms: i64) {
        let first = self.count == 0;
        self.min_ms = if first { latency_ms } else { self.min_ms.min(latency_ms) };
        self.max_ms = if first { latency_ms } else { self.max_ms.max(latency_ms) };
        self.sum_ms = self.sum_ms.saturating_add(latency_ms);
        self.count += 1;
    }
}
