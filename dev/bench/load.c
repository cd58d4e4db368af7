// Load on a broker through librdkafka, with as little work of its own as possible. It judges nothing: it prints one
// JSON line of figures, the Rust side compares.
//   load produce BOOTSTRAP TOPIC PARTITIONS COUNT SIZE RATE k=v...   RATE 0: as fast as it goes
//   load flow    BOOTSTRAP TOPIC PARTITIONS COUNT SIZE RATE k=v...   the same, and a reader beside it
//   load consume BOOTSTRAP TOPIC PARTITIONS COUNT k=v...             every partition from its start
//   load trip    BOOTSTRAP TOPIC COUNT SIZE k=v...                   one record at a time, sent to read
// Built against the library that the Python client brings along, which comes without its header: what is used of its
// stable interface is declared here.
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct rd_kafka_s rd_kafka_t;
typedef struct rd_kafka_conf_s rd_kafka_conf_t;
typedef struct rd_kafka_topic_s rd_kafka_topic_t;
typedef struct rd_kafka_queue_s rd_kafka_queue_t;
typedef struct {
    int err;
    rd_kafka_topic_t *topic;
    int32_t partition;
    void *payload;
    size_t length;
    void *key;
    size_t key_length;
    int64_t offset;
    void *opaque;
} rd_kafka_message_t;
enum { PRODUCER = 0, CONSUMER = 1, COPY = 2, ANY_PARTITION = -1, FROM_START = -2, FROM_END = -1 };
rd_kafka_conf_t *rd_kafka_conf_new(void);
int rd_kafka_conf_set(rd_kafka_conf_t *, const char *, const char *, char *, size_t);
void rd_kafka_conf_set_dr_msg_cb(rd_kafka_conf_t *, void (*)(rd_kafka_t *, const rd_kafka_message_t *, void *));
rd_kafka_t *rd_kafka_new(int, rd_kafka_conf_t *, char *, size_t);
rd_kafka_topic_t *rd_kafka_topic_new(rd_kafka_t *, const char *, void *);
int rd_kafka_produce(rd_kafka_topic_t *, int32_t, int, void *, size_t, const void *, size_t, void *);
int rd_kafka_poll(rd_kafka_t *, int);
int rd_kafka_flush(rd_kafka_t *, int);
int rd_kafka_outq_len(rd_kafka_t *);
rd_kafka_queue_t *rd_kafka_queue_new(rd_kafka_t *);
int rd_kafka_consume_start_queue(rd_kafka_topic_t *, int32_t, int64_t, rd_kafka_queue_t *);
ssize_t rd_kafka_consume_batch_queue(rd_kafka_queue_t *, int, rd_kafka_message_t **, size_t);
rd_kafka_message_t *rd_kafka_consume_queue(rd_kafka_queue_t *, int);
void rd_kafka_message_destroy(rd_kafka_message_t *);

static double *sent_at;
static float *latency_ms, *read_ms;
static long measured, seen, failed;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static void *room(size_t bytes) {
    void *found = calloc(1, bytes);
    if (!found) die("out of memory");
    return found;
}

static void set(rd_kafka_conf_t *conf, const char *key, const char *value) {
    char why[256];
    if (rd_kafka_conf_set(conf, key, value, why, sizeof why)) die(why);
}

static rd_kafka_conf_t *settings(const char *bootstrap, int count, char **pairs) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", bootstrap);
    for (int i = 0; i < count; i++) {
        char *pair = strdup(pairs[i]), *value = strchr(pair, '=');
        if (!value) die("a setting is KEY=VALUE");
        *value++ = 0;
        set(conf, pair, value);
        free(pair);
    }
    return conf;
}

static rd_kafka_t *client(int kind, rd_kafka_conf_t *conf) {
    char why[512];
    rd_kafka_t *made = rd_kafka_new(kind, conf, why, sizeof why);
    if (!made) die(why);
    return made;
}

static void delivered(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque) {
    long number = (long)message->opaque;
    (void)producer;
    (void)opaque;
    if (message->err) failed++;
    else if (number >= 0) latency_ms[measured++] = (float)((now() - sent_at[number]) * 1e3);
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static double at(float *sorted, long count, double share) {
    return count ? sorted[(long)(count * share)] : 0;
}

static void figures(long records, long size, double seconds) {
    qsort(latency_ms, (size_t)measured, sizeof *latency_ms, by_size);
    qsort(read_ms, (size_t)seen, sizeof *read_ms, by_size);
    printf("{\"records\": %ld, \"bytes\": %ld, \"seconds\": %.6f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f, "
           "\"read_p50_ms\": %.3f, \"read_p99_ms\": %.3f, \"read_p999_ms\": %.3f, \"failed\": %ld}\n", records,
           records * size, seconds, at(latency_ms, measured, 0.5), at(latency_ms, measured, 0.99),
           at(latency_ms, measured, 0.999), at(read_ms, seen, 0.5), at(read_ms, seen, 0.99), at(read_ms, seen, 0.999), failed);
    fflush(stdout);
}

static rd_kafka_queue_t *read_all(const char *bootstrap, const char *topic, int partitions, long from, int more, char **pairs) {
    rd_kafka_t *consumer = client(CONSUMER, settings(bootstrap, more, pairs));
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer);
    rd_kafka_topic_t *handle = rd_kafka_topic_new(consumer, topic, 0);
    for (int p = 0; p < partitions; p++)
        if (rd_kafka_consume_start_queue(handle, p, from, queue)) die("cannot read a partition");
    return queue;
}

