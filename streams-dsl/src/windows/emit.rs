//! When a windowed aggregation tells its results.

/// When the results of windows are emitted (`org.apache.kafka.streams.kstream.EmitStrategy`): at each update, the
/// default, or one final result per window once it has closed.
///
/// With [`on_window_close`](Self::on_window_close) a window's result is emitted when stream time is past its end and the
/// grace, in the order of time, at most once a second of wall clock
/// ([`EmitIntervals`](kstreams_core::config::EmitIntervals)); nothing is emitted while no records come. Updates
/// of sliding windows and sessions are not cached then. A window is emitted only while its store still has it: where stream time jumps further than the
/// retention, the windows before the jump are lost. Give them a longer
/// [retention](crate::Materialized::with_retention_ms) where that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EmitStrategy {
    pub(crate) on_close: bool,
}

impl EmitStrategy {
    /// Every update of a window is a result.
    pub const fn on_window_update() -> Self {
        EmitStrategy { on_close: false }
    }

    /// Each window has one result, when it has closed.
    pub const fn on_window_close() -> Self {
        EmitStrategy { on_close: true }
    }
}
