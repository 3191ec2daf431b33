//! Topics and committed offsets, as the cluster tells of them.

use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::{Cluster, DEADLINE, wait_for, wait_until};

impl Cluster {
    /// How many brokers there are.
    pub fn brokers(&self) -> usize {
        self.admin().inner().fetch_metadata(None, DEADLINE).unwrap().brokers().len()
    }

    /// Makes the topic `name(topic)`. Answers the full name.
    pub async fn topic(&self, topic: &str, partitions: i32) -> String {
        let topic = self.name(topic);
        self.create_topic(&topic, partitions).await;
        topic
    }

    /// Makes a topic by its full name.
    pub async fn create_topic(&self, topic: &str, partitions: i32) {
        self.create_topic_with(topic, partitions, &[]).await;
    }

    /// Makes a topic with settings, and waits until the cluster shows it.
    pub async fn create_topic_with(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            new = new.set(key, value);
        }
        for result in self.admin().create_topics(&[new], &AdminOptions::new()).await.unwrap() {
            result.unwrap();
        }
        wait_for("the new topic's partition count", partitions, || self.partitions(topic)).await;
    }

    /// Deletes a topic by its full name.
    pub async fn delete_topic(&self, topic: &str) {
        let options = AdminOptions::new().operation_timeout(Some(DEADLINE));
        for result in self.admin().delete_topics(&[topic], &options).await.unwrap() {
            result.unwrap();
        }
    }

    /// How many partitions a topic has; 0 when there is no such topic.
    pub fn partitions(&self, topic: &str) -> i32 {
        let counts = self.all_topics();
        counts.into_iter().find(|(name, _)| name == topic).map_or(0, |(_, partitions)| partitions)
    }

    /// The names of all topics that begin with this test's prefix, sorted.
    pub fn topics(&self) -> Vec<String> {
        let names = self.all_topics().into_iter().map(|(name, _)| name);
        let mut names: Vec<String> = names.filter(|name| name.starts_with(&self.prefix)).collect();
        names.sort_unstable();
        names
    }

    /// All topics: to ask for one by its name could create it.
    fn all_topics(&self) -> Vec<(String, i32)> {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let metadata = consumer.fetch_metadata(None, DEADLINE).unwrap();
        let counts = metadata
            .topics()
            .iter()
            .map(|topic| (topic.name().to_owned(), i32::try_from(topic.partitions().len()).unwrap()));
        counts.collect()
    }

    /// The start and the end of a partition.
    pub fn watermarks(&self, topic: &str, partition: i32) -> (i64, i64) {
        let consumer: BaseConsumer = self.client().create().unwrap();
        consumer.fetch_watermarks(topic, partition, DEADLINE).unwrap()
    }

    /// The same, past transactions that are open.
    pub fn watermarks_uncommitted(&self, topic: &str, partition: i32) -> (i64, i64) {
        let mut config = self.client();
        let consumer: BaseConsumer = config.set("isolation.level", "read_uncommitted").create().unwrap();
        consumer.fetch_watermarks(topic, partition, DEADLINE).unwrap()
    }

    /// The offset that an application has committed for a partition.
    pub fn committed(&self, application: &str, topic: &str, partition: i32) -> Option<i64> {
        let consumer: BaseConsumer = self.client().set("group.id", self.name(application)).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let answer = consumer.committed_offsets(list, DEADLINE).unwrap();
        match answer.elements()[0].offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }

    /// Records of a topic whose offsets the application has not committed yet.
    pub fn lag(&self, application: &str, topic: &str) -> i64 {
        let consumer: BaseConsumer = self.client().set("group.id", self.name(application)).create().unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions(topic) {
            list.add_partition(topic, partition);
        }
        let committed = consumer.committed_offsets(list, DEADLINE).unwrap();
        let lag = committed.elements().into_iter().map(|element| {
            let (start, end) = consumer.fetch_watermarks(topic, element.partition(), DEADLINE).unwrap();
            let committed = element.offset().to_raw().unwrap_or(start).max(start);
            end - committed
        });
        lag.sum()
    }

    /// Waits until the word count has read, counted and committed all that was produced. Nothing that it would count
    /// afterwards, rightly or twice, is missing in the output then.
    pub async fn settled(&self, application: &str, input: &str) {
        // In this order: a committed line has its words in the repartition topic.
        let words = self.name(&format!("{application}-counts-repartition"));
        for topic in [input, &words] {
            wait_until(&format!("commits up to the end of {topic}"), || self.lag(application, topic) == 0)
                .await;
        }
    }
}