static void *read_beside(void *queue) {
    for (;;) {
        rd_kafka_message_t *message = rd_kafka_consume_queue(queue, 1000);
        double sent;
        if (!message) continue;
        if (!message->err) {
            memcpy(&sent, message->payload, sizeof sent);
            read_ms[seen] = (float)((now() - sent) * 1e3);
            __atomic_add_fetch(&seen, 1, __ATOMIC_RELEASE);
        }
        rd_kafka_message_destroy(message);
    }
    return 0;
}

static void begin_reading(char **args, long count) {
    char *wait[] = {"fetch.wait.max.ms=500"};
    pthread_t reader;
    read_ms = room((size_t)count * sizeof *read_ms);
    rd_kafka_queue_t *queue = read_all(args[0], args[1], atoi(args[2]), FROM_END, 1, wait);
    usleep(1500000); // the reader must be at the end before the first record
    if (pthread_create(&reader, 0, read_beside, queue)) die("no thread");
}

static void produce(char **args, int more, int reads) {
    long count = atol(args[3]), size = atol(args[4]);
    double rate = atof(args[5]);
    rd_kafka_conf_t *conf = settings(args[0], more, args + 6);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_t *producer = client(PRODUCER, conf);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, args[1], 0);
    enum { POOL = 1 << 20 };
    static char pool[POOL]; // letters by chance, so that a codec has something to do
    uint64_t random = 88172645463325252u;
    for (long i = 0; i < POOL; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        pool[i] = (char)('A' + (random >> 33) % 26);
    }
    sent_at = room((size_t)count * sizeof *sent_at);
    latency_ms = room((size_t)count * sizeof *latency_ms);
    if (reads) begin_reading(args, count);
    double start = now();
    for (long i = 0; i < count; i++) {
        while (rate > 0 && now() < start + i / rate) {
            rd_kafka_poll(producer, 0);
            double left = start + i / rate - now();
            // Not to the microsecond: whoever waits for that takes a core from the brokers.
            usleep(left > 5e-4 ? (useconds_t)(left * 5e5) : 250);
        }
        for (;;) {
            sent_at[i] = now();
            char *from = pool + i * 7919 % (POOL - size);
            if (reads) memcpy(from, &sent_at[i], sizeof *sent_at); // the reader takes the time from there
            if (!rd_kafka_produce(topic, ANY_PARTITION, COPY, from, (size_t)size, 0, 0, (void *)i)) break;
            rd_kafka_poll(producer, 1); // the queue is full
        }
        if (i % 64 == 0) rd_kafka_poll(producer, 0);
    }
    rd_kafka_flush(producer, 120000);
    double took = now() - start;
    while (reads && __atomic_load_n(&seen, __ATOMIC_ACQUIRE) < count) {
        if (now() - start > took + 30) die("the reader did not get everything within 30 s");
        usleep(1000);
    }
    figures(count, size, took);
}

static void consume(char **args, int more) {
    enum { BATCH = 10000 };
    long count = atol(args[3]), got = 0, bytes = 0;
    double start = now();
    rd_kafka_queue_t *queue = read_all(args[0], args[1], atoi(args[2]), FROM_START, more, args + 4);
    rd_kafka_message_t **batch = room(BATCH * sizeof *batch);
    while (got < count) {
        ssize_t length = rd_kafka_consume_batch_queue(queue, 1000, batch, BATCH);
        for (ssize_t i = 0; i < length; i++) {
            if (!batch[i]->err) got++, bytes += (long)batch[i]->length;
            rd_kafka_message_destroy(batch[i]);
        }
        if (now() - start > 120) die("not everything came within 120 s");
    }
    figures(got, bytes / (got ? got : 1), now() - start);
}

static void trip(char **args, int more) {
    enum { WARM = 200 };
    long count = atol(args[2]), size = atol(args[3]);
    rd_kafka_conf_t *conf = settings(args[0], more, args + 4);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_t *producer = client(PRODUCER, conf);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, args[1], 0);
    char *wait[] = {"fetch.wait.max.ms=500"};
    rd_kafka_queue_t *queue = read_all(args[0], args[1], 1, FROM_END, 1, wait);
    usleep(1500000); // the consumer must be at the end before the first record
    char *payload = room((size_t)size);
    latency_ms = room((size_t)count * sizeof *latency_ms);
    double start = now();
    for (long i = -WARM; i < count; i++) {
        double sent = now();
        memcpy(payload, &i, sizeof i);
        rd_kafka_produce(topic, 0, COPY, payload, (size_t)size, 0, 0, (void *)-1L);
        for (int found = 0; !found;) {
            rd_kafka_poll(producer, 0);
            rd_kafka_message_t *message = rd_kafka_consume_queue(queue, 1000);
            if (now() - sent > 10) die("a record did not come within 10 s");
            if (!message) continue;
            found = !message->err && !memcmp(message->payload, &i, sizeof i);
            rd_kafka_message_destroy(message);
        }
        if (i >= 0) latency_ms[measured++] = (float)((now() - sent) * 1e3);
        while (rd_kafka_outq_len(producer)) rd_kafka_poll(producer, 1);
        usleep(1000);
    }
    figures(count, size, now() - start);
}

int main(int count, char **args) {
    if (count >= 8 && !strcmp(args[1], "produce")) produce(args + 2, count - 8, 0);
    else if (count >= 8 && !strcmp(args[1], "flow")) produce(args + 2, count - 8, 1);
    else if (count >= 6 && !strcmp(args[1], "consume")) consume(args + 2, count - 6);
    else if (count >= 6 && !strcmp(args[1], "trip")) trip(args + 2, count - 6);
    else die("load produce|flow|consume|trip ...");
    fflush(stdout);
    _exit(failed > 0);
}
