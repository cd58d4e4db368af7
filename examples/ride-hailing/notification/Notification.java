import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The notification service: tells a driver of a ride. The driver's phone follows its key of driver-jobs and hears it when it is there;
 * a push to a phone that sleeps would leave here, too.
 *
 * <p>What it has read and what it has written belong to one Kafka transaction. While it is down matches wait in their topic.
 */
final class Notification {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        String bootstrap = System.getenv("BOOTSTRAP");
        Map<String, Object> reading = Map.of(
                "bootstrap.servers", bootstrap, "group.id", "notification", "session.timeout.ms", 6_000,
                "auto.offset.reset", "earliest", "enable.auto.commit", false, "isolation.level", "read_committed");
        Map<String, Object> writing = Map.of("bootstrap.servers", bootstrap, "transactional.id", "notification");
        AtomicBoolean isOver = new AtomicBoolean();
        Thread worker = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            isOver.set(true);
            join(worker);
        }));
        try (var consumer = new KafkaConsumer<>(reading, new StringDeserializer(), new StringDeserializer());
                var producer = new KafkaProducer<>(writing, new StringSerializer(), new StringSerializer())) {
            producer.initTransactions();
            consumer.subscribe(List.of("matches"));
            System.out.println("notification is at work");
            while (!isOver.get()) {
                var records = consumer.poll(Duration.ofMillis(200));
                if (records.isEmpty()) {
                    continue;
                }
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
                for (var record : records) {
                    JsonNode match = JSON.readTree(record.value());
                    String driver = match.get("driver").asText();
                    String job = JSON.createObjectNode()
                            .put("ride", match.get("ride").asText())
                            .put("rider", match.get("rider").asText())
                            .toString();
                    producer.send(new ProducerRecord<>("driver-jobs", driver, job));
                    next.put(new TopicPartition(record.topic(), record.partition()),
                            new OffsetAndMetadata(record.offset() + 1));
                    System.out.println("to " + driver + ": " + job);
                }
                // Fails if another one has taken over: then nothing of this was written, and it ends.
                producer.sendOffsetsToTransaction(next, consumer.groupMetadata());
                producer.commitTransaction();
                System.out.println(records.count() + " drivers are told");
            }
        }
    }

    private static void join(Thread worker) {
        try {
            worker.join(5_000);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
