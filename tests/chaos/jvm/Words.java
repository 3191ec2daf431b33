import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.state.KeyValueStore;

/** The word count of the chaos runs on the JVM's Kafka Streams, with the settings of worker.rs and the same signs of life. */
public class Words {
  public static void main(String[] a) throws Exception {
    String application = a[0], bootstrap = a[1], in = a[2], out = a[3], state = a[4], guarantee = a[5], cache = a[6];
    String replication = a[7], instance = a[8], session = a[9], transaction = a[10];
    Properties p = new Properties();
    p.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
    p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
    p.put(StreamsConfig.STATE_DIR_CONFIG, state);
    p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "2");
    p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, cache);
    p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "150");
    p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
    p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, replication);
    p.put(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, session);
    p.put(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG, "300");
    p.put("metadata.max.age.ms", "2000");
    p.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), "5");
    if (guarantee.equals("exactly_once_v2"))
      p.put(StreamsConfig.producerPrefix(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG), transaction);
    if (!instance.isEmpty()) p.put(ConsumerConfig.GROUP_INSTANCE_ID_CONFIG, instance);

    StreamsBuilder b = new StreamsBuilder();
    b.stream(in, Consumed.with(Serdes.String(), Serdes.String()))
        .flatMapValues(line -> Arrays.asList(line.split(" ")))
        .groupBy((key, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
        .count(Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("word-counts"))
        .toStream().to(out, Produced.with(Serdes.String(), Serdes.Long()));
    KafkaStreams streams = new KafkaStreams(b.build(), p);
    streams.setUncaughtExceptionHandler(error -> {
      say("failed " + error.toString().replace('\n', ' '));
      error.printStackTrace();
      return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
    });
    streams.setStateListener((now, before) -> {
      say("state " + now);
      if (now == KafkaStreams.State.ERROR) Runtime.getRuntime().halt(2);
    });
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      boolean closed = streams.close(Duration.ofSeconds(40));
      say(closed ? "closed" : "not closed");
      Runtime.getRuntime().halt(closed ? 0 : 3);
    }));
    // The driver's end is this one's, too.
    Thread parent = new Thread(() -> {
      try { while (System.in.read() >= 0) { } } catch (java.io.IOException gone) { }
      Runtime.getRuntime().halt(9);
    });
    parent.setDaemon(true);
    parent.start();
    say("up");
    streams.start();
    Thread.sleep(Long.MAX_VALUE);
  }

  static synchronized void say(String line) { System.out.println(line); System.out.flush(); }
}
