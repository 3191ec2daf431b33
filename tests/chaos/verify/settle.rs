//! Waiting until all input is processed.

use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use rdkafka::{Offset, TopicPartitionList};

use super::reader;
use crate::scenario::{Names, Scenario};

/// For everything that was held up by the faults.
const LIMIT: Duration = Duration::from_secs(180);

/// Waits until the application has committed the end of its inputs, then of each repartition topic on the way; `tend` is called
/// between two looks. An error says what doesn't move.
pub fn settle(
    scenario: &dyn Scenario,
    names: &Names,
    bootstrap: &str,
    mut tend: impl FnMut(),
) -> Result<(), String> {
    let deadline = Instant::now() + LIMIT;
    let stable = reader::consumer(bootstrap, &names.application(), true);
    let all = reader::consumer(bootstrap, &names.application(), false);
    let inputs = scenario.inputs().iter().map(|topic| names.topic(topic));
    let topics = inputs.chain(scenario.repartitions().iter().map(|name| names.repartition(name)));
    for topic in topics {
        loop {
            let left = left(&stable, &all, &topic);
            match &left {
                Ok(0) => break,
                other if Instant::now() > deadline => {
                    return Err(format!(
                        "{topic} is not processed within {} s: {other:?} records left",
                        LIMIT.as_secs()
                    ));
                }
                _ => {}
            }
            tend();
            std::thread::sleep(Duration::from_millis(150));
        }
    }
    Ok(())
}

/// Records that aren't committed as processed. What lies between the committed offset and the end may be no record at all but
/// the end of a transaction: only reading tells. What lies behind an open transaction, perhaps of a worker that is dead, can't be
/// read before that is decided, and counts as left.
fn left(stable: &BaseConsumer, all: &BaseConsumer, topic: &str) -> Result<usize, String> {
    let committed = reader::committed(stable, topic)?;
    let mut behind = TopicPartitionList::new();
    let mut left = 0;
    for partition in 0..reader::partitions(stable, topic)? {
        let (_, high) = reader::ends(all, topic, partition)?;
        let (start, end) = reader::ends(stable, topic, partition)?;
        let offset = committed.iter().find(|(p, _)| *p == partition).map_or(0, |(_, offset)| *offset);
        let offset = offset.max(start);
        if high > end {
            left += usize::try_from(high - end).unwrap();
        } else if end - offset > 3 {
            left += usize::try_from(end - offset).unwrap();
        } else if end > offset {
            behind.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        }
    }
    if left > 0 || behind.count() == 0 {
        return Ok(left);
    }
    reader::read_on(stable, &behind).map(|rows| rows.len())
}
