//! librdkafka as admin, producer and consumer.
