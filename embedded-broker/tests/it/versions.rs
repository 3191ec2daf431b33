//! Every API in every version the broker promises: asked with something to answer and something to refuse, each answer
//! must decode.

use std::collections::BTreeMap;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::incremental_alter_configs_request::{self, AlterConfigsResource};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Request, StrBytes};
use uuid::Uuid;

use crate::support::{Broker, Client, batch, fetch_request, new_topic, produce_request, topic_name};

/// Asks in every promised version; `make` gives the requests for one.
struct Asker {
    client: Client,
    promised: BTreeMap<i16, (i16, i16)>,
    topic_id: Uuid,
}

const TOPICS: [&str; 2] = ["t", "none"];

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

impl Asker {
    fn new(broker: &Broker) -> Self {
        let mut client = broker.connect();
        let apis = client.ask(3, &ApiVersionsRequest::default()).api_keys;
        let promised = apis.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
        client.create_topic("t", 1, &[]);
        client.produce("t", 0, &["a", "b"]);
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name("t")));
        let topic_id =
            client.ask(12, &MetadataRequest::default().with_topics(Some(vec![topic]))).topics[0].topic_id;
        Asker { client, promised, topic_id }
    }

    fn every_version<R: Request>(&mut self, make: impl Fn(i16) -> R) {
        let (first, last) = self.promised.remove(&R::KEY).expect("promised");
        for version in first..=last {
            println!("{:?} v{version}", ApiKey::try_from(R::KEY));
            self.client.ask(version, &make(version));
        }
    }
}

#[test]
fn every_promised_version_is_answered() {
    let broker = Broker::start();
    let mut asker = Asker::new(&broker);
    data(&mut asker);
    topics(&mut asker);
    configs(&mut asker);
    groups(&mut asker);
    transactions(&mut asker);
    assert!(asker.promised.is_empty(), "not asked: {:?}", asker.promised);
}

fn data(asker: &mut Asker) {
    let id = asker.topic_id;
    asker.every_version(|version| {
        let mut request = produce_request("t", 0, batch(&["x"]), 1);
        request.topic_data.push(produce_request("none", 0, batch(&["x"]), 1).topic_data.remove(0));
        if version >= 13 {
            for (topic, id) in request.topic_data.iter_mut().zip([id, Uuid::from_u128(1)]) {
                topic.name = topic_name("");
                topic.topic_id = id;
            }
        }
        request
    });
    asker.every_version(|version| {
        let mut request = fetch_request("t", 0, 0, 0);
        request.topics.push(fetch_request("none", 0, 0, 0).topics.remove(0));
        request.isolation_level = (version % 2) as i8;
        if version >= 13 {
            for (topic, id) in request.topics.iter_mut().zip([id, Uuid::from_u128(1)]) {
                topic.topic = topic_name("");
                topic.topic_id = id;
            }
        }
        if version >= 15 {
            request.replica_id = (-1).into();
        }
        request
    });
    asker.every_version(|_| {
        let partitions = [-1, -2, -3, 0].map(|timestamp| {
            ListOffsetsPartition::default().with_timestamp(timestamp).with_current_leader_epoch(-1)
        });
        let topic = |name| {
            ListOffsetsTopic::default().with_name(topic_name(name)).with_partitions(partitions.to_vec())
        };
        ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(TOPICS.map(topic).to_vec())
    });
    asker.every_version(|version| {
        let partition = OffsetForLeaderPartition::default().with_current_leader_epoch(-1);
        let topic = |name| {
            OffsetForLeaderTopic::default()
                .with_topic(topic_name(name))
                .with_partitions(vec![partition.clone()])
        };
        let request = OffsetForLeaderEpochRequest::default().with_topics(TOPICS.map(topic).to_vec());
        request.with_replica_id(if version >= 3 { -1 } else { -2 }.into())
    });
    asker.every_version(|_| {
        let partitions = vec![DeleteRecordsPartition::default().with_offset(1)];
        let topic = |name| {
            DeleteRecordsTopic::default().with_name(topic_name(name)).with_partitions(partitions.clone())
        };
        DeleteRecordsRequest::default().with_topics(TOPICS.map(topic).to_vec())
    });
    asker.every_version(|_| InitProducerIdRequest::default().with_transactional_id(None));
}

