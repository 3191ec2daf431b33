//! What a task knows of its asynchronous steps: how much they hold, whether something came back, and the wait for all of
//! it before a commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Task;
use crate::error::{StreamsError, TopologyError};
use crate::processor::{AsyncEnvironment, CallSignal};

/// The longest time between two looks at calls that a commit waits for: some are given up by the clock.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The numbers that a task's asynchronous steps keep together. Untouched where it has none.
pub(crate) struct TaskCalls {
    /// `None` where no step may be asynchronous.
    environment: Option<AsyncEnvironment>,
    signal: Arc<CallSignal>,
    /// The asynchronous nodes.
    nodes: Vec<usize>,
    /// Records that they hold.
    pub(crate) held: usize,
    /// Nodes that hold as many as they may.
    pub(crate) full: usize,
    /// Since when a commit waits.
    draining: Option<Instant>,
}

impl TaskCalls {
    pub(crate) fn new(environment: Option<AsyncEnvironment>) -> Self {
        let signal = environment.as_ref().map(AsyncEnvironment::signal).unwrap_or_default();
        TaskCalls {
            environment,
            signal: Arc::new(signal),
            nodes: Vec::new(),
            held: 0,
            full: 0,
            draining: None,
        }
    }

    /// Makes a node known, and gives it what it needs.
    pub(crate) fn connect(
        &mut self,
        node: usize,
    ) -> Result<(&AsyncEnvironment, Arc<CallSignal>), StreamsError> {
        let Some(environment) = &self.environment else {
            let what = "a processor of a global store is asynchronous: it can only follow its topic";
            return Err(TopologyError::Invalid(what.to_owned()).into());
        };
        if !self.nodes.contains(&node) {
            self.nodes.push(node);
        }
        Ok((environment, Arc::clone(&self.signal)))
    }

    pub(crate) fn drain_began(&self) -> Option<Instant> {
        self.draining
    }

    /// Whether more records may be taken from the inputs.
    #[inline]
    pub(super) fn have_room(&self) -> bool {
        self.full == 0 && self.draining.is_none()
    }

    fn forget(&mut self) {
        (self.held, self.full, self.draining) = (0, 0, None);
    }
}

impl Task {
    /// Whether the task takes records now: not while an asynchronous step is full, nor while a commit waits for one.
    #[inline]
    pub fn takes_records(&self) -> bool {
        self.cx.calls.have_room()
    }

    /// Whether a processor asked for a commit, or one has begun that waits for asynchronous steps.
    pub(crate) fn wants_commit(&self) -> bool {
        self.commit_requested() || self.is_draining()
    }

    /// Whether a commit waits for asynchronous steps.
    pub fn is_draining(&self) -> bool {
        self.cx.calls.draining.is_some()
    }

    /// Records that asynchronous steps hold; `None` where the task has no such step.
    pub fn records_in_flight(&self) -> Option<usize> {
        (!self.cx.calls.nodes.is_empty()).then_some(self.cx.calls.held)
    }

    /// Attempts of asynchronous calls that were repeated and that took too long, since this was asked last.
    pub(crate) fn take_call_counts(&self) -> (u64, u64) {
        self.cx.calls.signal.take_counts()
    }

    /// Sends on what asynchronous steps have finished; how many records it were.
    ///
    /// # Errors
    /// When a call failed or a node below does, and no handler lets that pass.
    pub fn resume(&mut self) -> Result<usize, StreamsError> {
        let calls = &self.cx.calls;
        if calls.nodes.is_empty() || !(calls.signal.take_ready() || calls.draining.is_some()) {
            return Ok(0);
        }
        let mut resumed = 0;
        for index in 0..self.cx.calls.nodes.len() {
            let node = self.cx.calls.nodes[index];
            if let Some(Some(lifecycle)) = self.nodes.get(node) {
                let result = lifecycle.resume(&mut self.cx);
                resumed += result.map_err(|error| error.into_streams_error(self.cx.node_name(node)))?;
            }
        }
        self.commit_needed |= resumed > 0;
        Ok(resumed)
    }

    /// Brings the task to where a commit may begin, without waiting: caches are flushed and asynchronous steps hold
    /// nothing. `false`: some do; the task takes no records until it is asked again. Its thread is woken when there is
    /// something to ask for, but calls that take too long are only ended here.
    ///
    /// # Errors
    /// As [`resume`](Self::resume); when a store fails.
    pub fn drain(&mut self) -> Result<bool, StreamsError> {
        if self.cx.calls.nodes.is_empty() {
            return Ok(true);
        }
        self.cx.calls.draining.get_or_insert_with(Instant::now);
        loop {
            self.resume()?;
            if self.cx.calls.held > 0 {
                return Ok(false);
            }
            // What the caches set free can come to an asynchronous step.
            self.flush_caches()?;
            if self.cx.calls.held == 0 {
                return Ok(true);
            }
        }
    }

    /// No commit waits any more: the task takes records again.
    pub fn end_drain(&mut self) {
        self.cx.calls.draining = None;
    }

    /// Waits until there may be something to [`resume`](Self::resume), for a little while at most.
    pub(crate) fn wait_for_calls(&self) {
        self.cx.calls.signal.wait(LOOK_AGAIN);
    }

    /// Waits until a commit may begin. Bounded by what each call may take.
    pub(super) fn finish_calls(&mut self) -> Result<(), StreamsError> {
        let mut waited = false;
        while !self.drain()? {
            self.wait_for_calls();
            waited = true;
        }
        if waited {
            self.cx.calls.signal.wake();
        }
        Ok(())
    }

    /// Cancels what asynchronous steps hold: the task goes back to its last commit.
    pub(super) fn cancel_calls(&mut self) {
        for &node in &self.cx.calls.nodes {
            if let Some(Some(lifecycle)) = self.nodes.get(node) {
                lifecycle.cancel(&mut self.cx.owner);
            }
        }
        self.cx.calls.forget();
    }
}
