//! The clusters that the applications run on, and what can be done to them.

mod apache;
pub mod embedded;
mod proxy;

use std::path::Path;
use std::time::Duration;

use crate::random::Random;
use crate::settings::{Kind, Settings};

/// A cluster that can be hurt.
pub trait Brokers {
    /// Where the driver finds it: never cut, never slow.
    fn bootstrap(&self) -> String;

    /// Where the workers find it.
    fn worker_bootstrap(&self) -> String;

    /// Of topics.
    fn replication(&self) -> i32;

    /// SIGKILL for one broker. Only while all are up.
    fn kill(&mut self, random: &mut Random);

    /// Starts the killed broker again.
    fn up(&mut self) -> Result<(), String>;

    /// Whether all brokers are up and have all data: the next one may be killed.
    fn is_whole(&mut self) -> bool;

    /// Whether the network between workers and cluster can be hurt.
    fn has_network(&self) -> bool;

    /// Ends all connections of the workers.
    fn cut(&mut self);

    /// Whether new connections fail.
    fn refuse(&mut self, yes: bool);

    /// Everything between the workers and the cluster takes longer by this.
    fn delay(&mut self, by: Duration);

    /// Whether every broker runs that shall run; else what is wrong.
    fn alive(&mut self) -> Result<(), String>;

    /// Copies what the brokers have logged, where that is theirs to tell.
    fn keep_logs(&self, _to: &Path) {}

    /// Lets requests go wrong; `false` where that can't be done.
    fn spoil(&mut self, _spoil: Spoil) -> bool {
        false
    }
}

/// What can go wrong with single requests.
#[derive(Clone, Copy, Debug)]
pub enum Spoil {
    /// The next so many have their effect, but no answer.
    LoseAnswers(u64),
    /// The next so many of one kind (any number stands for one) are refused with an error that passes.
    Refuse { kind: usize, times: u64 },
    /// The coordinator of transactions, or else of groups, is not there.
    LoseCoordinator { transactions: bool },
    /// Both are there again.
    RestoreCoordinators,
}

/// Starts what was asked for.
pub fn start(settings: &Settings) -> Result<Box<dyn Brokers>, String> {
    Ok(match settings.brokers {
        Kind::Embedded => Box::new(embedded::Embedded::start()?),
        Kind::Apache(nodes) => Box::new(apache::Apache::start(nodes)?),
    })
}
