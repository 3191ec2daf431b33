//! Random histories of the broker against a plain model: transactional and idempotent producers of both client generations,
//! offsets in transactions and of a group's member, compaction, retention, time-outs. The broker dies again and again: it is
//! killed, or its power is cut and what was not made durable is lost.
//!
//! After each death: every transaction is whole or aborted, its offsets with it; nothing acknowledged is missing, nothing is
//! there twice, nothing aborted shows; no partition waits for a transaction that is over. The seed is printed;
//! `TXN_SEED` repeats a history (but for the moment of a kill), `TXN_ROUNDS` makes it longer.

mod check;
mod host;
mod member;
mod world;

use std::collections::{BTreeSet, HashMap};

use kafka_protocol::messages::ProducerId;
use kafka_protocol::protocol::StrBytes;

use self::host::Host;
use self::world::World;
use crate::support::PATIENCE;

/// The first keeps everything, the second is compacted, the third loses its oldest segments.
const TOPICS: [&str; 3] = ["log", "table", "recent"];
const PARTITIONS: i32 = 2;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A small generator: the same seed gives the same history.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    Aborted,
    /// A commit was asked for and the broker killed: all or nothing.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    topic: &'static str,
    partition: i32,
    key: String,
    value: String,
    /// -1 while it is not acknowledged.
    offset: i64,
}

#[derive(Debug)]
struct Txn {
    producer: usize,
    fate: Fate,
    records: Vec<Written>,
    /// The offset committed in it.
    offset: Option<i64>,
}

#[derive(Debug)]
struct Producer {
    name: String,
    /// Takes a new epoch with each transaction (KIP-890).
    bumps: bool,
    timeout_ms: i32,
    id: ProducerId,
    epoch: i16,
    sequences: HashMap<(&'static str, i32), i32>,
    open: Option<usize>,
    enlisted: BTreeSet<(&'static str, i32)>,
}

/// Random steps, a death, a check, again and again.
fn live_through(host: Host, seed: u64, rounds: u64, is_long: bool) {
    let mut world = World::new(host, seed);
    let deadline = std::time::Instant::now() + PATIENCE * 5;
    for round in 0..rounds {
        let steps = 20 + world.rng.below(120);
        (0..steps).for_each(|_| world.step());
        world.die();
        world.check();
        let committed = world.txns.iter().filter(|txn| txn.fate == Fate::Committed).count();
        println!("round {round}: {} transactions, {committed} committed", world.txns.len());
        assert!(std::time::Instant::now() < deadline || is_long, "too slow");
    }
}

/// The seed of a history, and how many rounds it has.
fn given(rounds: u64) -> (u64, u64, bool) {
    let from_env = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = from_env("TXN_SEED").unwrap_or(now.as_nanos() as u64);
    println!("TXN_SEED={seed}");
    let given = from_env("TXN_ROUNDS");
    (seed, given.unwrap_or(rounds), given.is_some())
}

#[test]
fn every_transaction_is_whole_or_aborted_whenever_the_broker_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (seed, rounds, is_long) = given(8);
    live_through(Host::process(dir.path()), seed, rounds, is_long);
}

#[test]
fn every_transaction_is_whole_or_aborted_whenever_the_power_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (seed, rounds, is_long) = given(8);
    live_through(Host::on_volatile_disk(dir.path()), seed, rounds, is_long);
}
