//! Starting and replacing processing threads.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Instant;

use kstreams_state_stores::CacheBudget;

use super::error::RuntimeError;
use super::instance::{Heartbeat, Instance, Mailbox, ThreadHandle};
use super::thread::ProcessingThread;
use super::transaction::{self, Attempts};
use crate::client::{GroupConsumer, Producer, Waker};
use crate::error::StreamsError;

/// The producer of the thread at this place. It has the name of the one before it, so that it fences that and ends its transactions
/// (`transactional.id`).
fn make_producer(instance: &Instance, index: usize) -> Result<Producer, StreamsError> {
    let settings = &instance.settings;
    let name = format!("{}-StreamThread-{}-producer", settings.client_id, index + 1);
    Ok(Producer::new(&name, &settings.producer(index + 1)?).map_err(RuntimeError::from)?)
}

/// The processing threads' join handles, by index.
#[derive(Default)]
pub(crate) struct Threads {
    joins: Vec<Option<JoinHandle<()>>>,
    /// Threads started so far: names are numbered from 1, never twice.
    started: usize,
}

impl Threads {
    /// Starts all of them. Transactions are prepared first, so that a start says what is wrong with them.
    pub(crate) fn start(
        instance: &Arc<Instance>,
        consumer: &Arc<GroupConsumer>,
    ) -> Result<Self, StreamsError> {
        let producers = (0..instance.settings.threads).map(|index| {
            let producer = make_producer(instance, index)?;
            let give_up = Instant::now() + instance.settings.task_timeout;
            transaction::prepare(instance, &producer, &Heartbeat::new(), give_up)?;
            Ok(producer)
        });
        let producers = producers.collect::<Result<Vec<_>, StreamsError>>()?;
        let mut threads = Threads::default();
        for (index, producer) in producers.into_iter().enumerate() {
            threads.spawn(instance, consumer, index, producer, Arc::default())?;
        }
        Ok(threads)
    }

    /// Starts a thread in the place of one that failed.
    pub(crate) fn replace(
        &mut self,
        instance: &Arc<Instance>,
        consumer: &Arc<GroupConsumer>,
        index: usize,
    ) -> Result<(), StreamsError> {
        self.join(index);
        let attempts = instance.thread(index).map(|before| before.attempts.clone()).unwrap_or_default();
        self.spawn(instance, consumer, index, make_producer(instance, index)?, attempts)
    }

    fn spawn(
        &mut self,
        instance: &Arc<Instance>,
        consumer: &Arc<GroupConsumer>,
        index: usize,
        producer: Producer,
        attempts: Arc<Attempts>,
    ) -> Result<(), StreamsError> {
        self.started += 1;
        let settings = &instance.settings;
        let name = format!("{}-StreamThread-{}", settings.client_id, self.started);
        let (sender, commands) = channel();
        let handle = Arc::new(ThreadHandle {
            name: name.clone(),
            mailbox: Mailbox::new(sender, Arc::new(Waker::default())),
            producer,
            cache: CacheBudget::new(settings.cache_bytes / settings.threads.max(1)),
            heartbeat: Arc::new(Heartbeat::new()),
            attempts,
        });
        let thread = ProcessingThread::new(instance.clone(), handle.clone(), consumer.clone(), commands);
        let join = instance.spawn(name, move || thread.run(index))?;
        instance.metrics.lock().alive_stream_threads(settings.threads);
        let mut handles = instance.threads.write();
        if index < handles.len() {
            handles[index] = handle;
            self.joins[index] = Some(join);
        } else {
            handles.push(handle);
            self.joins.push(Some(join));
        }
        Ok(())
    }

    /// Waits for a thread that has reported its end.
    fn join(&mut self, index: usize) {
        if let Some(join) = self.joins.get_mut(index).and_then(Option::take) {
            // A panic was caught and reported by the thread itself.
            let _ = join.join();
        }
    }

    /// Whether every thread has ended; those that have are joined.
    pub(crate) fn all_ended(&mut self) -> bool {
        for index in 0..self.joins.len() {
            if self.joins[index].as_ref().is_some_and(JoinHandle::is_finished) {
                self.join(index);
            }
        }
        self.joins.iter().all(Option::is_none)
    }
}
