//! The group coordinator: who consumes what, and how far they are.
//!
//! It serves the classic group protocol (JoinGroup to LeaveGroup) and committed offsets. [`classic`] holds a group's
//! data; each kind of input has a file of its own (`join`, `sync`, `session`, `rebalance`, `offsets`, `describe`).
//! A group is a synchronous state machine; [`coordinator`] puts locks, timers and waiting around it. Offsets and
//! group metadata live in a compacted log of the broker's own (formats in [`records`]) and are loaded from it at start.

mod classic;
mod config;
mod coordinator;
mod describe;
mod join;
mod load;
mod member;
mod offsets;
mod pending;
mod rebalance;
mod records;
mod session;
mod state;
mod subscription;
mod sync;
mod timers;

#[cfg(test)]
mod tests;

pub(crate) use config::GroupConfig;
pub(crate) use coordinator::{FetchedPartition, FetchedTopic, GroupCoordinator, refuse_join};
pub(crate) use member::Client;
pub(crate) use offsets::refuse_commit;
