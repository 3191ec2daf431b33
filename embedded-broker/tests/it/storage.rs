//! A disk that fails: the request fails, the broker and its other topics go on.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kstreams_embedded_broker::BrokerConfig;
use kstreams_embedded_broker::fault::{DiskFault, DiskFaults, DiskOp};

use crate::support::Broker;

const KAFKA_STORAGE_ERROR: i16 = 56;

/// A disk that is full for the files of one topic while it is told so.
#[derive(Debug, Default)]
struct FullFor(AtomicBool);

impl DiskFaults for FullFor {
    fn check(&self, op: DiskOp, path: &Path, len: usize) -> Option<DiskFault> {
        let concerned = path.components().any(|part| part.as_os_str() == "full");
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        match op {
            _ if !concerned || !self.0.load(Ordering::SeqCst) => None,
            // Half of it gets onto the disk, as with a real full disk.
            DiskOp::Write => Some(DiskFault::Short(len / 2, full())),
            DiskOp::Create => Some(DiskFault::Fail(full())),
            _ => None,
        }
    }
}

#[test]
fn a_full_disk_fails_the_request_and_leaves_the_log_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(FullFor::default());
    let broker = Broker::start_with(BrokerConfig::new().data_dir(dir.path()).disk_faults(faults.clone()));
    let mut client = broker.connect();
    client.create_topic("full", 1, &[]);
    client.create_topic("fine", 1, &[]);
    assert_eq!(client.produce("full", 0, &["before"]).error_code, 0);
    faults.0.store(true, Ordering::SeqCst);
    let value = "lost".repeat(100);
    assert_eq!(client.produce("full", 0, &[&value]).error_code, KAFKA_STORAGE_ERROR);
    assert_eq!(client.produce("fine", 0, &["other"]).error_code, 0);
    assert_eq!(client.fetch("full", 0, 0), ["before"]);
    faults.0.store(false, Ordering::SeqCst);
    assert_eq!(client.produce("full", 0, &["after"]).base_offset, 1);
    assert_eq!(client.fetch("full", 0, 0), ["before", "after"]);
    broker.stop();
    assert_eq!(Broker::start_in(dir.path()).connect().fetch("full", 0, 0), ["before", "after"]);
}

#[test]
fn a_topic_that_cannot_be_written_is_not_created() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_in(dir.path());
    let mut client = broker.connect();
    // A file where the topic's directory should be.
    std::fs::write(dir.path().join("topics/t"), "in the way").unwrap();
    assert_eq!(client.create_topic("t", 1, &[]), KAFKA_STORAGE_ERROR);
    std::fs::remove_file(dir.path().join("topics/t")).unwrap();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    assert_eq!(client.produce("t", 0, &["x"]).error_code, 0);
}
