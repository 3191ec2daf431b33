//! The way of records through a task: into the queues, out of them by timestamp, through the nodes; and punctuations between
//! them.

use std::sync::Arc;

use kstreams_state_stores::{Headers, RecordContext};

use super::{RawRecord, Task};
use crate::error::StreamsError;
use crate::processor::PunctuationType;

impl Task {
    /// Calls the processors' `init`, in the topology's order. Once, after the restore.
    ///
    /// # Errors
    /// When a processor's `init` fails.
    pub fn initialize(&mut self) -> Result<(), StreamsError> {
        self.cx.record = dummy_record(self.cx.clock.now_ms());
        for node in self.nodes.iter().flatten() {
            node.init(&mut self.cx)?;
        }
        Ok(())
    }

    /// Adds a record at the end of an input's queue.
    ///
    /// # Errors
    /// When the record becomes the head and cannot be decoded, and its handler says fail.
    pub fn enqueue(&mut self, input: usize, record: RawRecord) -> Result<(), StreamsError> {
        let queue = &mut self.queues[input];
        let was_empty = queue.len() == 0;
        queue.push(record);
        if was_empty && let Some(timestamp) = queue.head(&mut self.cx)? {
            self.order.push(timestamp, input);
        }
        if was_empty && self.queues[input].len() == 0 {
            // The record was skipped: its offset still counts as consumed.
            self.consumed[input] = true;
            self.commit_needed = true;
        }
        Ok(())
    }

    /// Processes the record with the lowest timestamp and everything it leads to, and fires stream-time punctuations
    /// that are due then. `false` when no record waits.
    ///
    /// # Errors
    /// When a node or the output fails and no handler lets that pass: the task cannot go on.
    pub fn process_one(&mut self) -> Result<bool, StreamsError> {
        let Some((_, input)) = self.order.pop() else { return Ok(false) };
        self.cx.activity.take_up(input);
        let queue = &mut self.queues[input];
        self.consumed[input] = true;
        self.commit_needed = true;
        if let Some(next) = queue.advance(&mut self.cx)? {
            self.order.push(next, input);
        }
        queue.process(&mut self.cx)?;
        Ok(true)
    }

    /// Processes up to `max_records` records; how many it were.
    ///
    /// # Errors
    /// As [`process_one`](Task::process_one).
    pub fn process(&mut self, max_records: usize) -> Result<usize, StreamsError> {
        let mut processed = 0;
        while processed < max_records && self.may_take_another() && self.process_one()? {
            processed += 1;
            if !self.cx.punctuations.is_empty() {
                self.punctuate_stream_time()?;
            }
        }
        Ok(processed)
    }

    /// Whether nothing has come up that goes before the next record.
    #[inline]
    pub(crate) fn may_take_another(&self) -> bool {
        !self.cx.commit_requested && !self.cx.activity.is_given_up() && self.cx.calls.have_room()
    }

    /// Fires the stream-time schedules that are due.
    ///
    /// # Errors
    /// When a punctuation fails and no handler lets that pass.
    pub fn punctuate_stream_time(&mut self) -> Result<bool, StreamsError> {
        if self.cx.stream_time < 0 {
            return Ok(false);
        }
        self.punctuate(PunctuationType::StreamTime, self.cx.stream_time)
    }

    /// Fires the wall-clock schedules that are due by the task's clock.
    ///
    /// # Errors
    /// When a punctuation fails and no handler lets that pass.
    pub fn punctuate_wall_clock(&mut self) -> Result<bool, StreamsError> {
        self.punctuate(PunctuationType::WallClockTime, self.cx.clock.now_ms())
    }

    /// Whether a processor has a schedule.
    pub(super) fn has_schedules(&self) -> bool {
        !self.cx.punctuations.is_empty()
    }

    /// When the next wall-clock schedule is due, in ms since the epoch.
    pub fn next_wall_clock_punctuation(&self) -> Option<i64> {
        self.cx.punctuations.next_wall_clock()
    }

    fn punctuate(&mut self, kind: PunctuationType, now: i64) -> Result<bool, StreamsError> {
        let mut fired = false;
        while let Some(due) = self.cx.punctuations.take_due(kind, now) {
            fired = true;
            self.commit_needed = true;
            self.cx.record = dummy_record(now);
            self.cx.raw = None;
            self.cx.activity.without_record();
            if let Some(Some(node)) = self.nodes.get(due.node) {
                let node = Arc::clone(node);
                node.punctuate(due.id, now, &mut self.cx)
                    .map_err(|error| error.into_streams_error(self.cx.node_name(due.node)))?;
            }
        }
        Ok(fired)
    }
}

/// The context of a punctuation and of `init`: the time, but no topic, offset or headers.
pub(super) fn dummy_record(timestamp: i64) -> RecordContext {
    RecordContext { timestamp, headers: Headers::new(), topic: None, partition: -1, offset: -1 }
}
