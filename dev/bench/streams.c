// Load on streams over HTTP, one thread and one epoll, with as little work of its own as possible. It judges nothing: it prints
// one JSON line of figures, the Rust side compares. Keys are k0, k1, ...; records are SIZE bytes.
//   streams create  PORT TOPIC KEYS                           creates the streams
//   streams append  PORT TOPIC KEYS CONNECTIONS DEPTH COUNT SIZE   appends with producers, DEPTH on their way on each connection
//   streams follow  PORT TOPIC KEYS COUNT                     COUNT readers by SSE, of KEYS streams in turn, until its input ends
//   streams fan-out PORT TOPIC READERS COUNT RATE SIZE        COUNT records into k0, followed by READERS; RATE 0: one after the other
//   streams read    PORT TOPIC KEYS COUNT                     COUNT streams by chance, read whole, one after the other
//   streams return  PORT TOPIC KEYS                           a reader of each stream connects, all at once, until each has a record
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { OPENING_MAX = 512, PER_SOURCE = 20000, ROOM = 1 << 16, DEPTH_MAX = 64, STAMP = 17 };

typedef struct {
    int fd, key, is_open, waiting; // waiting: requests without an answer
    unsigned begun, ended;         // of those, in a ring: when
    double *sent;
    char *in; // what has come of an answer that is not whole yet
    int in_length;
    char carry[STAMP]; // the end of what a follower was sent, which may be the beginning of a stamp
    int carried;
} connection;

static int poller, port;
static const char *topic;
static float *latency_ms;
static long measured;
static char out[1 << 20], in[1 << 18];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *why) {
    fprintf(stderr, "%s: %s\n", why, strerror(errno));
    exit(1);
}

static void *room(size_t bytes) {
    void *found = calloc(1, bytes ? bytes : 1);
    if (!found) die("out of memory");
    return found;
}

static uint64_t chance(void) {
    static uint64_t random = 88172645463325252u;
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    return random >> 11;
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static double at(double share) {
    return measured ? latency_ms[(long)(measured * share)] : 0;
}

static void figures(long count, double seconds) {
    qsort(latency_ms, (size_t)measured, sizeof *latency_ms, by_size);
    printf("{\"count\": %ld, \"measured\": %ld, \"seconds\": %.6f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"worst_ms\": %.3f}\n", count,
           measured, seconds, at(0.5), at(0.99), measured ? latency_ms[measured - 1] : 0);
    fflush(stdout);
}

// Each source address has so many ports only.
static void open_one(connection *c, int number) {
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int yes = 1, bytes = ROOM;
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(number / PER_SOURCE));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket; see ulimit -n");
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from)) die("bind");
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) die("connect");
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
}

// What is asked is small, and a socket has room for it.
static void say(connection *c, const char *text, int length) {
    if (write(c->fd, text, (size_t)length) != length) die("write");
}

static void follow(connection *c) {
    char text[512];
    say(c, text, snprintf(text, sizeof text, "GET /s/%s/k%d?offset=-1&live=sse HTTP/1.1\r\nhost: localhost\r\n\r\n", topic, c->key));
}

static double stamp(const char *text) {
    return strtoll(text + 1, 0, 10) * 1e-9;
}

// Takes note of each '@' with the sixteen digits of when it was sent; how many there were.
static int stamps(connection *c, const char *text, int length) {
    char seam[2 * STAMP];
    double when = now();
    int found = 0;
    if (c->carried) {
        int more = length < STAMP - c->carried ? length : STAMP - c->carried;
        memcpy(seam, c->carry, (size_t)c->carried);
        memcpy(seam + c->carried, text, (size_t)more);
        c->carried += more;
        memcpy(c->carry, seam, (size_t)c->carried);
        text += more, length -= more;
        if (c->carried < STAMP) return 0;
        latency_ms[measured++] = (float)((when - stamp(seam)) * 1e3), found++;
        c->carried = 0;
    }
    for (const char *end = text + length; (text = memchr(text, '@', (size_t)(end - text)));) {
        if (end - text < STAMP) {
            c->carried = (int)(end - text);
            memcpy(c->carry, text, (size_t)c->carried);
            break;
        }
        latency_ms[measured++] = (float)((when - stamp(text)) * 1e3), found++;
        text += STAMP;
    }
    return found;
}

static int take(connection *c) {
    ssize_t count = read(c->fd, in, sizeof in - 1);
    if (count == 0) errno = 0, die("the server has ended a connection");
    if (count < 0 && errno != EAGAIN) die("read");
    in[count > 0 ? count : 0] = 0;
    return count > 0 ? (int)count : 0;
}