fn topics(asker: &mut Asker) {
    asker.every_version(|version| {
        let asked = |name| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request = MetadataRequest::default().with_topics(Some(TOPICS.map(asked).to_vec()));
        let request = request.with_allow_auto_topic_creation(version < 4);
        let request = request.with_include_topic_authorized_operations(version >= 8);
        request.with_include_cluster_authorized_operations((8..=10).contains(&version))
    });
    asker.every_version(|_| ApiVersionsRequest::default());
    asker.every_version(|version| {
        DescribeClusterRequest::default().with_endpoint_type(1 + (version % 2) as i8)
    });
    asker.every_version(|version| {
        let replication = if version >= 4 { -1 } else { 1 };
        let new =
            |name: &str| new_topic(name, 1, &[("retention.ms", "5")]).with_replication_factor(replication);
        CreateTopicsRequest::default().with_topics(vec![new(&format!("new-{version}")), new("t"), new("/")])
    });
    asker.every_version(|_| {
        let topic = |name| {
            CreatePartitionsTopic::default().with_name(topic_name(name)).with_count(3).with_assignments(None)
        };
        CreatePartitionsRequest::default().with_topics(TOPICS.map(topic).to_vec())
    });
    asker.every_version(|version| {
        let names = [format!("new-{version}"), "really-none".to_owned()];
        let names = names.iter().map(|name| topic_name(name));
        if version < 6 {
            return DeleteTopicsRequest::default().with_topic_names(names.collect());
        }
        let topics = names.map(|name| DeleteTopicState::default().with_name(Some(name)));
        let by_id = DeleteTopicState::default().with_name(None).with_topic_id(Uuid::from_u128(9));
        DeleteTopicsRequest::default().with_topics(topics.chain([by_id]).collect())
    });
    asker.every_version(|_| DescribeLogDirsRequest::default().with_topics(None));
}

fn configs(asker: &mut Asker) {
    asker.every_version(|version| {
        let resource = |(kind, name)| {
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configuration_keys(None)
        };
        DescribeConfigsRequest::default()
            .with_resources([(2, "t"), (2, "none"), (4, "1"), (4, "9"), (32, "g")].map(resource).to_vec())
            .with_include_synonyms(true)
            .with_include_documentation(version >= 3)
    });
    asker.every_version(|_| {
        let resource = |name| {
            alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(name))
        };
        AlterConfigsRequest::default().with_resources(TOPICS.map(resource).to_vec())
    });
    asker.every_version(|_| {
        let config = incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("7")));
        let resource = |name| {
            AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(name))
                .with_configs(vec![config.clone()])
        };
        IncrementalAlterConfigsRequest::default().with_resources(TOPICS.map(resource).to_vec())
    });
}

fn groups(asker: &mut Asker) {
    asker.every_version(|version| match version {
        0..=3 => FindCoordinatorRequest::default().with_key(text("g")),
        _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g"), text("h")]),
    });
    asker.every_version(|version| {
        let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
        JoinGroupRequest::default()
            .with_group_id(group(&format!("g-{version}")))
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(if version >= 1 { 10_000 } else { -1 })
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
    });
    asker.every_version(|_| {
        SyncGroupRequest::default().with_group_id(group("g-0")).with_member_id(text("nobody"))
    });
    asker.every_version(|_| {
        HeartbeatRequest::default().with_group_id(group("g-0")).with_member_id(text("nobody"))
    });
    asker.every_version(|version| {
        let request = LeaveGroupRequest::default().with_group_id(group("g-0"));
        if version < 3 {
            return request.with_member_id(text("nobody"));
        }
        request.with_members(vec![MemberIdentity::default().with_member_id(text("nobody"))])
    });
    asker.every_version(|_| {
        let partition = OffsetCommitRequestPartition::default()
            .with_committed_offset(1)
            .with_committed_metadata(Some(text("m")));
        let topic = |name| {
            OffsetCommitRequestTopic::default()
                .with_name(topic_name(name))
                .with_partitions(vec![partition.clone()])
        };
        OffsetCommitRequest::default()
            .with_group_id(group("simple"))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(TOPICS.map(topic).to_vec())
    });
    asker.every_version(|version| {
        if version < 8 {
            let topic = OffsetFetchRequestTopic::default()
                .with_name(topic_name("t"))
                .with_partition_indexes(vec![0, 5]);
            return OffsetFetchRequest::default()
                .with_group_id(group("simple"))
                .with_topics(Some(vec![topic]));
        }
        let topic =
            OffsetFetchRequestTopics::default().with_name(topic_name("t")).with_partition_indexes(vec![0, 5]);
        let some =
            OffsetFetchRequestGroup::default().with_group_id(group("simple")).with_topics(Some(vec![topic]));
        let all = OffsetFetchRequestGroup::default().with_group_id(group("simple")).with_topics(None);
        OffsetFetchRequest::default().with_topics(Some(Vec::new())).with_groups(vec![some, all])
    });
    asker.every_version(|_| {
        let partitions = vec![OffsetDeleteRequestPartition::default()];
        let topic =
            OffsetDeleteRequestTopic::default().with_name(topic_name("t")).with_partitions(partitions);
        OffsetDeleteRequest::default().with_group_id(group("simple")).with_topics(vec![topic])
    });
    asker.every_version(|_| ListGroupsRequest::default());
    asker.every_version(|_| {
        DescribeGroupsRequest::default().with_groups(vec![group("g-9"), group("simple"), group("none")])
    });
    asker.every_version(|_| {
        DeleteGroupsRequest::default().with_groups_names(vec![group("simple"), group("none")])
    });
}

