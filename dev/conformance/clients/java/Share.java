import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Members of share groups (KIP-932) for the conformance tests. It judges nothing: it prints what it was given and did, the
 * harness compares. Called as {@code Share VERB BOOTSTRAP ...}.
 */
public final class Share {
    public static void main(String[] args) throws Exception {
        String bootstrap = args[1];
        String[] rest = Arrays.copyOfRange(args, 2, args.length);
        switch (args[0]) {
            case "configure" -> configure(bootstrap, rest);
            case "produce" -> produce(bootstrap, rest);
            case "transact" -> transact(bootstrap, rest);
            case "letters" -> letters(bootstrap, rest);
            case "member" -> member(bootstrap, rest);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    /** GROUP KEY VALUE...: sets configurations of a group. */
    private static void configure(String bootstrap, String[] args) throws Exception {
        ConfigResource group = new ConfigResource(ConfigResource.Type.GROUP, args[0]);
        List<AlterConfigOp> ops = new java.util.ArrayList<>();
        for (int at = 1; at + 1 < args.length; at += 2) {
            ops.add(new AlterConfigOp(new ConfigEntry(args[at], args[at + 1]), AlterConfigOp.OpType.SET));
        }
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.incrementalAlterConfigs(Map.of(group, ops)).all().get();
        }
        System.out.println("{\"configured\": " + ops.size() + "}");
    }

    private static Properties producerOf(String bootstrap) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        // Each record a batch of its own, or the unit of everything would be what the producer happened to gather.
        config.put("batch.size", "0");
        return config;
    }

    /** TOPIC FIRST COUNT: sends the numbers from FIRST on to partition 0. */
    private static void produce(String bootstrap, String[] args) throws Exception {
        long first = Long.parseLong(args[1]);
        long count = Long.parseLong(args[2]);
        try (var producer =
                new KafkaProducer<>(producerOf(bootstrap), new ByteArraySerializer(), new ByteArraySerializer())) {
            for (long number = first; number < first + count; number++) {
                byte[] value = Long.toString(number).getBytes(StandardCharsets.UTF_8);
                producer.send(new ProducerRecord<>(args[0], 0, null, value)).get();
            }
        }
        System.out.println("{\"acked\": " + count + "}");
    }

    /** TOPIC COUNT: sends 0, aborts, sends 1, commits, and so on. */
    private static void transact(String bootstrap, String[] args) throws Exception {
        Properties config = producerOf(bootstrap);
        config.put("transactional.id", args[0] + ".id");
        long count = Long.parseLong(args[1]);
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.initTransactions();
            for (long number = 0; number < count; number++) {
                producer.beginTransaction();
                byte[] value = Long.toString(number).getBytes(StandardCharsets.UTF_8);
                producer.send(new ProducerRecord<>(args[0], 0, null, value)).get();
                if (number % 2 == 0) {
                    producer.abortTransaction();
                } else {
                    producer.commitTransaction();
                }
            }
        }
        System.out.println("{\"sent\": " + count + "}");
    }

    /** TOPIC COUNT: prints so many records of partition 0 from its start, with their headers, as an ordinary consumer. */
    private static void letters(String bootstrap, String[] args) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("allow.auto.create.topics", "false");
        long left = Long.parseLong(args[1]);
        TopicPartition partition = new TopicPartition(args[0], 0);
        try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            while (left > 0) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                    left--;
                    StringBuilder line = new StringBuilder("{\"value\": ");
                    line.append(record.value() == null ? "null" : new String(record.value(), StandardCharsets.UTF_8));
                    for (Header header : record.headers()) {
                        String value = new String(header.value(), StandardCharsets.UTF_8);
                        line.append(String.format(", \"%s\": \"%s\"", header.key(), value));
                    }
                    System.out.println(line.append("}"));
                }
            }
        }
    }

    /**
     * TOPIC GROUP PLAN COUNT [KEY=VALUE...]: prints every record that it is given, and what it does with it, until it has
     * been given COUNT records or a signal ends it. Plans: accept; release-first (of each record the first delivery);
     * reject-odd; hold (it acknowledges nothing); renew (it prolongs each lock twice before it accepts).
     */
    private static void member(String bootstrap, String[] args) throws Exception {
        String plan = args[2];
        long left = Long.parseLong(args[3]);
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("group.id", args[1]);
        config.put("share.acknowledgement.mode", "explicit");
        for (String more : Arrays.copyOfRange(args, 4, args.length)) {
            String[] pair = more.split("=", 2);
            config.put(pair[0], pair[1]);
        }
        var consumer = new KafkaShareConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                main.join(10_000);
            } catch (InterruptedException ignored) {
                Thread.currentThread().interrupt();
            }
            // To be asked to end is no failure.
            System.out.flush();
            Runtime.getRuntime().halt(0);
        }));
        try (consumer) {
            consumer.setAcknowledgementCommitCallback((offsets, error) -> {
                if (error != null) {
                    System.out.println("{\"failed\": \"" + error.getClass().getSimpleName() + "\"}");
                }
            });
            consumer.subscribe(List.of(args[0]));
            System.out.println("{\"joined\": true}");
            while (left > 0) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                    left--;
                    String did = act(consumer, plan, record);
                    System.out.printf(
                            "{\"offset\": %d, \"value\": %s, \"count\": %d, \"did\": \"%s\"}%n",
                            record.offset(), new String(record.value(), StandardCharsets.UTF_8),
                            record.deliveryCount().orElse((short) -1), did);
                }
                if (plan.equals("hold") && left <= 0) {
                    // It has them, and says nothing.
                    Thread.sleep(Long.MAX_VALUE);
                }
                consumer.commitSync(Duration.ofSeconds(30));
            }
        } catch (WakeupException | InterruptedException ended) {
            // Asked to end.
        }
        System.out.println("{\"left\": " + left + "}");
    }

    private static String act(
            KafkaShareConsumer<byte[], byte[]> consumer, String plan, ConsumerRecord<byte[], byte[]> record)
            throws Exception {
        int count = record.deliveryCount().orElse((short) 0);
        AcknowledgeType type = switch (plan) {
            case "release-first" -> count == 1 ? AcknowledgeType.RELEASE : AcknowledgeType.ACCEPT;
            case "release" -> AcknowledgeType.RELEASE;
            case "reject-odd" -> record.offset() % 2 == 1 ? AcknowledgeType.REJECT : AcknowledgeType.ACCEPT;
            case "hold" -> null;
            default -> AcknowledgeType.ACCEPT;
        };
        if (type == null) {
            return "HOLD";
        }
        if (plan.equals("renew")) {
            for (int time = 0; time < 2; time++) {
                consumer.acknowledge(record, AcknowledgeType.RENEW);
                consumer.commitSync(Duration.ofSeconds(30));
                Thread.sleep(1200);
                consumer.poll(Duration.ofMillis(100));
            }
        }
        consumer.acknowledge(record, type);
        return type.name();
    }
}
