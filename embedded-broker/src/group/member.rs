//! One member of a group: who it is, what it can speak, what it waits for.

use bytes::Bytes;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;

use super::records::StoredMember;

/// Where the answer to a waiting request goes. A receiver that is gone (connection closed) is no error.
pub(crate) type Reply<T> = oneshot::Sender<T>;

/// Who sent a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Client {
    /// The client id of the request header.
    pub(crate) id: StrBytes,
    /// The address, as Apache Kafka shows it (`/127.0.0.1`).
    pub(crate) host: StrBytes,
}

/// An assignment protocol a member supports, with its metadata for it.
pub(crate) type Protocol = (StrBytes, Bytes);

/// A member of a group.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: StrBytes,
    /// `group.instance.id` (KIP-345).
    pub(crate) instance_id: Option<StrBytes>,
    pub(crate) client: Client,
    pub(crate) rebalance_timeout_ms: i64,
    pub(crate) session_timeout_ms: i64,
    /// In the member's order of preference.
    pub(crate) protocols: Vec<Protocol>,
    /// What the leader gave it in the current generation.
    pub(crate) assignment: Bytes,
    /// Has not been through a whole join yet, so its session timer counts although it waits.
    pub(crate) is_new: bool,
    /// The parked JoinGroup.
    pub(crate) join_reply: Option<Reply<JoinGroupResponse>>,
    /// The parked SyncGroup.
    pub(crate) sync_reply: Option<Reply<SyncGroupResponse>>,
    /// When it is given up unless heard of (monotonic milliseconds). None once that has passed while it waited
    /// for an answer of ours: the answer sets it again.
    pub(crate) session_deadline: Option<i64>,
}

impl Member {
    /// The member a JoinGroup describes.
    pub(crate) fn joining(id: StrBytes, request: &JoinGroupRequest, client: Client) -> Self {
        Member {
            id,
            instance_id: request.group_instance_id.as_ref().map(own),
            client: Client { id: own(&client.id), host: client.host },
            rebalance_timeout_ms: rebalance_timeout_ms(request),
            session_timeout_ms: i64::from(request.session_timeout_ms),
            protocols: protocols(request),
            assignment: Bytes::new(),
            is_new: true,
            join_reply: None,
            sync_reply: None,
            session_deadline: None,
        }
    }

    /// The member a stored group had; it speaks the selected protocol only, until it joins again.
    pub(crate) fn stored(stored: StoredMember, protocol: Option<&StrBytes>) -> Self {
        let rebalance_timeout_ms = match stored.rebalance_timeout_ms {
            -1 => stored.session_timeout_ms,
            timeout => timeout,
        };
        Member {
            id: stored.id,
            instance_id: stored.instance_id,
            client: Client { id: stored.client_id, host: stored.client_host },
            rebalance_timeout_ms: i64::from(rebalance_timeout_ms),
            session_timeout_ms: i64::from(stored.session_timeout_ms),
            protocols: vec![(protocol.cloned().unwrap_or_default(), stored.subscription)],
            assignment: stored.assignment,
            is_new: false,
            join_reply: None,
            sync_reply: None,
            session_deadline: None,
        }
    }

    /// For the log.
    pub(crate) fn to_stored(&self, protocol: &str, assignment: &Bytes) -> StoredMember {
        StoredMember {
            id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.client.id.clone(),
            client_host: self.client.host.clone(),
            rebalance_timeout_ms: i32::try_from(self.rebalance_timeout_ms).unwrap_or(i32::MAX),
            session_timeout_ms: i32::try_from(self.session_timeout_ms).unwrap_or(i32::MAX),
            subscription: self.metadata(protocol),
            assignment: assignment.clone(),
        }
    }

    /// Takes over what a repeated JoinGroup says.
    pub(crate) fn update(&mut self, request: &JoinGroupRequest) {
        self.protocols = protocols(request);
        self.rebalance_timeout_ms = rebalance_timeout_ms(request);
        self.session_timeout_ms = i64::from(request.session_timeout_ms);
    }

    /// Whether the request names the same protocols with the same metadata in the same order.
    pub(crate) fn matches(&self, request: &JoinGroupRequest) -> bool {
        self.protocols.len() == request.protocols.len()
            && self
                .protocols
                .iter()
                .zip(&request.protocols)
                .all(|((name, metadata), asked)| *name == asked.name && *metadata == asked.metadata)
    }

    /// Whether the member supports the protocol.
    pub(crate) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name.as_str() == protocol)
    }

    /// The member's metadata for a protocol; empty if it doesn't support it.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name.as_str() == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// Waits for the answer to its JoinGroup.
    pub(crate) fn is_awaiting_join(&self) -> bool {
        self.join_reply.is_some()
    }

    /// Silence is ours, not the member's: it waits for an answer. A new member doesn't count, or clients that
    /// retry a join on new connections would pile up members that nobody answers for.
    pub(crate) fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.join_reply.is_some() || self.sync_reply.is_some())
    }

    /// Answers the parked JoinGroup, if there is one.
    pub(crate) fn complete_join(&mut self, response: JoinGroupResponse) {
        if let Some(reply) = self.join_reply.take() {
            // The client may have closed the connection.
            let _ = reply.send(response);
        }
    }

    /// Answers the parked SyncGroup; false if there is none.
    pub(crate) fn complete_sync(&mut self, response: SyncGroupResponse) -> bool {
        match self.sync_reply.take() {
            Some(reply) => {
                let _ = reply.send(response);
                true
            }
            None => false,
        }
    }
}

/// A copy that doesn't keep the request's whole frame in memory.
pub(crate) fn own(text: &StrBytes) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

fn protocols(request: &JoinGroupRequest) -> Vec<Protocol> {
    let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    request.protocols.iter().map(|protocol| (own(&protocol.name), copy(&protocol.metadata))).collect()
}

/// JoinGroup v0 has no rebalance timeout: the session timeout serves.
fn rebalance_timeout_ms(request: &JoinGroupRequest) -> i64 {
    match request.rebalance_timeout_ms {
        -1 => i64::from(request.session_timeout_ms),
        timeout => i64::from(timeout.max(0)),
    }
}
