//! The runtime: what takes records through tasks, on threads, with a cluster.
//!
//! One instance ([`KafkaStreams`]) is one member of the group. Its threads:
//!
//! | thread | file | does |
//! |---|---|---|
//! | group | `rebalance`, `launch`, `assignment`, `membership` | serves the group, decides who has which task |
//! | restore, one or several | `restorers`: `restore`, `restore_task`, `create` | make tasks and restore their stores |
//! | processing, `num.stream.threads` | `thread`, `steps`: `poll`, `choose`, `produce`, `commit`, `transaction`, `release`, `absence` | own tasks, take records from queue to commit |
//! | watch | `watch` | metadata of the sources, purge of repartition topics |

mod absence;
mod app;
mod assignment;
mod calls;
mod choose;
mod cluster;
mod commit;
mod create;
mod database;
mod delivery;
mod error;
mod fail_point;
mod failing;
mod failure;
mod global;
mod instance;
mod internal;
mod launch;
mod local_metadata;
mod membership;
mod poll;
mod priority;
mod probe;
mod produce;
mod query;
mod rebalance;
mod refused;
mod release;
mod restore;
mod restore_listener;
mod restore_task;
mod restorers;
mod revoke;
mod settings;
mod shutdown;
mod shutdown_request;
mod sources;
mod stable_end;
mod start_checks;
mod startup;
mod state;
mod steps;
mod stuck;
mod task_bundle;
mod thread;
mod thread_meter;
mod threads;
mod transaction;
mod watch;
mod when_to_commit;

pub use app::KafkaStreams;
pub use error::RuntimeError;
pub use local_metadata::{InputMetadata, LagInfo, TaskMetadata, ThreadMetadata};
pub use query::{QueryIterator, QueryableStore, ReadOnlyStore};
pub use restore_listener::StateRestoreListener;
pub use state::{State, StateListener};
