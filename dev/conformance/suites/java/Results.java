import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TimeWindows;

/**
 * An application of Kafka Streams whose results are known: it counts words, joins two streams within windows, and counts in
 * windows that are told once they are over. The same records with the same timestamps must give the same results on any
 * broker. It judges nothing: {@code read} prints digests, the harness compares. Called as {@code Results VERB BOOTSTRAP ...}.
 */
public final class Results {
    private static final int PARTITIONS = 4;
    private static final int LINES = 8_000;
    private static final int KEYS = 40;
    private static final int WORDS = 500;
    private static final long STEP_MS = 100;
    private static final Duration WINDOW = Duration.ofSeconds(10);
    /** How long nothing may come before what has come is taken for everything. */
    private static final Duration CALM = Duration.ofSeconds(15);

    public static void main(String[] args) throws Exception {
        String bootstrap = args[1];
        String[] rest = Arrays.copyOfRange(args, 2, args.length);
        switch (args[0]) {
            case "create" -> create(bootstrap, rest);
            case "produce" -> produce(bootstrap, rest);
            case "app" -> app(bootstrap, rest);
            case "read" -> read(bootstrap, rest);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static Properties config(String bootstrap) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        return config;
    }

    /** PARTITIONS TOPIC...: creates them. */
    private static void create(String bootstrap, String[] args) throws Exception {
        int partitions = Integer.parseInt(args[0]);
        try (Admin admin = Admin.create(config(bootstrap))) {
            List<NewTopic> topics = Arrays.stream(args).skip(1)
                .map(name -> new NewTopic(name, partitions, (short) 1)).toList();
            admin.createTopics(topics).all().get();
        }
        System.out.println("{\"created\": " + (args.length - 1) + "}");
    }

    /** NAME BASE HALF: the first (0) or the second (1) half of the input; BASE is the first timestamp. */
    private static void produce(String bootstrap, String[] args) throws Exception {
        long base = Long.parseLong(args[1]);
        int half = Integer.parseInt(args[2]);
        Properties config = config(bootstrap);
        config.put("linger.ms", "5");
        Random random = new Random(7);
        List<Future<?>> sent = new ArrayList<>();
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            for (int line = 0; line < LINES; line++) {
                StringBuilder words = new StringBuilder();
                for (int word = 0; word < 5; word++) {
                    // Squared, so that some words are frequent.
                    double at = random.nextDouble();
                    words.append("word").append((int) (at * at * WORDS)).append(' ');
                }
                // Some records come late, but none too late for its window.
                long time = base + line * STEP_MS - random.nextInt(3_000) + 3_000;
                String left = "key" + random.nextInt(KEYS);
                String right = "key" + random.nextInt(KEYS);
                if (line * 2 / LINES != half) {
                    continue;
                }
                sent.add(producer.send(record(args[0] + "-lines", time, "line" + line, words.toString())));
                sent.add(producer.send(record(args[0] + "-left", time, left, "l" + line)));
                sent.add(producer.send(record(args[0] + "-right", time + 500, right, "r" + line)));
            }
            if (half == 1) {
                // One record in each partition ends the windows before it.
                for (int partition = 0; partition < PARTITIONS; partition++) {
                    long end = base + LINES * STEP_MS + 3_600_000;
                    sent.add(producer.send(new ProducerRecord<>(args[0] + "-left", partition, end, "end", "end")));
                }
            }
            for (var one : sent) {
                one.get();
            }
        }
        System.out.println("{\"acked\": " + sent.size() + "}");
    }

    private static ProducerRecord<String, String> record(String topic, long time, String key, String value) {
        return new ProducerRecord<>(topic, null, time, key, value);
    }

