//! What must not be left behind.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::reader;
use crate::pool::Pool;
use crate::scenario::{Names, Scenario};
use crate::worker::{SESSION, TRANSACTION};

/// Of a worker that ran through all faults.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    pub threads: usize,
    pub files: usize,
}

/// What a worker that runs for long may have. Two processing threads, the client's threads for each broker, RocksDB's: about 40
/// are usual; files depend on how many tasks it has, about 10 for each and 5 for each broker. A leak of one per fault shows.
const MOST: Footprint = Footprint { threads: 90, files: 320 };

impl Footprint {
    pub fn of(pool: &mut Pool, slot: usize) -> Option<Footprint> {
        let (threads, files) = pool.process(slot)?.threads_and_files()?;
        Some(Footprint { threads, files })
    }

    pub fn check(self) -> Result<(), String> {
        if self.threads > MOST.threads || self.files > MOST.files {
            return Err(format!("a long-running worker has {self:?}, more than {MOST:?}"));
        }
        Ok(())
    }
}

/// After all workers have stopped the group has no member: those that died are given up with their sessions.
pub fn nobody_left(names: &Names, bootstrap: &str) -> Result<(), String> {
    let consumer = reader::consumer(bootstrap, "kstreams-chaos-reader", false);
    let mut seen = String::new();
    let empty = crate::wait_until(SESSION * 2 + Duration::from_secs(10), || {
        let groups = consumer.fetch_group_list(Some(&names.application()), Duration::from_secs(5));
        let members =
            groups.map(|groups| groups.groups().iter().map(|group| group.members().len()).sum::<usize>());
        seen = format!("{members:?}");
        members == Ok(0)
    });
    if empty { Ok(()) } else { Err(format!("members left in the group: {seen}")) }
}

/// No transaction is open: in every topic the last stable offset is the end.
pub fn nothing_open(scenario: &dyn Scenario, names: &Names, bootstrap: &str) -> Result<(), String> {
    let outputs = scenario.outputs().iter().map(|topic| names.topic(topic));
    let changelogs = scenario.stores().iter().map(|store| names.changelog(store.name));
    let repartitions = scenario.repartitions().iter().map(|name| names.repartition(name));
    let topics: Vec<String> = outputs.chain(changelogs).chain(repartitions).collect();
    let stable = reader::consumer(bootstrap, "kstreams-chaos-reader", true);
    let all = reader::consumer(bootstrap, "kstreams-chaos-reader", false);
    let mut open = String::new();
    let closed = crate::wait_until(TRANSACTION + Duration::from_secs(20), || {
        open = match topics.iter().map(|topic| open_in(&stable, &all, topic)).collect::<Result<Vec<_>, _>>() {
            Ok(found) => found.concat(),
            Err(error) => error,
        };
        open.is_empty()
    });
    if closed { Ok(()) } else { Err(format!("transactions are left open: {open}")) }
}

fn open_in(stable: &BaseConsumer, all: &BaseConsumer, topic: &str) -> Result<String, String> {
    let mut open = String::new();
    for partition in 0..reader::partitions(all, topic)? {
        let (_, stable) = reader::ends(stable, topic, partition)?;
        let (_, end) = reader::ends(all, topic, partition)?;
        if stable < end {
            open.push_str(&format!("{topic}-{partition} is stable up to {stable} of {end}; "));
        }
    }
    Ok(open)
}
