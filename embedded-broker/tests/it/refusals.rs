//! Every API of the broker can be made to answer with an error, in every version.

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource as IncrementalResource;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Request, StrBytes};
use kstreams_embedded_broker::fault::{ApiKey, Fault, ResponseError};

use crate::support::{Broker, Client, batch, fetch_request, new_topic, produce_request, topic_name};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Asks in every version that the broker has; each answer must name the error. False for an API it has not.
fn refused<R: Request<Response: std::fmt::Debug>>(
    client: &mut Client,
    broker: &Broker,
    request: impl Fn(i16) -> R,
) -> bool {
    let known: ApiVersionsResponse = client.ask(2, &ApiVersionsRequest::default());
    let Some(versions) = known.api_keys.iter().find(|api| api.api_key == R::KEY) else { return false };
    let api = ApiKey::try_from(R::KEY).unwrap();
    let fault = broker.faults().inject(Fault::refuse(ResponseError::PolicyViolation).api(api));
    for version in versions.min_version..=versions.max_version {
        let answer = format!("{:?}", client.ask(version, &request(version)));
        let said = format!("error_code: {}", ResponseError::PolicyViolation.code());
        assert!(answer.contains(&said), "{api:?} v{version}: {answer}");
    }
    fault.lift();
    true
}

#[test]
fn data_requests_are_refused_in_every_version() {
    let broker = Broker::start();
    let mut client = broker.connect();
    let client = &mut client;
    let mut all = true;
    all &= refused(client, &broker, |version| {
        let mut request = produce_request("t", 0, batch(&["x"]), -1);
        if version >= 13 {
            request.topic_data[0].name = topic_name("");
        }
        request
    });
    all &= refused(client, &broker, |version| {
        let mut request = fetch_request("t", 0, 0, 0);
        if version >= 13 {
            request.topics[0].topic = topic_name("");
        }
        request
    });
    all &= refused(client, &broker, |_| {
        let partitions = vec![ListOffsetsPartition::default()];
        let topic = ListOffsetsTopic::default().with_name(topic_name("t")).with_partitions(partitions);
        ListOffsetsRequest::default().with_topics(vec![topic])
    });
    all &= refused(client, &broker, |_| {
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name("t")));
        MetadataRequest::default().with_topics(Some(vec![topic]))
    });
    all &= refused(client, &broker, |_| {
        CreateTopicsRequest::default().with_topics(vec![new_topic("t", 1, &[])])
    });
    all &= refused(client, &broker, |version| match version {
        6.. => {
            let topic = DeleteTopicState::default().with_name(Some(topic_name("t")));
            DeleteTopicsRequest::default().with_topics(vec![topic])
        }
        _ => DeleteTopicsRequest::default().with_topic_names(vec![topic_name("t")]),
    });
    all &= refused(client, &broker, |_| {
        let partitions = vec![DeleteRecordsPartition::default()];
        let topic = DeleteRecordsTopic::default().with_name(topic_name("t")).with_partitions(partitions);
        DeleteRecordsRequest::default().with_topics(vec![topic])
    });
    all &= refused(client, &broker, |_| {
        let partitions = vec![OffsetForLeaderPartition::default()];
        let topic = OffsetForLeaderTopic::default().with_topic(topic_name("t")).with_partitions(partitions);
        OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
    });
    all &= refused(client, &broker, |_| {
        let resource = DescribeConfigsResource::default().with_resource_type(2).with_resource_name(text("t"));
        DescribeConfigsRequest::default().with_resources(vec![resource])
    });
    all &= refused(client, &broker, |_| {
        let resource = AlterConfigsResource::default().with_resource_type(2).with_resource_name(text("t"));
        AlterConfigsRequest::default().with_resources(vec![resource])
    });
    all &= refused(client, &broker, |_| {
        let resource = IncrementalResource::default().with_resource_type(2).with_resource_name(text("t"));
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
    });
    all &= refused(client, &broker, |_| {
        let topic = CreatePartitionsTopic::default().with_name(topic_name("t")).with_count(2);
        CreatePartitionsRequest::default().with_topics(vec![topic])
    });
    all &= refused(client, &broker, |_| DescribeClusterRequest::default());
    all &= refused(client, &broker, |_| DescribeLogDirsRequest::default().with_topics(None));
    assert!(all, "an API is missing");
}

#[test]
fn group_requests_are_refused_in_every_version() {
    let broker = Broker::start();
    let mut client = broker.connect();
    let client = &mut client;
    let group = || GroupId(text("g"));
    let mut all = true;
    all &= refused(client, &broker, |version| match version {
        4.. => FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]),
        _ => FindCoordinatorRequest::default().with_key(text("g")),
    });
    all &= refused(client, &broker, |_| JoinGroupRequest::default().with_group_id(group()));
    all &= refused(client, &broker, |_| SyncGroupRequest::default().with_group_id(group()));
    all &= refused(client, &broker, |_| HeartbeatRequest::default().with_group_id(group()));
    all &= refused(client, &broker, |_| LeaveGroupRequest::default().with_group_id(group()));
    all &= refused(client, &broker, |_| ListGroupsRequest::default());
    all &= refused(client, &broker, |_| DescribeGroupsRequest::default().with_groups(vec![group()]));
    all &= refused(client, &broker, |_| DeleteGroupsRequest::default().with_groups_names(vec![group()]));
    all &= refused(client, &broker, |_| OffsetDeleteRequest::default().with_group_id(group()));
    all &= refused(client, &broker, |_| {
        let partitions = vec![OffsetCommitRequestPartition::default()];
        let topic =
            OffsetCommitRequestTopic::default().with_name(topic_name("t")).with_partitions(partitions);
        OffsetCommitRequest::default().with_group_id(group()).with_topics(vec![topic])
    });
    all &= refused(client, &broker, |version| match version {
        8.. => {
            let asked = OffsetFetchRequestGroup::default().with_group_id(group());
            OffsetFetchRequest::default().with_groups(vec![asked])
        }
        _ => {
            let topic = OffsetFetchRequestTopic::default().with_name(topic_name("t"));
            let topic = topic.with_partition_indexes(vec![0]);
            OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![topic]))
        }
    });
    assert!(all, "an API is missing");
}

#[test]
fn producer_requests_are_refused_in_every_version() {
    let broker = Broker::start();
    let mut client = broker.connect();
    let client = &mut client;
    let id = || TransactionalId(text("tx"));
    assert!(refused(client, &broker, |_| InitProducerIdRequest::default()));
    // Those of transactions, where the broker has them.
    refused(client, &broker, |version| {
        let topic = AddPartitionsToTxnTopic::default().with_name(topic_name("t")).with_partitions(vec![0]);
        match version {
            4.. => panic!("between brokers only"),
            _ => AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(id())
                .with_v3_and_below_topics(vec![topic]),
        }
    });
    refused(client, &broker, |_| AddOffsetsToTxnRequest::default().with_transactional_id(id()));
    refused(client, &broker, |_| EndTxnRequest::default().with_transactional_id(id()));
    refused(client, &broker, |_| {
        let partitions = vec![TxnOffsetCommitRequestPartition::default()];
        let topic =
            TxnOffsetCommitRequestTopic::default().with_name(topic_name("t")).with_partitions(partitions);
        TxnOffsetCommitRequest::default().with_transactional_id(id()).with_topics(vec![topic])
    });
    refused(client, &broker, |_| ListTransactionsRequest::default());
    refused(client, &broker, |_| DescribeTransactionsRequest::default().with_transactional_ids(vec![id()]));
}