fn transactions(asker: &mut Asker) {
    let id = TransactionalId(text("txn"));
    let init = InitProducerIdRequest::default()
        .with_transactional_id(Some(id.clone()))
        .with_transaction_timeout_ms(60_000);
    let producer = asker.client.ask(4, &init);
    let (producer_id, epoch) = (producer.producer_id, producer.producer_epoch);
    asker.every_version(|_| {
        let topic =
            |name| AddPartitionsToTxnTopic::default().with_name(topic_name(name)).with_partitions(vec![0]);
        AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(id.clone())
            .with_v3_and_below_producer_id(producer_id)
            .with_v3_and_below_producer_epoch(epoch)
            .with_v3_and_below_topics(TOPICS.map(topic).to_vec())
    });
    asker.every_version(|_| {
        AddOffsetsToTxnRequest::default()
            .with_transactional_id(id.clone())
            .with_producer_id(producer_id)
            .with_producer_epoch(epoch)
            .with_group_id(group("simple"))
    });
    asker.every_version(|_| {
        let partition = TxnOffsetCommitRequestPartition::default()
            .with_committed_offset(1)
            .with_committed_metadata(Some(text("m")));
        let topic = |name| {
            TxnOffsetCommitRequestTopic::default()
                .with_name(topic_name(name))
                .with_partitions(vec![partition.clone()])
        };
        TxnOffsetCommitRequest::default()
            .with_transactional_id(id.clone())
            .with_group_id(group("simple"))
            .with_producer_id(producer_id)
            .with_producer_epoch(epoch)
            .with_topics(TOPICS.map(topic).to_vec())
    });
    asker.every_version(|_| {
        DescribeTransactionsRequest::default()
            .with_transactional_ids(vec![id.clone(), TransactionalId(text("none"))])
    });
    asker.every_version(|_| {
        ListTransactionsRequest::default().with_state_filters(vec![text("Ongoing"), text("Odd")])
    });
    asker.every_version(|version| {
        EndTxnRequest::default()
            .with_transactional_id(id.clone())
            .with_producer_id(producer_id)
            .with_producer_epoch(epoch)
            .with_committed(version % 2 == 0)
    });
    asker.every_version(|_| {
        let topic = |name| {
            WritableTxnMarkerTopic::default().with_name(topic_name(name)).with_partition_indexes(vec![0])
        };
        let marker = WritableTxnMarker::default()
            .with_producer_id(producer_id)
            .with_producer_epoch(epoch)
            .with_topics(TOPICS.map(topic).to_vec());
        WriteTxnMarkersRequest::default().with_markers(vec![marker])
    });
    asker.every_version(|_| {
        let topic =
            |name| TopicRequest::default().with_name(topic_name(name)).with_partition_indexes(vec![0]);
        DescribeProducersRequest::default().with_topics(TOPICS.map(topic).to_vec())
    });
}
