//! Final results of windows: when they are due, and which (`AbstractKStreamTimeWindowAggregateProcessor`,
//! `KStreamSessionWindowAggregate`).
//!
//! Windows are looked for after a record, when stream time has passed on and the emit interval of wall clock is over.
//! What is emitted carries the headers of that record. Up to where it was emitted is committed beside the inputs'
//! offsets, so that after a restart no window is emitted twice.

use kstreams_core::processor::{InitContext, ProcessResult, ProcessorContext};
use kstreams_state_stores::{Headers, Record, Windowed};

use crate::table::Change;

/// How many results are read at once: any number may close together, and what is read has to be out of the store before it
/// is forwarded.
pub(crate) const PAGE: usize = 1024;

/// Results with their timestamps.
pub(crate) type Page<K, A> = Vec<(Windowed<K>, A, i64)>;

/// The close time before anything was emitted.
const NEVER: i64 = -1;

/// See the module.
pub(crate) struct FinalResults {
    /// The name under which the close time is committed.
    store: String,
    interval_ms: i64,
    /// Wall clock of the next look, in ms.
    next_look: i64,
    last_close_time: i64,
}

impl FinalResults {
    /// For the windows in `store`.
    pub(crate) fn open(store: &str, ctx: &InitContext<'_>) -> Self {
        FinalResults {
            store: store.to_owned(),
            interval_ms: ctx.emit_intervals().window_close_ms(),
            next_look: 0,
            last_close_time: ctx.processor_metadata(store).unwrap_or(NEVER),
        }
    }

    /// Whether to look for windows that closed by `close_time`.
    pub(crate) fn are_due<K, A>(&mut self, close_time: i64, ctx: &ProcessorContext<'_, K, A>) -> bool {
        let now = ctx.current_system_time();
        if now < self.next_look {
            return false;
        }
        self.next_look = now.saturating_add(self.interval_ms);
        self.last_close_time == NEVER || self.last_close_time < close_time
    }

    /// The close time up to which results were emitted; `None`: there were none.
    pub(crate) fn last_close_time(&self) -> Option<i64> {
        (self.last_close_time != NEVER).then_some(self.last_close_time)
    }

    /// Emits the results of windows that closed by `close_time`, each with its timestamp: `next` reads a page of them as
    /// long as there is one.
    pub(crate) fn emit<K: Clone, A: Clone>(
        &mut self,
        close_time: i64,
        headers: &Headers,
        ctx: &mut ProcessorContext<'_, Windowed<K>, Change<A>>,
        mut next: impl FnMut(
            &mut ProcessorContext<'_, Windowed<K>, Change<A>>,
        ) -> ProcessResult<Option<Page<K, A>>>,
    ) -> ProcessResult {
        while let Some(page) = next(ctx)? {
            for (key, value, timestamp) in page {
                let value = Change::new(Some(value), None);
                ctx.forward(Record { key, value, timestamp, headers: headers.clone() })?;
            }
        }
        self.last_close_time = close_time;
        ctx.set_processor_metadata(&self.store, close_time);
        Ok(())
    }
}