    /** NAME DIRECTORY KEY=VALUE...: runs until it is asked to end. */
    private static void app(String bootstrap, String[] args) throws Exception {
        String name = args[0];
        Properties config = config(bootstrap);
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, name);
        config.put(StreamsConfig.STATE_DIR_CONFIG, args[1]);
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "200");
        config.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, "1");
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "2");
        config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put("auto.offset.reset", "earliest");
        for (String pair : Arrays.copyOfRange(args, 2, args.length)) {
            int at = pair.indexOf('=');
            config.put(pair.substring(0, at), pair.substring(at + 1));
        }
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(name + "-lines")
            .flatMapValues(line -> Arrays.asList(line.trim().split(" ")))
            .groupBy((key, word) -> word, Grouped.as("by-word"))
            .count()
            .toStream()
            .mapValues(String::valueOf)
            .to(name + "-counts");
        KStream<String, String> left = builder.stream(name + "-left");
        KStream<String, String> right = builder.stream(name + "-right");
        left.join(right, (one, other) -> one + "+" + other, JoinWindows.ofTimeDifferenceAndGrace(WINDOW, Duration.ofHours(2)),
                StreamJoined.as("joined"))
            .to(name + "-joined");
        left.groupByKey(Grouped.with("by-key", Serdes.String(), Serdes.String()))
            .windowedBy(TimeWindows.ofSizeAndGrace(WINDOW, WINDOW))
            .count()
            .suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()))
            .toStream()
            .map((window, count) -> new org.apache.kafka.streams.KeyValue<>(window.key(), String.valueOf(count)))
            .to(name + "-windows");
        KafkaStreams streams = new KafkaStreams(builder.build(config), config);
        CountDownLatch ended = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            System.err.println(error);
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            System.out.println("{\"closed\": " + streams.close(Duration.ofSeconds(30)) + "}");
            System.out.flush();
            ended.countDown();
        }));
        streams.start();
        ended.await();
    }

    /** NAME BASE SECONDS: what is committed, once no more comes. Counts are the last of each word, all else is everything. */
    private static void read(String bootstrap, String[] args) throws Exception {
        long base = Long.parseLong(args[1]);
        long end = System.nanoTime() + Duration.ofSeconds(Long.parseLong(args[2])).toNanos();
        Map<String, String> counts = new TreeMap<>();
        List<String> joined = new ArrayList<>();
        List<String> windows = new ArrayList<>();
        Properties config = config(bootstrap);
        config.put("isolation.level", "read_committed");
        try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> all = new ArrayList<>();
            for (String output : List.of("-counts", "-joined", "-windows")) {
                for (int partition = 0; partition < PARTITIONS; partition++) {
                    all.add(new TopicPartition(args[0] + output, partition));
                }
            }
            consumer.assign(all);
            consumer.seekToBeginning(all);
            long quiet = System.nanoTime();
            while (System.nanoTime() < end) {
                var some = consumer.poll(Duration.ofMillis(200));
                for (ConsumerRecord<String, String> record : some) {
                    String row = record.key() + ' ' + record.value() + ' ' + (record.timestamp() - base);
                    switch (record.topic().substring(args[0].length())) {
                        case "-counts" -> counts.put(record.key(), record.value());
                        case "-joined" -> joined.add(row);
                        default -> windows.add(row);
                    }
                }
                boolean isWaiting = counts.isEmpty() || joined.isEmpty() || windows.isEmpty();
                if (isWaiting || !some.isEmpty()) {
                    quiet = System.nanoTime();
                } else if (System.nanoTime() - quiet > CALM.toNanos()) {
                    break;
                }
            }
        }
        List<String> last = counts.entrySet().stream().map(one -> one.getKey() + ' ' + one.getValue()).toList();
        System.out.println("{\"counts\": " + told(last) + ", \"joined\": " + told(joined) + ", \"windows\": "
            + told(windows) + "}");
    }

    private static String told(List<String> rows) throws Exception {
        String sorted = String.join("\n", rows.stream().sorted().toList());
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(sorted.getBytes(StandardCharsets.UTF_8));
        return "{\"rows\": " + rows.size() + ", \"sha256\": \"" + HexFormat.of().formatHex(digest) + "\"}";
    }
}
