//! Membership: a client that has lost its group and does not find it again is replaced.
//!
//! librdkafka looks for the group's coordinator, and joins, by itself. What it waits for may never come: a request that went to a broker
//! at the moment when that left the cluster, an answer that a dead connection never brings. Then the instance would be alive and do
//! nothing, for good. So two parties look: the group thread, whether it was assigned something, if only nothing, since something was taken
//! away, and the [watch](super::watch), by another client, whether the group knows this instance. Who waits in a rebalance, however long, is known to the group; while no coordinator
//! answers, nothing is known.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::cluster::{self, Admin};
use super::error::RuntimeError;
use super::instance::{Event, Instance};
use super::rebalance::GroupThread;
use super::revoke::Revocation;
use super::state::State;
use crate::error::StreamsError;
use crate::task::TaskId;

/// How often is looked.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(3);
/// A member that is outside for less has only just left, or is about to join.
const SHORTEST: Duration = Duration::from_secs(10);
/// So many answers in a row have to say that the group doesn't know this instance.
const ANSWERS: u32 = 2;

/// What is known of the instance's place in its group.
#[derive(Debug, Default)]
pub(crate) struct Membership {
    /// Since when nothing was assigned: from the start, and whenever something was taken away.
    outside_since: Mutex<Option<Instant>>,
}

impl Membership {
    /// The group has assigned something, or taken something away.
    pub(super) fn note(&self, is_member: bool) {
        let mut since = self.outside_since.lock();
        *since = if is_member { None } else { since.or_else(|| Some(Instant::now())) };
    }

    /// A client is about to join.
    pub(super) fn begin(&self) {
        *self.outside_since.lock() = Some(Instant::now());
    }

    fn is_outside_for(&self, limit: Duration) -> bool {
        self.outside_since.lock().is_some_and(|since| since.elapsed() >= limit)
    }
}

/// The watch's side.
#[derive(Debug, Default)]
pub(super) struct Outsiders(u32);

impl Outsiders {
    /// Asks for the group's members, if an assignment is long in coming; tells the group thread when this instance is none of them.
    pub(super) fn look(&mut self, instance: &Instance, admin: &Admin) {
        let settings = &instance.settings;
        if !instance.membership.is_outside_for((settings.session_timeout * 2).max(SHORTEST)) {
            self.0 = 0;
            return;
        }
        match cluster::members(admin, &settings.application_id, settings.request_timeout) {
            Ok(Some(clients)) if !clients.contains(&settings.consumer_name()) => self.0 += 1,
            Ok(_) => self.0 = 0,
            Err(error) => {
                tracing::debug!(%error, "the group's members can't be told now");
                self.0 = 0;
            }
        }
        if self.0 >= ANSWERS {
            self.0 = 0;
            instance.events.send(Event::Stranded);
        }
    }
}

impl GroupThread {
    /// Gives everything up, as a member that was expelled does, and joins with a new client.
    pub(super) fn join_anew(&mut self) {
        // It comes again, should what is under way lead nowhere.
        if self.revocation.is_some() || self.consumer.waits_for_others() {
            return;
        }
        tracing::warn!(
            "the group does not know this instance any more and its client does not join again; a new client takes its place"
        );
        self.instance.transition(State::Rebalancing);
        let tasks: BTreeSet<TaskId> = self.instance.tasks.read().keys().copied().collect();
        self.reopening.clear();
        self.failing.forget(&tasks);
        let deadline = Instant::now() + self.instance.settings.give_up_timeout;
        let waiting = self.take_back(&tasks, false, deadline);
        self.revocation = Some(Revocation { partitions: Vec::new(), waiting, tasks, deadline, renews: true });
    }

    /// The new client, once nobody works for the old one any more.
    pub(super) fn renew_client(&mut self) -> Result<(), StreamsError> {
        // Assigned to the old one.
        self.assigned.clear();
        self.consumer.renew().map_err(RuntimeError::from)?;
        self.instance.membership.begin();
        let topics = self.instance.plan.read().subscription();
        let topics: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
        Ok(self.consumer.subscribe(&topics).map_err(RuntimeError::from)?)
    }
}
