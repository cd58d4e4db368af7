import java.io.BufferedReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The Java client: writer, reader and group member of the conformance tests. It judges nothing: it prints what it saw,
 * the harness compares. Called as {@code Client VERB BOOTSTRAP TOPIC ...}, with the output of the other clients.
 */
public final class Client {
    public static void main(String[] args) throws Exception {
        String bootstrap = args[1];
        String topic = args[2];
        String[] rest = Arrays.copyOfRange(args, 3, args.length);
        switch (args[0]) {
            case "write" -> write(bootstrap, topic, rest);
            case "read" -> read(bootstrap, topic);
            case "member" -> member(bootstrap, topic, rest);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    /** FILE FIRST LAST CODEC: sends those rows of the exported flights and waits for every acknowledgement. */
    private static void write(String bootstrap, String topic, String[] args) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("compression.type", args[3]);
        config.put("linger.ms", "20");
        AtomicLong acked = new AtomicLong();
        AtomicLong failed = new AtomicLong();
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
                BufferedReader lines = Files.newBufferedReader(Path.of(args[0]))) {
            long last = Long.parseLong(args[2]);
            for (long row = 0; row < last; row++) {
                String line = lines.readLine();
                if (row < Long.parseLong(args[1])) {
                    continue;
                }
                String[] cells = line.split("\t", 3);
                byte[] key = cells[0].isEmpty() ? null : cells[0].getBytes(StandardCharsets.UTF_8);
                byte[] value = cells[2].getBytes(StandardCharsets.UTF_8);
                var record = new ProducerRecord<>(topic, null, Long.valueOf(cells[1]), key, value);
                record.headers().add("row", Long.toString(row).getBytes(StandardCharsets.UTF_8));
                producer.send(record, (meta, error) -> (error == null ? acked : failed).incrementAndGet());
            }
        }
        System.out.printf("{\"acked\": %d, \"failed\": %d}%n", acked.get(), failed.get());
    }

    /** Reads every partition from its first record to the end it had at the start. */
    private static void read(String bootstrap, String topic) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "none");
        config.put("max.poll.records", "20000");
        Digest digest = new Digest();
        try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            Set<TopicPartition> waiting = new HashSet<>();
            consumer.partitionsFor(topic).forEach(p -> waiting.add(new TopicPartition(topic, p.partition())));
            Map<TopicPartition, Long> low = consumer.beginningOffsets(waiting);
            Map<TopicPartition, Long> high = consumer.endOffsets(waiting);
            waiting.removeIf(p -> high.get(p) <= low.get(p));
            consumer.assign(waiting);
            waiting.forEach(p -> consumer.seek(p, low.get(p)));
            while (!waiting.isEmpty()) {
                ConsumerRecords<byte[], byte[]> batch = consumer.poll(Duration.ofSeconds(30));
                if (batch.isEmpty()) {
                    throw new IllegalStateException("nothing for 30 s, not reached: " + waiting);
                }
                for (ConsumerRecord<byte[], byte[]> record : batch) {
                    digest.add(record);
                }
                waiting.removeIf(p -> consumer.position(p) >= high.get(p));
            }
        }
        System.out.println(digest.summary());
    }

    /**
     * GROUP STRATEGY [INSTANCE]: commits what it consumed and tells every assignment, until SIGTERM. STRATEGY is a class of
     * the client, or `consumer:ASSIGNOR` for an assignor of the broker (KIP-848).
     */
    private static void member(String bootstrap, String topic, String[] args) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("group.id", args[0]);
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", "false");
        if (args[1].startsWith("consumer:")) {
            config.put("group.protocol", "consumer");
            config.put("group.remote.assignor", args[1].substring("consumer:".length()));
        } else {
            config.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + args[1]);
            config.put("session.timeout.ms", "6000");
            config.put("heartbeat.interval.ms", "500");
        }
        config.put("metadata.max.age.ms", "2000");
        config.put("reconnect.backoff.max.ms", "500");
        if (args.length > 2) {
            config.put("group.instance.id", args[2]);
            config.put("session.timeout.ms", "30000"); // a new JVM comes back within it on a busy machine too
        }
        var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                main.join(10_000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        consumer.subscribe(List.of(topic), new Listener());
        boolean owing = false;
        try {
            while (true) {
                ConsumerRecords<byte[], byte[]> batch = consumer.poll(Duration.ofMillis(100));
                if (!batch.isEmpty()) {
                    List<String> runs = new ArrayList<>();
                    for (TopicPartition p : batch.partitions()) {
                        var records = batch.records(p);
                        runs.add(String.format("[%d, %d, %d]", p.partition(), records.get(0).offset(),
                                records.get(records.size() - 1).offset()));
                    }
                    System.out.println("{\"records\": " + runs + "}");
                    owing = true;
                }
                if (owing) {
                    try {
                        consumer.commitSync();
                        owing = false;
                    } catch (WakeupException e) {
                        throw e;
                    } catch (KafkaException e) { // a rebalance in between: what stays here is committed again
                        System.out.println("{\"commit_failed\": \"" + e.getClass().getSimpleName() + "\"}");
                    }
                }
            }
        } catch (WakeupException e) {
            consumer.close();
            System.out.println("{\"closed\": true}");
        }
    }

    private static final class Listener implements ConsumerRebalanceListener {
        private final TreeSet<Integer> held = new TreeSet<>();

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            partitions.forEach(p -> held.remove(p.partition()));
            System.out.println("{\"assigned\": " + held + "}");
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            partitions.forEach(p -> held.add(p.partition()));
            System.out.println("{\"assigned\": " + held + "}");
        }
    }

    /** The digest that clients/python/digest.py describes. */
    private static final class Digest {
        private final Map<String, MessageDigest> keys = new TreeMap<>();
        private final List<byte[]> keyless = new ArrayList<>();
        private final Set<String> rows = new HashSet<>();
        private long count;

        void add(ConsumerRecord<byte[], byte[]> record) throws Exception {
            Header header = record.headers().lastHeader("row");
            byte[] row = header == null ? new byte[0] : header.value();
            byte[] value = record.value();
            ByteBuffer bytes = ByteBuffer.allocate(16 + row.length + value.length);
            bytes.putLong(record.timestamp()).putInt(row.length).put(row).putInt(value.length).put(value);
            count++;
            rows.add(new String(row, StandardCharsets.UTF_8));
            if (record.key() == null) {
                keyless.add(sha256().digest(bytes.array()));
            } else {
                // Keys are ASCII, so that the order of strings is the order of bytes.
                String key = new String(record.key(), StandardCharsets.ISO_8859_1);
                MessageDigest running = keys.get(key);
                if (running == null) {
                    keys.put(key, running = sha256());
                }
                running.update(bytes.array());
            }
        }

        String summary() throws Exception {
            MessageDigest total = sha256();
            keyless.sort(Arrays::compareUnsigned);
            keyless.forEach(total::update);
            int distinct = keys.size();
            for (var entry : keys.entrySet()) {
                byte[] key = entry.getKey().getBytes(StandardCharsets.ISO_8859_1);
                total.update(ByteBuffer.allocate(4).putInt(key.length).array());
                total.update(key);
                total.update(entry.getValue().digest());
            }
            StringBuilder hex = new StringBuilder();
            for (byte b : total.digest()) {
                hex.append(String.format("%02x", b));
            }
            return String.format("{\"count\": %d, \"rows\": %d, \"keys\": %d, \"digest\": \"%s\"}", count, rows.size(),
                    distinct, hex);
        }

        private static MessageDigest sha256() throws Exception {
            return MessageDigest.getInstance("SHA-256");
        }
    }
}
