//! The clusters that the applications run on, and what can be done to them.

mod apache;
pub mod embedded;
mod proxy;

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

    /// Brings the killed broker up again; answers when it is there.
    fn up(&mut self) -> Result<(), String>;

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
}

/// Starts what was asked for.
pub fn start(settings: &Settings) -> Result<Box<dyn Brokers>, String> {
    Ok(match settings.brokers {
        Kind::Embedded => Box::new(embedded::Embedded::start()?),
        Kind::Apache(nodes) => Box::new(apache::Apache::start(nodes)?),
    })
}
