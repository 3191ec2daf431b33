//! Power cuts: what was made durable is there afterwards, what was not may be gone, and the logs are whole.

use kstreams_embedded_broker::BrokerConfig;
use kstreams_embedded_broker::fault::{Loss, VolatileDisk};

use crate::support::{Broker, Client};

fn config(dir: &std::path::Path, disk: &VolatileDisk) -> BrokerConfig {
    BrokerConfig::new().data_dir(dir).volatile_disk(disk)
}

fn read_all(client: &mut Client, topic: &str) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let some = client.fetch(topic, 0, all.len() as i64);
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

#[test]
fn a_power_cut_takes_what_was_not_flushed() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), VolatileDisk::new());
    let broker = Broker::start_with(config(dir.path(), &disk));
    let mut client = broker.connect();
    client.create_topic("durable", 1, &[("flush.messages", "1")]);
    client.create_topic("cached", 1, &[]);
    for value in ["a", "b", "c"] {
        assert_eq!(client.produce("durable", 0, &[value]).error_code, 0);
        assert_eq!(client.produce("cached", 0, &[value]).error_code, 0);
    }
    disk.cut_power();
    assert_ne!(client.produce("durable", 0, &["d"]).error_code, 0);
    broker.kill();
    disk.lose_unsynced(Loss::Everything).unwrap();

    let broker = Broker::start_with(config(dir.path(), &disk));
    let mut client = broker.connect();
    assert_eq!(read_all(&mut client, "durable"), ["a", "b", "c"]);
    assert_eq!(read_all(&mut client, "cached"), Vec::<String>::new());
    assert_eq!(client.produce("cached", 0, &["again"]).base_offset, 0);
    broker.stop();
}

/// A log that is written with fsyncs, rolls its segments and is cleaned: whatever operation is the last before the power
/// goes, and whatever of the rest gets lost, every acknowledged record is there.
#[test]
fn acknowledged_records_survive_a_power_cut_at_every_step() {
    for (step, loss) in (0..).step_by(3).flat_map(|step| {
        [(step, Loss::Everything), (step + 1, Loss::Some(step)), (step + 2, Loss::Some(step ^ 0x5eed))]
    }) {
        let (dir, disk) = (tempfile::tempdir().unwrap(), VolatileDisk::new());
        let broker = Broker::start_with(config(dir.path(), &disk));
        let mut client = broker.connect();
        disk.cut_power_after(step);
        let settings = [("flush.messages", "1"), ("segment.bytes", "300")];
        let created = client.create_topic("t", 1, &settings) == 0;
        let mut acknowledged = 0;
        for number in 0..12 {
            if !created || client.produce("t", 0, &[&number.to_string()]).error_code != 0 {
                break;
            }
            acknowledged = number + 1;
        }
        let survived = !disk.is_dead();
        broker.kill();
        disk.lose_unsynced(loss).unwrap();
        let broker = Broker::start_with(config(dir.path(), &disk));
        let mut client = broker.connect();
        if created {
            let values = read_all(&mut client, "t");
            let expected: Vec<_> = (0..values.len()).map(|number| number.to_string()).collect();
            assert_eq!(values, expected, "step {step}, {loss:?}");
            assert!(
                values.len() >= acknowledged,
                "step {step}, {loss:?}: {acknowledged} acknowledged, {values:?} there"
            );
            let next = client.produce("t", 0, &["next"]);
            assert_eq!(
                (next.error_code, next.base_offset),
                (0, values.len() as i64),
                "step {step}, {loss:?}"
            );
        }
        broker.stop();
        if survived {
            assert!(step > 30, "the work was done after {step} changes");
            return;
        }
    }
}
