import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The Java client and a compacted topic: a seeded row of transactions, some aborted, with tombstones, and what a reader ends
 * up with. It says what differs from what was committed; the harness judges. Called as {@code Compaction VERB BOOTSTRAP TOPIC}.
 */
public final class Compaction {
    private static final int PARTITIONS = 2;
    private static final int TRANSACTIONS = 400;
    private static final int RECORDS = 100;
    private static final int KEYS = 300;
    /** A key of its own, which closes segments and is no part of what is compared. */
    private static final String FILLER = "filler";

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "work" -> work(args[1], args[2]);
            case "read" -> System.out.println(read(args[1], args[2]).summary());
            case "await" -> await(args[1], args[2], Integer.parseInt(args[3]));
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private interface Sink {
        void send(String key, String value) throws Exception;

        void end(boolean committed) throws Exception;
    }

    /** The same row whenever it is asked for. */
    private static void generate(Sink sink) throws Exception {
        Random random = new Random(42);
        for (int txn = 0; txn < TRANSACTIONS; txn++) {
            boolean committed = random.nextInt(4) != 0;
            for (int i = 0; i < RECORDS; i++) {
                String key = "k" + random.nextInt(KEYS);
                byte[] filling = new byte[random.nextInt(200)];
                random.nextBytes(filling);
                boolean tombstone = random.nextInt(8) == 0;
                sink.send(key, tombstone ? null : txn + ":" + i + ":" + Arrays.hashCode(filling) + ":" + "x".repeat(filling.length));
            }
            sink.end(committed);
        }
    }

    private static void work(String bootstrap, String topic) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        try (Admin admin = Admin.create(config)) {
            Map<String, String> configs = Map.of("cleanup.policy", "compact", "segment.bytes", "1048576",
                    "segment.ms", "5000", "min.cleanable.dirty.ratio", "0.01", "delete.retention.ms", "1000");
            admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1).configs(configs))).all().get();
        }
        config.put("transactional.id", topic + ".id");
        config.put("compression.type", "zstd");
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            producer.initTransactions();
            producer.beginTransaction();
            generate(new Sink() {
                @Override
                public void send(String key, String value) {
                    producer.send(new ProducerRecord<>(topic, key, value));
                }

                @Override
                public void end(boolean committed) {
                    producer.flush();
                    if (committed) {
                        producer.commitTransaction();
                    } else {
                        producer.abortTransaction();
                    }
                    producer.beginTransaction();
                }
            });
            producer.abortTransaction();
        }
        System.out.printf("{\"sent\": %d}%n", TRANSACTIONS * RECORDS);
    }

    /** LIMIT: until a reader gets no more records than that, and always what was committed. */
    private static void await(String bootstrap, String topic, int limit) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        Seen seen = read(bootstrap, topic);
        long first = seen.count;
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < 90 && seen.count > limit && seen.differences == 0; i++) {
                for (int partition = 0; partition < PARTITIONS; partition++) {
                    producer.send(new ProducerRecord<>(topic, partition, FILLER, "" + i)).get();
                }
                Thread.sleep(2000);
                seen = read(bootstrap, topic);
            }
        }
        System.out.printf("{\"first\": %d, \"last\": %s}%n", first, seen.summary());
    }

    private static final class Seen {
        final Map<String, String> state = new TreeMap<>();
        long count;
        long differences;
        String example = "";

        String summary() {
            return String.format("{\"count\": %d, \"keys\": %d, \"differences\": %d, \"example\": \"%s\"}", count,
                    state.size(), differences, example);
        }
    }

    /** What a reader of committed records ends up with, beside what was committed. */
    private static Seen read(String bootstrap, String topic) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "earliest");
        config.put("isolation.level", "read_committed");
        Seen seen = new Seen();
        try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> all = consumer.partitionsFor(topic).stream()
                    .map(p -> new TopicPartition(topic, p.partition())).toList();
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            consumer.assign(all);
            consumer.seekToBeginning(all);
            long deadline = System.nanoTime() + 60_000_000_000L;
            while (all.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("the end is not reached");
                }
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(500))) {
                    if (record.key().equals(FILLER)) {
                        continue;
                    }
                    seen.count++;
                    if (record.value() == null) {
                        seen.state.remove(record.key());
                    } else {
                        seen.state.put(record.key(), record.value());
                    }
                }
            }
        }
        Map<String, String> wanted = committed();
        for (String key : wanted.keySet()) {
            if (!wanted.get(key).equals(seen.state.get(key))) {
                seen.differences++;
                seen.example = key;
            }
        }
        seen.differences += seen.state.keySet().stream().filter(key -> !wanted.containsKey(key)).count();
        return seen;
    }

    private static Map<String, String> committed() throws Exception {
        Map<String, String> all = new TreeMap<>();
        Map<String, String> open = new TreeMap<>();
        generate(new Sink() {
            @Override
            public void send(String key, String value) {
                open.put(key, value == null ? "" : value);
            }

            @Override
            public void end(boolean committed) {
                if (committed) {
                    all.putAll(open);
                }
                open.clear();
            }
        });
        all.values().removeIf(String::isEmpty);
        return all;
    }
}
