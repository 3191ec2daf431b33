//! The faults of one broker: where the broker looks whether something is to go wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kafka_protocol::ResponseError;
use parking_lot::Mutex;

use super::Coordinator;
use super::connections::{Connections, Link};
use super::paused::Paused;
use super::rule::{Fault, InjectedFault, Rule};
use crate::router::RequestContext;

/// What is injected at the moment.
#[derive(Debug, Default)]
pub(crate) struct Switchboard {
    /// False: there is no rule, which is all that requests ask outside of tests.
    armed: AtomicBool,
    rules: Mutex<Vec<Arc<Rule>>>,
    groups_lost: AtomicBool,
    transactions_lost: AtomicBool,
    pub(super) connections: Connections,
    paused: Paused,
}

impl Switchboard {
    pub(super) fn inject(&self, fault: Fault) -> InjectedFault {
        let rule = Arc::new(Rule::new(fault));
        let mut rules = self.rules.lock();
        rules.retain(|rule| !rule.is_over());
        rules.push(rule.clone());
        self.armed.store(true, Ordering::SeqCst);
        InjectedFault { rule }
    }

    pub(super) fn lift_all(&self) {
        let mut rules = self.rules.lock();
        rules.drain(..).for_each(|rule| rule.lift());
        self.armed.store(false, Ordering::SeqCst);
    }

    /// The first fault that hits the request.
    pub(crate) fn strike(&self, ctx: &RequestContext) -> Option<Arc<Rule>> {
        if !self.armed.load(Ordering::Relaxed) {
            return None;
        }
        let hit = self.rules.lock().iter().find(|rule| rule.strikes(ctx)).cloned();
        if let Some(rule) = &hit {
            tracing::debug!(api = ?ctx.api_key, client = %ctx.client_id, effect = ?rule.effect(), "fault injected");
        }
        hit
    }

    fn lost(&self, coordinator: Coordinator) -> &AtomicBool {
        match coordinator {
            Coordinator::Group => &self.groups_lost,
            Coordinator::Transaction => &self.transactions_lost,
        }
    }

    pub(super) fn set_lost(&self, coordinator: Coordinator, lost: bool) {
        self.lost(coordinator).store(lost, Ordering::SeqCst);
    }

    /// Whether the coordinator is lost at the moment.
    pub(crate) fn is_lost(&self, coordinator: Coordinator) -> bool {
        self.lost(coordinator).load(Ordering::Relaxed)
    }

    /// What a request for this coordinator is refused with, if the coordinator is lost.
    pub(crate) fn refusal(&self, coordinator: Option<Coordinator>) -> Option<ResponseError> {
        coordinator.filter(|coordinator| self.is_lost(*coordinator)).map(|_| ResponseError::NotCoordinator)
    }

    /// The partitions that pause.
    pub(crate) fn paused(&self) -> &Paused {
        &self.paused
    }

    /// A connection was opened.
    pub(crate) fn connected(&self, id: u64, link: Arc<Link>) {
        self.connections.opened(id, link);
    }

    /// A connection was closed.
    pub(crate) fn disconnected(&self, id: u64) {
        self.connections.closed(id);
    }
}
