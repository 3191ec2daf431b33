//! A disk that fills under a running application.

use std::path::Path;

use kstreams::prelude::*;
use kstreams_test_cluster::{Cluster, end, failure_of, run, wait_until};

use crate::process::{finish, mount, plays, run_as, with_own_mounts};
use crate::topologies::says;

const FULL: &str = "disk::a_disk_that_fills";
const DISK_BYTES: &str = "size=24m";
const RECORDS: usize = 1500;
const VALUE_BYTES: usize = 32 * 1024;

/// 46 MiB of state on a disk of 24 MiB. Needs a mount; where this user may not, there is nothing to test.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills() {
    if plays("full-disk") {
        fills().await;
    } else if let Some(unshare) = with_own_mounts() {
        finish(run_as("full-disk", FULL, unshare).spawn().unwrap());
    } else {
        println!(
            "SKIPPED: a disk that fills (a small file system cannot be mounted here: needs root or user namespaces)"
        );
    }
}

async fn fills() {
    let cluster = Cluster::start().await;
    let (small, large) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    mount(DISK_BYTES, small.path());
    let (input, output) = (cluster.name("blobs"), cluster.name("sizes"));
    cluster.create_topic(&input, 1).await;
    cluster.create_topic(&output, 1).await;
    let seed = 7;
    println!("seed {seed}");
    let mut random = seed;
    let values = (0..RECORDS).map(|index| (Some(format!("key-{index}")), noise(&mut random)));
    cluster.produce_values(&input, values);

    let config = |state: &Path| cluster.config_in("app", state).memory_budget_bytes(16 << 20);
    let streams = KafkaStreams::new(blobs(&input, &output), config(small.path())).unwrap();
    streams.start().await.unwrap();
    let failure = failure_of(&streams).await;
    says(&failure, &[&small.path().display().to_string(), "free some"]);
    end(&streams).await;
    assert!(cluster.committed("app", &input, 0) <= i64::try_from(cluster.counts(&output).len()).ok());

    // The remedy, a larger disk: every record is there.
    let streams = run(blobs(&input, &output), config(large.path())).await;
    wait_until("every record is stored", || {
        cluster.committed("app", &input, 0) == i64::try_from(RECORDS).ok()
    })
    .await;
    let store = streams.store::<TimestampedKeyValueStore<String, Vec<u8>>>("blobs").unwrap();
    let mut random = seed;
    for index in 0..RECORDS {
        let found = store.get(&format!("key-{index}")).unwrap();
        assert_eq!(found.map(|found| found.value), Some(noise(&mut random)), "key-{index}");
    }
    end(&streams).await;
    cluster.stop().await;
}

/// The newest value of each key in the store `blobs`; their sizes as output.
fn blobs(input: &str, output: &str) -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, Vec<u8>>(input)
        .group_by_key()
        .reduce(|_, new| new, Materialized::named("blobs"))
        .to_stream()
        .map_values(|value| value.map_or(0, |value| value.len() as i64))
        .to(output);
    builder.build().unwrap()
}

/// Bytes that no compression makes smaller (xorshift).
fn noise(state: &mut u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(VALUE_BYTES);
    while bytes.len() < VALUE_BYTES {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}