// The answers that are whole in what has come; each must be a 2xx.
static int answers(connection *c) {
    int found = 0;
    for (;;) {
        int space = ROOM - c->in_length;
        ssize_t count = space ? read(c->fd, c->in + c->in_length, (size_t)space) : 0;
        if (count == 0) errno = 0, die(space ? "the server has ended a connection" : "an answer is too large");
        if (count < 0 && errno != EAGAIN) die("read");
        if (count < 0) return found;
        c->in_length += (int)count;
        int begin = 0;
        for (;;) {
            char *head = c->in + begin, *end = memmem(head, (size_t)(c->in_length - begin), "\r\n\r\n", 4);
            if (!end) break;
            long body = 0;
            for (char *line = head; line < end; line = memmem(line, (size_t)(end + 2 - line), "\r\n", 2) + 2)
                if (!strncasecmp(line, "content-length:", 15)) body = atol(line + 15);
            if (end + 4 + body > c->in + c->in_length) break;
            if (head[9] != '2') fprintf(stderr, "%.*s\n", (int)(end + 4 + body - head), head), errno = 0, die("refused");
            begin = (int)(end + 4 + body - c->in), found++;
        }
        memmove(c->in, c->in + begin, (size_t)(c->in_length -= begin));
    }
}

static connection *connections(int count, int keys, int depth) {
    connection *all = room((size_t)count * sizeof *all);
    for (int i = 0; i < count; i++) {
        all[i].key = i % keys;
        if (depth) all[i].in = room(ROOM), all[i].sent = room((size_t)depth * sizeof(double));
    }
    return all;
}

// Opens readers, `OPENING_MAX` at a time, until each has been told `until`; gives the seconds.
static double open_readers(connection *all, int count, const char *until) {
    struct epoll_event events[256];
    int begun = 0, opening = 0, done = 0;
    double start = now();
    while (done < count) {
        while (begun < count && opening < OPENING_MAX) open_one(&all[begun], begun), begun++, opening++;
        int ready = epoll_wait(poller, events, 256, 30000);
        if (ready <= 0) die("nothing comes for 30 s");
        for (int i = 0; i < ready; i++) {
            connection *c = events[i].data.ptr;
            if (!c->is_open && events[i].events & EPOLLOUT) c->is_open = 1, c->sent = room(sizeof(double)), *c->sent = now(), follow(c);
            // What was looked for may lie over two reads, which a server that sends it at once does not do.
            if (events[i].events & EPOLLIN && take(c) && c->sent && strstr(in, until)) {
                latency_ms[measured++] = (float)((now() - *c->sent) * 1e3);
                free(c->sent), c->sent = 0, opening--, done++;
            }
        }
    }
    return now() - start;
}

static void hold(int keys, int count) {
    connection *all = connections(count, keys, 0);
    figures(count, open_readers(all, count, "upToDate"));
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = 0}, events[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &input);
    for (;;) {
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            if (!events[i].data.ptr) exit(0);
            if (events[i].events & EPOLLIN) take(events[i].data.ptr);
        }
    }
}

static int body(char *text, int size) {
    int length = snprintf(text, STAMP + 1, "@%016lld", (long long)(now() * 1e9));
    memset(text + length, 'x', (size_t)(size > length ? size - length : 0));
    return size > length ? size : length;
}

static void fan_out(int readers, long count, double rate, int size) {
    connection *all = connections(readers, 1, 0), *writer = connections(1, 1, DEPTH_MAX);
    struct epoll_event events[256];
    open_readers(all, readers, "upToDate");
    open_one(writer, 0);
    usleep(300000);
    measured = 0;
    long sent = 0, acknowledged = 0, received = 0;
    double start = now();
    while (received < count * readers) {
        // Without a rate the next one is sent when all have the one before.
        int is_due = rate > 0 ? now() >= start + sent / rate : received >= sent * readers;
        if (sent < count && is_due && sent - acknowledged < DEPTH_MAX) {
            char text[ROOM], head[512];
            int length = body(text, size);
            int first = snprintf(head, sizeof head, "POST /s/%s/k0 HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n"
                                 "content-length: %d\r\n\r\n", topic, length);
            memcpy(out, head, (size_t)first), memcpy(out + first, text, (size_t)length);
            say(writer, out, first + length), sent++;
        }
        double left = rate > 0 && sent < count ? start + sent / rate - now() : 1;
        int ready = epoll_wait(poller, events, 256, left <= 0 ? 0 : (int)(left * 1e3 + 0.5));
        for (int i = 0; i < ready; i++) {
            connection *c = events[i].data.ptr;
            if (!(events[i].events & EPOLLIN)) continue;
            if (c == writer) acknowledged += answers(c);
            else received += stamps(c, in, take(c));
        }
        if (now() - start > 120) die("not everything came within 120 s");
    }
    figures(received, now() - start);
}

