// The official Java clients on transactions: commit, abort, fencing, time-outs, and consume-transform-produce through
// rebalances and a member that is left behind. Run by scripts/check-transactions; prints a line per check, fails at the first.
//   java -cp <Kafka's jars> Transactions.java BOOTSTRAP

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

public final class Transactions {
    static final Duration LONG = Duration.ofSeconds(60);
    static String bootstrap;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        commitAndAbort();
        fencing();
        timeOut();
        transform();
        System.exit(0);
    }

    static KafkaProducer<String, String> producer(String id, int timeoutMs) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        p.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        if (id != null) {
            p.put("transactional.id", id);
            p.put("transaction.timeout.ms", timeoutMs);
        }
        KafkaProducer<String, String> producer = new KafkaProducer<>(p);
        if (id != null) producer.initTransactions();
        return producer;
    }

    static KafkaConsumer<String, String> consumer(String group, String isolation) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        p.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        p.put("isolation.level", isolation);
        p.put("auto.offset.reset", "earliest");
        p.put("enable.auto.commit", "false");
        p.put("max.poll.records", "50");
        p.put("session.timeout.ms", "6000");
        if (group != null) p.put("group.id", group);
        return new KafkaConsumer<>(p);
    }

    static void topic(String name, int partitions) throws Exception {
        try (Admin admin = Admin.create(Map.<String, Object>of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1))).all().get();
        }
    }

    static void send(KafkaProducer<String, String> producer, String topic, String... values) {
        for (String value : values) producer.send(new ProducerRecord<>(topic, value, value));
    }

    /** The values of a topic up to its end as this isolation level sees it, sorted. */
    static List<String> values(String topic, String isolation) {
        List<String> values = new ArrayList<>();
        try (KafkaConsumer<String, String> consumer = consumer(null, isolation)) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(p -> partitions.add(new TopicPartition(topic, p.partition())));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (ends.entrySet().stream().anyMatch(e -> consumer.position(e.getKey()) < e.getValue()))
                consumer.poll(Duration.ofMillis(100)).forEach(record -> values.add(record.value()));
        }
        Collections.sort(values);
        return values;
    }

    static void expect(String what, Object wanted, Object got) {
        if (!wanted.equals(got)) throw new AssertionError(what + ": " + got + " instead of " + wanted);
        System.out.println("java clients: " + what + ": ok");
    }

    static void fails(String what, Runnable call) {
        try {
            call.run();
        } catch (KafkaException error) {
            System.out.println("java clients: " + what + ": " + error.getClass().getSimpleName());
            return;
        }
        throw new AssertionError(what + " succeeded");
    }

    static void commitAndAbort() throws Exception {
        topic("ends", 2);
        try (KafkaProducer<String, String> producer = producer("ends", 60_000)) {
            producer.beginTransaction();
            send(producer, "ends", "a", "b");
            producer.commitTransaction();
            producer.beginTransaction();
            send(producer, "ends", "x", "y");
            producer.flush();
            producer.abortTransaction();
            producer.beginTransaction();
            send(producer, "ends", "c");
            producer.commitTransaction();
        }
        expect("commit and abort, read_committed", List.of("a", "b", "c"), values("ends", "read_committed"));
        expect("commit and abort, read_uncommitted", List.of("a", "b", "c", "x", "y"), values("ends", "read_uncommitted"));
    }

    static void fencing() throws Exception {
        topic("fenced", 1);
        try (KafkaProducer<String, String> old = producer("fenced", 60_000)) {
            old.beginTransaction();
            send(old, "fenced", "old");
            old.flush();
            try (KafkaProducer<String, String> young = producer("fenced", 60_000)) {
                young.beginTransaction();
                send(young, "fenced", "young");
                fails("commit of a fenced producer", old::commitTransaction);
                young.commitTransaction();
            }
        }
        expect("only the new producer's record", List.of("young"), values("fenced", "read_committed"));
    }

    static void timeOut() throws Exception {
        topic("late", 1);
        try (KafkaProducer<String, String> producer = producer("late", 1_000)) {
            producer.beginTransaction();
            send(producer, "late", "late");
            producer.flush();
            expect("an open transaction hides its records", List.of(), values("late", "read_committed"));
            Thread.sleep(4_000);
            fails("commit of a transaction that has timed out", producer::commitTransaction);
        }
        try (KafkaProducer<String, String> producer = producer("late", 60_000)) {
            producer.beginTransaction();
            send(producer, "late", "in time");
            producer.commitTransaction();
        }
        expect("after the time-out", List.of("in time"), values("late", "read_committed"));
    }

    /** Three members, of which one comes later, one stands still beyond its session within a transaction, and one goes. */
    static void transform() throws Exception {
        int count = 4_000;
        topic("numbers", 4);
        topic("doubled", 3);
        try (KafkaProducer<String, String> producer = producer(null, 0)) {
            for (int n = 0; n < count; n++) producer.send(new ProducerRecord<>("numbers", "k" + n % 97, "" + n));
        }
        AtomicInteger seen = new AtomicInteger();
        AtomicBoolean stop = new AtomicBoolean();
        AtomicReference<Throwable> failed = new AtomicReference<>();
        List<Thread> members = new ArrayList<>();
        for (int at = 0; at < 3; at++) {
            Member member = new Member(at, seen, stop);
            Thread thread = new Thread(() -> {
                try {
                    member.run();
                } catch (Throwable error) {
                    failed.compareAndSet(null, error);
                }
            });
            members.add(thread);
            thread.start();
            Thread.sleep(1_500);
        }
        List<String> expected = new ArrayList<>();
        for (int n = 0; n < count; n++) expected.add("" + 2 * n);
        Collections.sort(expected);
        long deadline = System.currentTimeMillis() + 90_000;
        while (failed.get() == null && System.currentTimeMillis() < deadline && seen.get() < count) Thread.sleep(100);
        // Time for what a member that was left behind would still do.
        Thread.sleep(9_000);
        stop.set(true);
        for (Thread member : members) member.join();
        if (failed.get() != null) throw new AssertionError("a member failed", failed.get());
        expect("consume-transform-produce through rebalances, each once", expected, values("doubled", "read_committed"));
    }

    static final class Member {
        final int number;
        final AtomicInteger seen;
        final AtomicBoolean stop;
        int transactions;

        Member(int number, AtomicInteger seen, AtomicBoolean stop) {
            this.number = number;
            this.seen = seen;
            this.stop = stop;
        }

        void run() throws Exception {
            KafkaProducer<String, String> producer = producer("double-" + number, 20_000);
            KafkaConsumer<String, String> consumer = consumer("doublers", "read_committed");
            consumer.subscribe(List.of("numbers"));
            while (!stop.get() && !(number == 0 && transactions >= 25)) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
                if (records.isEmpty()) continue;
                try {
                    step(producer, consumer, records);
                } catch (KafkaException error) {
                    // Fenced, or left behind by a rebalance: begin anew from what is committed.
                    System.out.println("java clients: member " + number + ": " + error.getClass().getSimpleName());
                    try {
                        producer.abortTransaction();
                    } catch (KafkaException fatal) {
                        producer.close(Duration.ZERO);
                        producer = producer("double-" + number, 20_000);
                    }
                    consumer.close();
                    consumer = consumer("doublers", "read_committed");
                    consumer.subscribe(List.of("numbers"));
                }
            }
            consumer.close();
            producer.close(LONG);
        }

        void step(KafkaProducer<String, String> producer, KafkaConsumer<String, String> consumer,
                  ConsumerRecords<String, String> records) throws InterruptedException {
            producer.beginTransaction();
            Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
            for (ConsumerRecord<String, String> record : records) {
                String doubled = "" + 2 * Integer.parseInt(record.value());
                producer.send(new ProducerRecord<>("doubled", record.key(), doubled));
                next.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
            }
            transactions++;
            if (number == 1 && transactions == 3) {
                // Beyond the session, and the poll that would say so: the group goes on without this member.
                standStill(consumer);
            }
            producer.sendOffsetsToTransaction(next, consumer.groupMetadata());
            producer.commitTransaction();
            seen.addAndGet(records.count());
            Thread.sleep(20);
        }

        /** Takes the member out of its group by its name, as an expired session does, while it keeps its old generation. */
        void standStill(KafkaConsumer<String, String> consumer) throws InterruptedException {
            String id = consumer.groupMetadata().memberId();
            try (Admin admin = Admin.create(Map.<String, Object>of("bootstrap.servers", bootstrap))) {
                // Heartbeats go on in the background, so the session itself does not expire.
                admin.removeMembersFromConsumerGroup("doublers",
                    new org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions()).all().get();
                System.out.println("java clients: member " + number + " (" + id + ") was left behind within a transaction");
                Thread.sleep(500);
            } catch (java.util.concurrent.ExecutionException error) {
                throw new KafkaException(error);
            }
        }
    }
}
