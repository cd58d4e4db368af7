import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Properties;
import java.util.StringJoiner;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The Java client and the records of one key: {@code Mailbox send BOOTSTRAP TOPIC KEY VALUE...} and
 * {@code Mailbox read BOOTSTRAP TOPIC KEY}, which prints the partitions and the values in their order, a tombstone as null.
 */
public final class Mailbox {
    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "send" -> send(args);
            case "read" -> read(args[1], args[2], args[3]);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static void send(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[1]);
        properties.put("key.serializer", StringSerializer.class.getName());
        properties.put("value.serializer", StringSerializer.class.getName());
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(properties)) {
            for (int i = 4; i < args.length; i++) {
                producer.send(new ProducerRecord<>(args[2], args[3], args[i])).get();
            }
        }
        System.out.println("{\"sent\": " + (args.length - 4) + "}");
    }

    private static void read(String bootstrap, String topic, String key) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("key.deserializer", StringDeserializer.class.getName());
        properties.put("value.deserializer", StringDeserializer.class.getName());
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties)) {
            var partitions = consumer.partitionsFor(topic).stream()
                .map(info -> new TopicPartition(topic, info.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var ends = consumer.endOffsets(partitions);
            StringJoiner found = new StringJoiner(", ", "[", "]");
            StringJoiner where = new StringJoiner(", ", "[", "]");
            StringJoiner headers = new StringJoiner(", ", "[", "]");
            while (partitions.stream().anyMatch(one -> consumer.position(one) < ends.get(one))) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    if (!key.equals(record.key())) {
                        continue;
                    }
                    found.add(record.value() == null ? "null" : quoted(record.value()));
                    where.add(Integer.toString(record.partition()));
                    record.headers().forEach(header -> headers.add(quoted(header.key())));
                }
            }
            System.out.println("{\"values\": " + found + ", \"partitions\": " + where + ", \"headers\": " + headers + "}");
        }
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (byte each : text.getBytes(StandardCharsets.UTF_8)) {
            out.append(each == '"' || each == '\\' ? "\\" : "").append((char) each);
        }
        return out.append('"').toString();
    }
}
