import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.ThreadMetadata;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.Stores;

/**
 * An application of Kafka Streams for the conformance tests: it counts numbers by their remainder, through a repartition topic
 * and a store with a changelog. It judges nothing: it prints what it is doing, the harness compares. Called as
 * {@code Streams VERB BOOTSTRAP ...}.
 */
public final class Streams {
    /** How many keys the numbers are counted under. */
    private static final long KEYS = 23;

    public static void main(String[] args) throws Exception {
        String bootstrap = args[1];
        String[] rest = Arrays.copyOfRange(args, 2, args.length);
        switch (args[0]) {
            case "produce" -> produce(bootstrap, rest);
            case "app" -> app(bootstrap, rest);
            case "counts" -> counts(bootstrap, rest);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    /** TOPIC FIRST COUNT PARTITIONS: sends the numbers from FIRST on, without keys, to one partition after the other. */
    private static void produce(String bootstrap, String[] args) throws Exception {
        long first = Long.parseLong(args[1]);
        long count = Long.parseLong(args[2]);
        int partitions = Integer.parseInt(args[3]);
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<java.util.concurrent.Future<?>> sent = new java.util.ArrayList<>();
            for (long number = first; number < first + count; number++) {
                byte[] value = Long.toString(number).getBytes(StandardCharsets.UTF_8);
                int partition = (int) (number % partitions);
                sent.add(producer.send(new ProducerRecord<>(args[0], partition, null, value)));
            }
            for (var one : sent) {
                one.get();
            }
        }
        System.out.println("{\"acked\": " + count + "}");
    }

    /** ID INPUT OUTPUT DIRECTORY KEY=VALUE...: runs until it is asked to end; says how many tasks it has. */
    private static void app(String bootstrap, String[] args) throws Exception {
        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, args[0]);
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        config.put(StreamsConfig.STATE_DIR_CONFIG, args[3]);
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "200");
        config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, "0");
        config.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, "1");
        config.put("auto.offset.reset", "earliest");
        config.put("metadata.max.age.ms", "1000");
        for (String pair : Arrays.copyOfRange(args, 4, args.length)) {
            int at = pair.indexOf('=');
            config.put(pair.substring(0, at), pair.substring(at + 1));
        }
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(args[1], Consumed.with(Serdes.ByteArray(), Serdes.String()))
            .selectKey((key, value) -> Long.toString(Long.parseLong(value) % KEYS))
            .groupByKey(Grouped.<String, String>as("by-remainder").withKeySerde(Serdes.String()).withValueSerde(Serdes.String()))
            .count(Materialized.<String, Long>as(Stores.inMemoryKeyValueStore("counts")).withKeySerde(Serdes.String()))
            .toStream()
            .to(args[2], Produced.with(Serdes.String(), Serdes.Long()));
        KafkaStreams streams = new KafkaStreams(builder.build(config), config);
        CountDownLatch ended = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            System.out.println("{\"error\": \"" + error.toString().replaceAll("[\"\\\\\\s]", " ") + "\"}");
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            // A member that leaves the group at once, so that nobody waits for its session to end.
            var options = CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP);
            boolean closed = streams.close(options.withTimeout(Duration.ofSeconds(30)));
            System.out.println("{\"closed\": " + closed + "}");
            System.out.flush();
            ended.countDown();
            // To be asked to end is no failure.
            Runtime.getRuntime().halt(closed ? 0 : 1);
        }));
        streams.start();
        String before = "";
        while (ended.getCount() > 0) {
            int active = 0;
            int standby = 0;
            for (ThreadMetadata thread : streams.metadataForLocalThreads()) {
                active += thread.activeTasks().size();
                standby += thread.standbyTasks().size();
            }
            String now = "{\"state\": \"" + streams.state() + "\", \"tasks\": " + active + ", \"standby\": " + standby + "}";
            if (!now.equals(before)) {
                System.out.println(now);
                System.out.flush();
                before = now;
            }
            Thread.sleep(100);
        }
    }

    /** OUTPUT PARTITIONS TOTAL SECONDS: reads what is committed until the last counts of all keys add up to TOTAL. */
    private static void counts(String bootstrap, String[] args) throws Exception {
        long total = Long.parseLong(args[2]);
        long end = System.nanoTime() + Duration.ofSeconds(Long.parseLong(args[3])).toNanos();
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("isolation.level", "read_committed");
        Map<String, Long> last = new HashMap<>();
        long records = 0;
        long backward = 0;
        try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new LongDeserializer())) {
            List<TopicPartition> all = IntStream.range(0, Integer.parseInt(args[1]))
                .mapToObj(partition -> new TopicPartition(args[0], partition)).toList();
            consumer.assign(all);
            consumer.seekToBeginning(all);
            // Once the total is reached, what comes after must change nothing.
            long calm = 0;
            while (System.nanoTime() < end && calm < 10) {
                var some = consumer.poll(Duration.ofMillis(200));
                for (ConsumerRecord<String, Long> record : some) {
                    Long former = last.put(record.key(), record.value());
                    backward += former != null && former >= record.value() ? 1 : 0;
                    records++;
                }
                long sum = last.values().stream().mapToLong(Long::longValue).sum();
                calm = sum >= total && some.isEmpty() ? calm + 1 : 0;
            }
        }
        long sum = last.values().stream().mapToLong(Long::longValue).sum();
        System.out.println("{\"sum\": " + sum + ", \"keys\": " + last.size() + ", \"records\": " + records
            + ", \"backward\": " + backward + "}");
    }
}
