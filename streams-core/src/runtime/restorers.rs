//! The restore threads: how many there are, and which task is whose.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{JoinHandle, available_parallelism};

use super::create::TaskSeed;
use super::error::RuntimeError;
use super::instance::{Instance, Mailbox};
use super::restore::{RestoreCommand, RestoreThread};
use crate::client::{GroupConsumer, Waker};
use crate::error::StreamsError;
use crate::task::TaskId;

/// More threads than this would wait for the brokers and the disk.
const MOST: usize = 8;

/// The restore threads of an instance.
pub(crate) struct Restorers(Vec<Restorer>);

struct Restorer {
    mailbox: Mailbox<RestoreCommand>,
    /// What it has open is closed when it ends.
    join: JoinHandle<()>,
}

/// As many as there are processing threads, as in Kafka Streams; on a machine with cores to spare half of those.
fn threads(processing: usize) -> usize {
    let cores = available_parallelism().map_or(1, usize::from);
    processing.min(cores).max(cores / 2).clamp(1, MOST)
}

impl Restorers {
    /// Starts the threads, each with a consumer of its own. `partitions`: of all inputs together.
    ///
    /// # Errors
    /// When a consumer can't be made, or a thread not be started.
    pub(crate) fn start(instance: &Arc<Instance>, partitions: usize) -> Result<Self, StreamsError> {
        let count = threads(instance.settings.threads);
        let start = |number| Self::start_one(instance, (number, count), partitions);
        Ok(Restorers((1..=count).map(start).collect::<Result<_, StreamsError>>()?))
    }

    fn start_one(
        instance: &Arc<Instance>,
        (number, count): (usize, usize),
        partitions: usize,
    ) -> Result<Restorer, StreamsError> {
        let name = format!("{}-StateUpdater-{number}", instance.settings.client_id);
        let config = instance.settings.restore_consumer(number, partitions)?;
        let (sender, commands) = channel();
        let (made, is_made) = channel();
        let waker = Arc::new(Waker::default());
        let mailbox = Mailbox::new(sender, waker.clone());
        let (on_thread, thread_name) = (instance.clone(), name.clone());
        let join = instance.spawn(name, move || {
            // Before the consumer, whose threads inherit it.
            super::priority::give_way();
            match GroupConsumer::new("restore-consumer", &config) {
                Ok(consumer) => {
                    // Whoever started is gone only if the start has failed; then a stop comes, or nothing.
                    let _ = made.send(Ok(()));
                    RestoreThread::new(on_thread, (thread_name, count), consumer, commands, waker).run();
                }
                Err(error) => {
                    let _ = made.send(Err(error));
                }
            }
        })?;
        match is_made.recv() {
            Ok(Ok(())) => Ok(Restorer { mailbox, join }),
            Ok(Err(error)) => Err(RuntimeError::from(error).into()),
            Err(_) => {
                let message = "it ended while its consumer was made".to_owned();
                Err(RuntimeError::Panic { thread: "StateUpdater".to_owned(), message }.into())
            }
        }
    }

    /// Always the same for the same task: what is dropped must be found where it was added.
    fn of(&self, task: TaskId) -> &Mailbox<RestoreCommand> {
        let partition = usize::try_from(task.partition).unwrap_or(0);
        let sub_topology = usize::try_from(task.sub_topology).unwrap_or(0);
        &self.0[(partition + sub_topology) % self.0.len()].mailbox
    }

    /// Makes a task and restores it.
    pub(super) fn add(&self, seed: Box<TaskSeed>) {
        self.of(seed.entry.id).send(RestoreCommand::Add(seed));
    }

    /// Closes a task that is being made or restored; it is reported as released.
    pub(super) fn drop_task(&self, task: TaskId) {
        self.of(task).send(RestoreCommand::Drop(task));
    }

    /// Asks all threads to close what they have, and to end.
    pub(super) fn stop(&self) {
        for restorer in &self.0 {
            restorer.mailbox.send(RestoreCommand::Stop);
        }
    }

    /// Whether all threads have ended.
    pub(super) fn all_ended(&self) -> bool {
        self.0.iter().all(|restorer| restorer.join.is_finished())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_restore_thread_however_small_the_machine() {
        for processing in [0, 1, 2, 64] {
            assert!((1..=MOST).contains(&threads(processing)));
        }
    }
}
