//! The connections that are open, so that a fault can break them.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;

use crate::stop::{self, StopSender, StopSignal};

/// An open connection as faults see it.
#[derive(Debug)]
pub(crate) struct Link {
    /// The client's name for itself, as of its last request.
    client_id: Mutex<StrBytes>,
    cut: StopSender,
    is_cut: StopSignal,
}

impl Link {
    /// Of a new connection.
    pub(crate) fn new() -> Arc<Self> {
        let (cut, is_cut) = stop::channel();
        Arc::new(Link { client_id: Mutex::default(), cut, is_cut })
    }

    /// Notes whose connection it is.
    pub(crate) fn belongs_to(&self, client_id: &StrBytes) {
        let mut known = self.client_id.lock();
        if *known != *client_id {
            // A copy: the name is a slice of the request's frame.
            *known = StrBytes::from_string(client_id.to_string());
        }
    }

    /// Given when the connection is to break.
    pub(crate) fn is_cut(&self) -> StopSignal {
        self.is_cut.clone()
    }
}

/// Every open connection by its number.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<HashMap<u64, Arc<Link>>>);

impl Connections {
    pub(super) fn opened(&self, id: u64, link: Arc<Link>) {
        self.0.lock().insert(id, link);
    }

    pub(super) fn closed(&self, id: u64) {
        self.0.lock().remove(&id);
    }

    /// Breaks the connections of a client, or all; answers how many.
    pub(super) fn cut(&self, client_id: Option<&str>) -> usize {
        let links = self.0.lock();
        let hit = |link: &&Arc<Link>| client_id.is_none_or(|id| *link.client_id.lock() == *id);
        links.values().filter(hit).map(|link| link.cut.stop()).count()
    }
}
