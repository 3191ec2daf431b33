//! Where faults are injected: every change a log makes to the file system passes a `Disk`, and a broker can be
//! started with one that fails on purpose ([`BrokerConfig::disk_faults`]). Faults of the network will have their
//! place here too.
//!
//! [`BrokerConfig::disk_faults`]: crate::BrokerConfig::disk_faults

pub use crate::log::{DiskFault, DiskFaults, DiskOp};
