import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The Java client's transactions. It judges nothing: it prints what it saw, the harness compares. Called as
 * {@code Transactions VERB BOOTSTRAP TOPIC ...}, with the verbs and the output of {@code transactions.py}.
 */
public final class Transactions {
    public static void main(String[] args) throws Exception {
        String bootstrap = args[1];
        String topic = args[2];
        String[] rest = Arrays.copyOfRange(args, 3, args.length);
        switch (args[0]) {
            case "transact" -> transact(bootstrap, topic, rest);
            case "read" -> read(bootstrap, topic, rest);
            case "copy" -> copy(bootstrap, topic, rest);
            case "fence" -> fence(bootstrap, topic, rest);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static KafkaProducer<String, String> producer(String bootstrap, String id) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("transactional.id", id);
        config.put("reconnect.backoff.max.ms", "500");
        var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        return producer;
    }

    private static KafkaConsumer<String, String> consumer(String bootstrap, String group, String isolation) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("group.id", group);
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "earliest");
        config.put("isolation.level", isolation);
        config.put("max.poll.records", "7");
        config.put("session.timeout.ms", "6000");
        config.put("heartbeat.interval.ms", "500");
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    private static String list(List<String> values) {
        return values.stream().sorted().map(value -> '"' + value + '"').collect(Collectors.joining(", ", "[", "]"));
    }

    /** ID COUNT: transactions of three records each, over all partitions; every third is aborted. */
    private static void transact(String bootstrap, String topic, String[] args) {
        List<String> committed = new ArrayList<>();
        try (var producer = producer(bootstrap, args[0])) {
            int partitions = producer.partitionsFor(topic).size();
            for (int number = 0; number < Integer.parseInt(args[1]); number++) {
                boolean isAborted = number % 3 == 2;
                List<String> values = new ArrayList<>();
                producer.beginTransaction();
                for (int part = 0; part < 3; part++) {
                    String value = args[0] + "-" + number + "-" + part + (isAborted ? "-aborted" : "");
                    producer.send(new ProducerRecord<>(topic, (number + part) % partitions, null, value));
                    values.add(value);
                }
                if (isAborted) {
                    producer.flush();
                    producer.abortTransaction();
                } else {
                    producer.commitTransaction();
                    committed.addAll(values);
                }
            }
        }
        System.out.println("{\"committed\": " + list(committed) + "}");
    }

    /** ISOLATION: all values up to the end that this isolation level sees. */
    private static void read(String bootstrap, String topic, String[] args) {
        List<String> values = new ArrayList<>();
        try (var consumer = consumer(bootstrap, "reader", args[0])) {
            Set<TopicPartition> waiting = new HashSet<>();
            consumer.partitionsFor(topic).forEach(p -> waiting.add(new TopicPartition(topic, p.partition())));
            Map<TopicPartition, Long> ends = consumer.endOffsets(waiting);
            consumer.assign(waiting);
            consumer.seekToBeginning(waiting);
            waiting.removeIf(p -> ends.get(p) == 0);
            long until = System.currentTimeMillis() + 60_000;
            while (!waiting.isEmpty()) {
                if (System.currentTimeMillis() > until) {
                    throw new IllegalStateException("not reached: " + waiting);
                }
                consumer.poll(Duration.ofMillis(500)).forEach(record -> values.add(record.value()));
                waiting.removeIf(p -> consumer.position(p) >= ends.get(p));
            }
        }
        System.out.println("{\"values\": " + list(values) + "}");
    }

    /** TARGET GROUP ID COUNT PACE: copies in transactions that commit the group's offsets too. */
    private static void copy(String bootstrap, String topic, String[] args) throws Exception {
        int copied = 0;
        int number = 0;
        try (var producer = producer(bootstrap, args[2]);
                var consumer = consumer(bootstrap, args[1], "read_committed")) {
            consumer.subscribe(List.of(topic));
            long quiet = System.currentTimeMillis();
            while (copied < Integer.parseInt(args[3]) && System.currentTimeMillis() - quiet < 60_000) {
                var batch = consumer.poll(Duration.ofSeconds(1));
                if (batch.isEmpty()) {
                    continue;
                }
                quiet = System.currentTimeMillis();
                number++;
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                Map<TopicPartition, Long> firsts = new HashMap<>();
                producer.beginTransaction();
                for (ConsumerRecord<String, String> record : batch) {
                    producer.send(new ProducerRecord<>(args[0], record.value() + "!"));
                    var partition = new TopicPartition(topic, record.partition());
                    offsets.put(partition, new OffsetAndMetadata(record.offset() + 1));
                    firsts.putIfAbsent(partition, record.offset());
                }
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                if (number % 4 == 0) {
                    producer.abortTransaction();
                    firsts.forEach(consumer::seek);
                } else {
                    producer.commitTransaction();
                    copied += batch.count();
                    System.out.println("{\"copied\": " + copied + "}");
                }
                Thread.sleep((long) (Double.parseDouble(args[4]) * 1000));
            }
        }
        System.out.println("{\"copied\": " + copied + "}");
    }

    /** ID: a second producer takes the id over; tells what the first one hears. */
    private static void fence(String bootstrap, String topic, String[] args) {
        String heard = "";
        var first = producer(bootstrap, args[0]);
        first.beginTransaction();
        first.send(new ProducerRecord<>(topic, 0, null, "zombie"));
        first.flush();
        try (var second = producer(bootstrap, args[0])) {
            try {
                first.send(new ProducerRecord<>(topic, 0, null, "zombie again"));
                first.commitTransaction();
            } catch (KafkaException e) {
                Throwable cause = e;
                while (cause.getCause() != null) {
                    cause = cause.getCause();
                }
                heard = cause.getClass().getSimpleName();
            }
            second.beginTransaction();
            second.send(new ProducerRecord<>(topic, 0, null, "second"));
            second.commitTransaction();
        }
        first.close(Duration.ZERO);
        System.out.println("{\"heard\": [\"" + heard + "\", true]}");
    }
}
