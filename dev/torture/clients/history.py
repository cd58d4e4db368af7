"""librdkafka, through confluent-kafka: what a client did and saw, one line of JSON for each.

It judges nothing. Every line begins with what happened and the microseconds of the monotonic clock, which all
processes of a machine share:
  ["send", t, partition, number]            handed to the library
  ["ack", t, partition, number, offset]     acknowledged
  ["fail", t, partition, number, error]     given up; it may or may not be in the log
  ["fatal", t, error]                       the library can go on no more, as when records that it knows of are gone
  ["read", t, partition, offset, value]     polled
  ["reset", t, partition, error]            told that what it reads next is not in the log
  ["silent", t, partition, seconds, file]   read nothing of it for so long, and began anew where it was; `file` has the library's last words
  ["assign", t, asked, {partition: offset}] a member of a group begins where the coordinator says, -1: nowhere yet
  ["commit", t, asked, {partition: offset}] acknowledged by the coordinator; asked: when the request was made
  ["end", t]                                nothing follows
Called as `history.py VERB BOOTSTRAP TOPIC ...`; SIGTERM asks for the end.
"""

import collections
import json
import logging
import os
import signal
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

QUICK = {"reconnect.backoff.max.ms": 500, "socket.timeout.ms": 5000, "socket.connection.setup.timeout.ms": 2000,
         "topic.metadata.refresh.interval.ms": 5000}
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))


