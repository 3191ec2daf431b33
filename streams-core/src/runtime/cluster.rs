//! Questions to the cluster that don't concern the group.

use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::groups::GroupInfo;
use rdkafka::metadata::Metadata;

use super::probe;
use super::sources::ClusterTopics;
use crate::client::ClientError;

/// Admin client of an instance.
pub(crate) type Admin = AdminClient<DefaultClientContext>;

/// Waits for the first answer of a broker.
///
/// # Errors
/// When none comes in time: the error names the address.
pub(crate) fn wait_for_broker(admin: &Admin, bootstrap: &str, timeout: Duration) -> Result<(), ClientError> {
    let start = Instant::now();
    loop {
        let left = timeout.saturating_sub(start.elapsed());
        // In short steps: a broker that starts meanwhile is found soon.
        match admin.inner().fetch_metadata(Some("__consumer_offsets"), left.min(Duration::from_secs(2))) {
            Ok(_) => return Ok(()),
            Err(source) if start.elapsed() >= timeout => {
                let (waited_ms, found) = (start.elapsed().as_millis(), probe::look(bootstrap));
                let (bootstrap, source) = (bootstrap.to_owned(), Box::new(source));
                return Err(ClientError::Unreachable { bootstrap, waited_ms, found, source });
            }
            Err(error) => {
                tracing::debug!(%error, bootstrap, "no broker answers yet");
                std::thread::sleep(Duration::from_millis(100).min(left));
            }
        }
    }
}

/// Every topic of the cluster with its partition count. Topics are not asked for by name: an admin client is a producer to
/// librdkafka, and such a question makes a broker with `auto.create.topics.enable` create the topic, for instance the
/// input that somebody has just deleted.
pub(crate) fn all_topics(admin: &Admin, timeout: Duration) -> Result<ClusterTopics, ClientError> {
    let metadata = admin.inner().fetch_metadata(None, timeout);
    let metadata =
        metadata.map_err(|source| ClientError::request("reading the metadata of all topics", source))?;
    Ok(existing(&metadata).collect())
}

/// The `client.id`s of a group's members; `None` when no broker has the group, perhaps because its coordinator is away.
pub(crate) fn members(
    admin: &Admin,
    group: &str,
    timeout: Duration,
) -> Result<Option<Vec<String>>, ClientError> {
    let groups = admin.inner().fetch_group_list(Some(group), timeout);
    let groups =
        groups.map_err(|source| ClientError::request(format!("listing the members of {group}"), source))?;
    let members = |group: &GroupInfo| {
        group.members().iter().map(|member| member.client_id().to_owned()).collect::<Vec<_>>()
    };
    Ok((!groups.groups().is_empty()).then(|| groups.groups().iter().flat_map(members).collect()))
}

/// How well a topic is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copies {
    pub(crate) name: String,
    /// Of the partition that has fewest.
    pub(crate) replicas: usize,
    /// `min.insync.replicas`; `None`: the brokers don't tell.
    pub(crate) min_in_sync: Option<usize>,
}

/// The number of brokers, and how many copies they keep of these topics.
pub(crate) fn copies(
    admin: &Admin,
    is_asked: impl Fn(&str) -> bool,
    timeout: Duration,
) -> Result<(usize, Vec<Copies>), ClientError> {
    let metadata = admin.inner().fetch_metadata(None, timeout);
    let metadata =
        metadata.map_err(|source| ClientError::request("reading the metadata of all topics", source))?;
    let topics = metadata.topics().iter().filter(|topic| is_asked(topic.name()));
    let fewest = topics.filter_map(|topic| {
        let replicas = topic.partitions().iter().map(|partition| partition.replicas().len()).min()?;
        Some(Copies { name: topic.name().to_owned(), replicas, min_in_sync: None })
    });
    let mut copies: Vec<Copies> = fewest.collect();
    if metadata.brokers().len() > 1 {
        ask_min_in_sync(admin, &mut copies, timeout);
    }
    Ok((metadata.brokers().len(), copies))
}

/// Not every user may see the settings of topics: what can't be learned stays unknown.
fn ask_min_in_sync(admin: &Admin, copies: &mut [Copies], timeout: Duration) {
    let resources: Vec<_> = copies.iter().map(|topic| ResourceSpecifier::Topic(&topic.name)).collect();
    let options = AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout));
    let found: Vec<Option<usize>> = match block_on(admin.describe_configs(&resources, &options)) {
        Ok(answers) => answers
            .iter()
            .map(|answer| answer.as_ref().ok()?.get("min.insync.replicas")?.value.as_ref()?.parse().ok())
            .collect(),
        Err(error) => {
            tracing::debug!(%error, "min.insync.replicas can't be learned");
            return;
        }
    };
    for (topic, found) in copies.iter_mut().zip(found) {
        topic.min_in_sync = found;
    }
}

fn existing(metadata: &Metadata) -> impl Iterator<Item = (String, i32)> {
    metadata
        .topics()
        .iter()
        .filter(|topic| topic.error().is_none() && !topic.partitions().is_empty())
        .map(|topic| (topic.name().to_owned(), i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX)))
}