// Each stream has a producer of its own, whose sequence counts the appends to it.
static int append(int key, long seq, int size, char *to) {
    char text[ROOM];
    int length = body(text, size);
    int head = snprintf(to, 512, "POST /s/%s/k%d HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\nproducer-id: p%d\r\n"
                        "producer-epoch: 0\r\nproducer-seq: %ld\r\ncontent-length: %d\r\n\r\n", topic, key, key, seq, length);
    memcpy(to + head, text, (size_t)length);
    return head + length;
}

static int create(int key, char *to) {
    return snprintf(to, 512, "PUT /s/%s/k%d HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n", topic, key);
}

// A connection has keys of its own, so that the appends to each come in their order.
static void write_all(int keys, int clients, int depth, long count, int size) {
    connection *all = connections(clients, clients, depth);
    struct epoll_event events[256];
    long begun = 0, done = 0, *next = room((size_t)clients * sizeof *next);
    if (depth > DEPTH_MAX || clients > keys) errno = EINVAL, die("depth or connections");
    for (int i = 0; i < clients; i++) open_one(&all[i], i);
    double start = now();
    while (done < count) {
        int ready = epoll_wait(poller, events, 256, 30000);
        if (ready <= 0) die("nothing comes for 30 s");
        for (int i = 0; i < ready; i++) {
            connection *c = events[i].data.ptr;
            if (!c->is_open && !(events[i].events & EPOLLOUT)) continue;
            c->is_open = 1;
            if (events[i].events & EPOLLIN) {
                double when = now();
                for (int left = answers(c); left; left--, c->waiting--, done++)
                    latency_ms[measured++] = (float)((when - c->sent[c->ended++ % (unsigned)depth]) * 1e3);
            }
            if (c->waiting > depth / 2) continue;
            // Half a ring at a time: what a client of many phones hands on.
            int length = 0, own = (keys - c->key + clients - 1) / clients;
            for (; c->waiting < depth && begun < count && (size || next[c->key] < own); c->waiting++, begun++) {
                long turn = next[c->key]++;
                int key = c->key + (int)(turn % own) * clients;
                length += size ? append(key, turn / own, size, out + length) : create(key, out + length);
                c->sent[c->begun++ % (unsigned)depth] = now();
            }
            if (length) say(c, out, length);
        }
    }
    figures(done, now() - start);
}

static void read_some(int keys, long count) {
    connection *c = connections(1, 1, 1);
    struct epoll_event event;
    char text[512];
    open_one(c, 0);
    epoll_wait(poller, &event, 1, 1000);
    double start = now();
    for (long i = 0; i < count; i++) {
        double sent = now();
        say(c, text, snprintf(text, sizeof text, "GET /s/%s/k%d HTTP/1.1\r\nhost: localhost\r\n\r\n", topic, (int)(chance() % (uint64_t)keys)));
        while (!answers(c))
            if (epoll_wait(poller, &event, 1, 30000) <= 0) die("nothing comes for 30 s");
        latency_ms[measured++] = (float)((now() - sent) * 1e3);
    }
    figures(count, now() - start);
}

int main(int count, char **args) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(0);
    if (count < 5) errno = EINVAL, die("streams create|append|follow|fan-out|read|return PORT TOPIC ...");
    port = atoi(args[2]), topic = args[3];
    long number[5] = {0}, most = 0;
    for (int i = 4; i < count && i < 9; i++) number[i - 4] = atol(args[i]);
    int is_fan_out = !strcmp(args[1], "fan-out");
    most = is_fan_out ? number[0] * (number[1] + 1) : number[0] + number[1] + number[3];
    latency_ms = room((size_t)(most + 1) * sizeof *latency_ms);
    if (!strcmp(args[1], "create")) write_all((int)number[0], number[0] < 64 ? (int)number[0] : 64, 16, number[0], 0);
    else if (!strcmp(args[1], "append")) write_all((int)number[0], (int)number[1], (int)number[2], number[3], (int)number[4]);
    else if (!strcmp(args[1], "follow")) hold((int)number[0], (int)number[1]);
    else if (is_fan_out) fan_out((int)number[0], number[1], (double)number[2], (int)number[3]);
    else if (!strcmp(args[1], "read")) read_some((int)number[0], number[1]);
    else if (!strcmp(args[1], "return")) figures(number[0], open_readers(connections((int)number[0], (int)number[0], 0), (int)number[0], "@"));
    else errno = EINVAL, die(args[1]);
    fflush(stdout);
    _exit(0);
}
