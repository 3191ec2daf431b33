//! Start: checks against the cluster first, so that what is wrong is said at once and nothing half-started is left; then
//! the threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rdkafka::ClientConfig;
use rdkafka::client::DefaultClientContext;

use super::assignment::{FoundInputs, Plan};
use super::cluster::{self, Admin};
use super::error::RuntimeError;
use super::global;
use super::instance::{Event, Instance};
use super::rebalance::GroupThread;
use super::restorers::Restorers;
use super::shutdown_request;
use super::sources;
use super::start_checks;
use super::threads::Threads;
use super::watch::{Watch, WatchHandle};
use crate::client::{ClientError, GroupConsumer};
use crate::config::ProcessingGuarantee;
use crate::error::StreamsError;
use crate::internal_topics::TopicManager;

/// Starts an instance: returns when the group is joined, not when tasks run.
///
/// # Errors
/// When no broker answers, a source topic doesn't exist, internal topics can't be made or don't fit, or a client can't
/// be made. Nothing runs then.
pub(crate) fn start(instance: &Arc<Instance>, events: Receiver<Event>) -> Result<WatchHandle, StreamsError> {
    let settings = &instance.settings;
    let admin: Arc<Admin> = Arc::new(admin_client(&settings.admin()?)?);
    let answered =
        cluster::wait_for_broker(&admin, &settings.config.bootstrap_servers, settings.startup_timeout);
    if let Err(error) = answered {
        // librdkafka's end waits for its name look-ups, which can hang for long; whoever started need not.
        let _ = std::thread::Builder::new().name("kstreams-admin-end".into()).spawn(move || drop(admin));
        return Err(RuntimeError::from(error).into());
    }
    if settings.guarantee == ProcessingGuarantee::ExactlyOnceV2 {
        start_checks::check_brokers(instance)?;
    }
    let manager = TopicManager::new(
        &settings.config.admin(&settings.process_id)?,
        settings.config.default_api_timeout,
    )?;
    let plan = plan(instance, &admin, &manager)?;
    let global_only = !instance.topology.global_stores().is_empty();
    if plan.subscription().is_empty() && !sources::has_patterns(&instance.topology) && !global_only {
        return Err(crate::TopologyError::Invalid("the topology has no source: add one".to_owned()).into());
    }
    let partitions = plan.input_partitions().max(1);
    let subscription = plan.subscription();
    *instance.plan.write() = plan;
    let global = global::start(instance, &admin)?;

    let consumer_name = settings.consumer_name();
    let waker = instance.events.waker().clone();
    let consumer = GroupConsumer::waking(&consumer_name, &settings.main_consumer(partitions)?, &waker)
        .map_err(RuntimeError::from)?;
    *instance.known_requests.write() = shutdown_request::known_requests(instance, &consumer)?;
    let consumer = Arc::new(consumer);
    let threads = Threads::start(instance, &consumer)?;
    if settings.guarantee == ProcessingGuarantee::ExactlyOnceV2 {
        start_checks::warn_of_few_copies(instance, &admin);
    }
    let restorers = Restorers::start(instance, partitions)?;
    let watch = Watch::start(instance, admin, manager)?;

    let topics: Vec<&str> = subscription.iter().map(|topic| &**topic).collect();
    if !topics.is_empty() {
        consumer.subscribe(&topics).map_err(RuntimeError::from)?;
    }
    let group = GroupThread::new(instance.clone(), consumer, restorers, (threads, global), events, waker);
    instance.spawn(format!("{}-group", settings.client_id), move || group.run())?;
    Ok(watch)
}

fn admin_client(config: &ClientConfig) -> Result<Admin, RuntimeError> {
    config
        .create::<rdkafka::admin::AdminClient<DefaultClientContext>>()
        .map_err(|source| ClientError::config(source).into())
}

/// Source topics are there, internal topics made or checked: what makes which task.
fn plan(instance: &Instance, admin: &Admin, manager: &TopicManager) -> Result<Plan, StreamsError> {
    let settings = &instance.settings;
    let timeout = settings.request_timeout;
    let before = cluster::all_topics(admin, timeout).map_err(RuntimeError::from)?;
    if let Some(topic) =
        sources::external_topics(&instance.topology).into_iter().find(|topic| !before.contains_key(topic))
    {
        return Err(RuntimeError::UnknownSourceTopic { topic }.into());
    }
    super::internal::ensure(instance, manager, &before)?;
    // Topics that were just made show up when every broker has heard of them.
    let deadline = std::time::Instant::now() + timeout;
    loop {
        let topics: BTreeMap<String, i32> =
            cluster::all_topics(admin, timeout).map_err(RuntimeError::from)?;
        match sources::counts(&instance.topology, &settings.application_id, &topics) {
            Err(RuntimeError::UnknownSourceTopic { .. }) if std::time::Instant::now() < deadline => {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            counts => {
                let found = counts?;
                let waits = found.iter().any(FoundInputs::waits_for_representative);
                if !waits || std::time::Instant::now() >= deadline {
                    return Ok(Plan::new(found));
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
    }
}