def say(what, *rest):
    sys.stdout.write(json.dumps([what, time.monotonic_ns() // 1000, *rest], separators=(",", ":")) + "\n")
    sys.stdout.flush()


def send(bootstrap, topic, partitions, name, rate):
    """Idempotent, acks=all: `name:partition:number` to every partition in turn, `rate` records in a second."""
    settings = {**QUICK, "bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5,
                "message.timeout.ms": 60_000, "client.id": name}
    producer = Producer(settings)

    def delivered(partition, number):
        def on(error, message):
            if error is None:
                say("ack", partition, number, message.offset())
            else:
                say("fail", partition, number, str(error))
        return on

    def serve(seconds):
        nonlocal producer
        try:
            producer.poll(seconds)
        except KafkaException as error:
            if not error.args[0].fatal():
                raise
            say("fatal", str(error))
            # What it has in hand is given up, and told so.
            producer.purge()
            producer.flush(5)
            producer = Producer(settings)

    numbers, begun, sent = [0] * int(partitions), time.monotonic(), 0
    while not stopped:
        while sent < (time.monotonic() - begun) * float(rate) and not stopped:
            partition = sent % len(numbers)
            number = numbers[partition]
            say("send", partition, number)
            try:
                producer.produce(topic, f"{name}:{partition}:{number}", partition=partition,
                                 on_delivery=delivered(partition, number))
            except (BufferError, KafkaException) as error:
                # Its queue is full, or it can go on no more.
                say("fail", partition, number, str(error))
            numbers[partition], sent = number + 1, sent + 1
            serve(0)
        serve(0.005)
    producer.flush(90)
    say("end")


def read_on(consumer):
    for message in consumer.consume(1000, 0.1):
        error = message.error()
        if error is None:
            say("read", message.partition(), message.offset(), message.value().decode())
            yield message
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            say("reset", message.partition(), str(error))


class LastWords(logging.Handler):
    """What the library said lately, for who wants to know why it fell silent."""

    def __init__(self):
        super().__init__()
        self.lines = collections.deque(maxlen=50_000)

    def emit(self, record):
        self.lines.append(f"{time.monotonic():.6f} {record.getMessage()}\n")


# Of a partition that is written to all the time; no fault takes it away for so long.
SILENT_S = 60


def poll(bootstrap, topic, partitions, name, directory):
    """Follows all partitions from their beginning.

    A library that reads no more is told, and another one goes on in its place: librdkafka can lose its partitions when the
    whole cluster loses its power, and does not end then either (as in its issue 4131). The old one is left as it is, so that
    its end is not waited for.
    """
    words, at, silences, left = LastWords(), [0] * int(partitions), 0, []
    logger = logging.getLogger(name)
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(words)

    def begin():
        consumer = Consumer({**QUICK, "bootstrap.servers": bootstrap, "group.id": name, "enable.auto.commit": False,
                             "auto.offset.reset": "error", "check.crcs": True,
                             "debug": "broker,topic,metadata,protocol"}, logger=logger)
        consumer.assign([TopicPartition(topic, p, offset) for p, offset in enumerate(at)])
        return consumer, [time.monotonic()] * len(at)

    consumer, heard = begin()
    while not stopped:
        for message in read_on(consumer):
            at[message.partition()], heard[message.partition()] = message.offset() + 1, time.monotonic()
        silent = min(range(len(at)), key=heard.__getitem__)
        if time.monotonic() - heard[silent] > SILENT_S:
            silences += 1
            file = os.path.join(directory, f"silent-{name}-{silences}.log")
            with open(file, "w") as out:
                out.writelines(words.lines)
            say("silent", silent, SILENT_S, file)
            left.append(consumer)
            consumer, heard = begin()
    say("end")


def member(bootstrap, topic, group, name):
    """Shares the partitions with the other members of a group, and commits what it has read."""
    consumer = Consumer({**QUICK, "bootstrap.servers": bootstrap, "group.id": group, "client.id": name,
                         "auto.offset.reset": "earliest", "enable.auto.commit": False,
                         "session.timeout.ms": 6000, "heartbeat.interval.ms": 1000})

    def on_assign(consumer, partitions):
        asked = time.monotonic_ns() // 1000
        try:
            found = consumer.committed(partitions, timeout=10)
        except KafkaException:
            return  # the library begins where the group is once it can ask
        say("assign", asked, {p.partition: max(p.offset, -1) for p in found if p.error is None})

    consumer.subscribe([topic], on_assign=on_assign)
    while not stopped:
        for _ in read_on(consumer):
            pass
        asked = time.monotonic_ns() // 1000
        try:
            done = consumer.commit(asynchronous=False)
        except KafkaException:
            continue  # nothing to commit, a rebalance, or a coordinator that is moving
        say("commit", asked, {p.partition: p.offset for p in done or [] if p.error is None and p.offset >= 0})
    consumer.close()
    say("end")


def read_all(bootstrap, topic, partitions, seconds):
    """Every partition from its first record to the end that it has now."""
    consumer = Consumer({**QUICK, "bootstrap.servers": bootstrap, "group.id": "last", "enable.auto.commit": False,
                         "auto.offset.reset": "error", "check.crcs": True})
    until, left = time.monotonic() + float(seconds), {}
    for partition in range(int(partitions)):
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=float(seconds))
        left[partition] = high
        if low != 0:
            raise SystemExit(f"partition {partition} begins at {low}")
    consumer.assign([TopicPartition(topic, p, 0) for p in left])
    left = {p: high for p, high in left.items() if high > 0}
    while left:
        if time.monotonic() > until:
            raise SystemExit(f"not reached within {seconds} s: {left}")
        for message in read_on(consumer):
            if message.offset() + 1 >= left.get(message.partition(), 1 << 62):
                left.pop(message.partition())
    say("end")


def create(bootstrap, topic, partitions, replicas, *settings):
    """The topic, once the cluster has enough brokers for it."""
    admin, until = AdminClient({**QUICK, "bootstrap.servers": bootstrap}), time.monotonic() + 60
    config = dict(setting.split("=", 1) for setting in settings)
    while True:
        try:
            new = NewTopic(topic, int(partitions), int(replicas), config=config)
            admin.create_topics([new], operation_timeout=10)[topic].result(20)
            break
        except KafkaException as error:
            if time.monotonic() > until:
                raise SystemExit(f"not created: {error}")
            time.sleep(0.2)
    while len((admin.list_topics(topic, timeout=10).topics[topic]).partitions) < int(partitions):
        time.sleep(0.05)
    say("end")


VERBS = {f.__name__: f for f in (send, poll, member, read_all, create)}

if __name__ == "__main__":
    VERBS[sys.argv[1]](*sys.argv[2:])
    # All is said; how the library takes itself apart is not what is looked at here.
    os._exit(0)
