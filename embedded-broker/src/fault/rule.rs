//! One fault: what happens, to which requests, how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;

use crate::router::RequestContext;
use crate::stop::{self, StopSender, StopSignal};

/// What is done to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Refuse(ResponseError),
    Disconnect,
    LoseAnswer,
    Delay(Duration),
    Hold,
}

/// A fault to inject: what happens to a request, then which requests it happens to. Without [`api`](Self::api),
/// [`client`](Self::client) and [`times`](Self::times) it is every one, until the fault is lifted.
#[derive(Debug, Clone)]
#[must_use = "a fault does nothing until it is injected"]
pub struct Fault {
    effect: Effect,
    apis: Vec<ApiKey>,
    client: Option<String>,
    times: u64,
}

impl Fault {
    fn new(effect: Effect) -> Self {
        Fault { effect, apis: Vec::new(), client: None, times: u64::MAX }
    }

    /// The request has no effect and is answered with `error`: in the answer's own error field, or, where it has one
    /// for each topic, partition, group or resource, in all of them. A produce request with `acks=0`, which has no
    /// answer, loses its connection.
    pub fn refuse(error: ResponseError) -> Self {
        Fault::new(Effect::Refuse(error))
    }

    /// The request has no effect, and its connection is closed instead of an answer.
    pub fn disconnect() -> Self {
        Fault::new(Effect::Disconnect)
    }

    /// The request has its effect, but its connection is closed instead of the answer: the client can't know.
    pub fn lose_answer() -> Self {
        Fault::new(Effect::LoseAnswer)
    }

    /// The request, and what the client sends behind it on the same connection, is handled this much later.
    pub fn delay(by: Duration) -> Self {
        Fault::new(Effect::Delay(by))
    }

    /// The request, and what the client sends behind it on the same connection, is not handled before the fault is
    /// lifted.
    pub fn hold() -> Self {
        Fault::new(Effect::Hold)
    }

    /// Only requests of this API; called again, of that one too.
    pub fn api(mut self, api: ApiKey) -> Self {
        self.apis.push(api);
        self
    }

    /// Only requests of clients with this `client.id`.
    pub fn client(mut self, client_id: impl Into<String>) -> Self {
        self.client = Some(client_id.into());
        self
    }

    /// Only the next `times` requests that fit.
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }
}

/// A fault as it was injected. Dropping this does not lift it.
#[derive(Debug, Clone)]
pub struct InjectedFault {
    pub(super) rule: Arc<Rule>,
}

impl InjectedFault {
    /// How many requests it has happened to.
    pub fn hits(&self) -> u64 {
        self.rule.hits.load(Ordering::SeqCst)
    }

    /// Ends it. Requests that it holds are handled.
    pub fn lift(&self) {
        self.rule.lift();
    }
}

/// An injected fault as the broker sees it.
#[derive(Debug)]
pub(crate) struct Rule {
    fault: Fault,
    hits: AtomicU64,
    lifted: StopSignal,
    lift: StopSender,
}

impl Rule {
    pub(super) fn new(fault: Fault) -> Self {
        let (lift, lifted) = stop::channel();
        Rule { fault, hits: AtomicU64::new(0), lifted, lift }
    }

    /// Whether the request is hit; if so, it is counted.
    pub(super) fn strikes(&self, ctx: &RequestContext) -> bool {
        let Fault { apis, client, times, .. } = &self.fault;
        let fits = (apis.is_empty() || apis.contains(&ctx.api_key))
            && client.as_ref().is_none_or(|client| *client == *ctx.client_id)
            && !self.lifted.is_stopped();
        let count = |hits: u64| (hits < *times).then_some(hits + 1);
        fits && self.hits.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).is_ok()
    }

    /// Whether it will never hit again.
    pub(super) fn is_over(&self) -> bool {
        self.lifted.is_stopped() || self.hits.load(Ordering::SeqCst) >= self.fault.times
    }

    pub(super) fn lift(&self) {
        self.lift.stop();
    }

    /// What it does.
    pub(crate) fn effect(&self) -> Effect {
        self.fault.effect
    }

    /// Completes when it is lifted.
    pub(crate) fn lifted(&self) -> StopSignal {
        self.lifted.clone()
    }
}
